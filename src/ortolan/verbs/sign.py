"""``sign``: sign a release."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from .. import digest
from ..errors import OrtolanError
from ..release import keys, layout
from ..release.layout import MODEL_SIGNATURE, SUMS_SIGNATURE
from ..release.openssf import How, Method, Sigstore
from ..release.sign import Signed, sign
from ..root import find_root


def run(
    named: str, target: str, key: str, folder: Path, *, method: str, certificate: str, chain: Sequence[str], pkcs11: str,
    sigstore: Sigstore | None, again: bool, as_json: bool,
) -> None:  # fmt: skip
    """Write both signatures, or none."""
    if not key:
        raise OrtolanError("which key?", hint="--key PATH, or a name of ./inv keys")
    how = How(
        cast("Method", method), Path(certificate) if certificate else None, tuple(Path(one) for one in chain), pkcs11, sigstore
    )
    signed = sign(release_folder(named, target), keys.named(folder, key), how, again=again)
    print(_json(signed) if as_json else _text(signed))


def release_folder(named: str, target: str) -> Path:
    """A release by its folder, from anywhere, or by its tag in a project."""
    return Path(named) if Path(named).is_dir() else layout.find(find_root(Path.cwd()), named, target)


def sigstore(trust_config: str, identity: str, issuer: str, token: str) -> Sigstore | None:
    """A private Sigstore instance from the command line, where any of it is given. OrtolanError where something is missing."""
    given = {"--trust-config": trust_config, "--identity": identity, "--oidc-issuer": issuer}
    missing = [option for option, value in given.items() if not value]
    if len(missing) == len(given) and not token:
        return None
    if missing:
        raise OrtolanError(f"{' and '.join(missing)} is missing", why="a signature of Sigstore says who signed, and who says so")
    return Sigstore(Path(trust_config), identity, issuer, Path(token) if token else None)


def _text(signed: Signed) -> str:
    release = signed.release
    return "\n".join([
        f"{release.tag} for {release.target}",
        f"  {SUMS_SIGNATURE}  {signed.fingerprint}",
        f"  {MODEL_SIGNATURE}       {signed.method}, {len(release.files)} files",
    ])  # fmt: skip


def _json(signed: Signed) -> str:
    files = {name: digest.of_file(signed.folder / name) for name in (SUMS_SIGNATURE, MODEL_SIGNATURE)}
    told = {
        "release": str(signed.folder), "tag": signed.release.tag, "target": signed.release.target,
        "fingerprint": signed.fingerprint, "method": signed.method, "signatures": files,
    }  # fmt: skip
    return json.dumps(told, indent=1, sort_keys=True)

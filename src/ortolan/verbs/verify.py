"""``verify``: verify a release."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from invoke.exceptions import Exit

from ..artifact import Outcome
from ..errors import GateError, OrtolanError
from ..release.keys import user_keys
from ..release.openssf import Sigstore, Trust
from ..release.signers import NAME
from ..release.verify import Verified, Wanted, verify
from ..report import coloured
from ..report.tables import gate_table
from .sign import release_folder


def run(
    named: str, target: str, signers: str, principal: str, revoked: str, *, public_key: str, chain: Sequence[str],
    sigstore: Sigstore | None, unsigned: bool, as_json: bool,
) -> None:  # fmt: skip
    """One line for each check; exit with 3 when one failed."""
    wanted = Wanted(
        signers=_signers(signers), principal=principal, revoked=Path(revoked) if revoked else None,
        trust=_trust(public_key, chain, sigstore), unsigned=unsigned,
    )  # fmt: skip
    verified = verify(release_folder(named, target), wanted)
    print(_json(verified) if as_json else _text(verified))
    if not verified.ok:
        raise Exit(code=GateError.exit_code)


def _signers(given: str) -> Path | None:
    """The list that is given, or that of the user's own keys."""
    own = user_keys() / NAME
    return Path(given) if given else own if own.is_file() else None


def _trust(public_key: str, chain: Sequence[str], sigstore: Sigstore | None) -> Trust | None:
    given = [bool(public_key), bool(chain), bool(sigstore)]
    if sum(given) > 1:
        raise OrtolanError("--public-key, --certificate-chain or a Sigstore: one of them")
    trust = Trust(Path(public_key) if public_key else None, tuple(Path(one) for one in chain), sigstore)
    return trust if any(given) else None


def _text(verified: Verified) -> str:
    return "\n".join([*gate_table(verified.gates, colour=coloured()), _end(verified)])


def _end(verified: Verified) -> str:
    """What all of it says."""
    if not verified.ok:
        return "not verified"
    if not verified.signer:
        return "its files belong together; who made them is not known"
    left = [gate.name for gate in verified.gates if gate.outcome == Outcome.NOT_RUN]
    return "verified" + (f", but nobody looked at its {' and '.join(left)}" if left else "")


def _json(verified: Verified) -> str:
    release, signer = verified.release, verified.signer
    told = {
        "ok": verified.ok,
        "tag": release.tag if release else None,
        "target": release.target if release else None,
        "principal": signer.principal if signer else None,
        "fingerprint": signer.fingerprint if signer else None,
        "checks": [{key: value for key, value in asdict(gate).items() if key != "varies"} for gate in verified.gates],
    }
    return json.dumps(told, indent=1, sort_keys=True)

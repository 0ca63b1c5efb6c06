"""Verify a release as one who has nothing but the signers' keys: what is not signed is not opened."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..artifact import Gate, Outcome
from ..errors import OrtolanError
from . import openssf, secret, ssh
from .check import check
from .layout import MODEL_SIGNATURE, NAMESPACE, SUMS, SUMS_SIGNATURE, Release
from .openssf import Trust
from .ssh import Signer

FILES, SIGNATURE, CONTENTS, MODEL = "files", "signature", "contents", "model-signature"


@dataclass(frozen=True)
class Wanted:
    """Whom to believe. ``trust`` is for the bundle's signature, which otherwise must be by the key that signed ``SHA256SUMS``.

    ``unsigned``: a signature that is not there, or that nobody is named for, does not count as a failure.
    """

    signers: Path | None = None
    principal: str = ""
    revoked: Path | None = None
    trust: Trust | None = None
    unsigned: bool = False


@dataclass(frozen=True)
class Verified:
    """What was looked at, in order; the release and its signer as far as they are proven."""

    gates: tuple[Gate, ...]
    release: Release | None = None
    signer: Signer | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return all(gate.outcome != Outcome.FAIL for gate in self.gates)


class _NotRun(Exception):
    """Why something cannot be looked at."""


def verify(folder: Path, wanted: Wanted) -> Verified:
    """Check the folder's files, the signature over SHA256SUMS, the contents, and the bundle's signature, until one fails.

    OrtolanError where nobody is named to believe, or where what is named comes with the release.
    """
    _check_wanted(folder, wanted)
    found = _Found(folder, wanted)
    steps: Sequence[tuple[str, str, str, Callable[[], str]]] = (
        (FILES, str(folder.name), "no links, no folders", found.files),
        (SIGNATURE, SUMS, NAMESPACE, found.signature),
        (CONTENTS, "release", "SHA256SUMS, release.json, manifest.json", found.contents),
        (MODEL, "bundle", "OpenSSF Model Signing", found.model),
    )
    gates: list[Gate] = []
    for name, subject, limit, look in steps:
        failed = next((gate.name for gate in gates if gate.outcome == Outcome.FAIL), "")
        gates.append(_gate(name, subject, limit, look) if not failed else _passed_over(name, subject, limit, failed))
    return Verified(tuple(gates), found.release, found.signer)


class _Found:
    """What the steps have proven so far."""

    def __init__(self, folder: Path, wanted: Wanted) -> None:
        self._folder, self._wanted = folder, wanted
        self.signer: Signer | None = None
        self.release: Release | None = None

    def files(self) -> str:
        """Regular files only: a link would bring in what lies elsewhere."""
        names = sorted(self._folder.iterdir())
        for path in names:
            if path.is_symlink() or not path.is_file():
                raise OrtolanError("is no regular file", where=path.name)
        return f"{len(names)} files"

    def signature(self) -> str:
        """The signature over SHA256SUMS, by a signer of the list."""
        path = self._folder / SUMS_SIGNATURE
        if self._wanted.unsigned and (not path.exists() or not self._wanted.signers):
            raise _NotRun("not signed" if not path.exists() else "no list of signers is given")
        if not path.exists() or not self._wanted.signers:
            raise OrtolanError("there is no such file: this release is not signed", where=SUMS_SIGNATURE)
        self.signer = ssh.verify(
            (self._folder / SUMS).read_bytes(), path, self._wanted.signers, NAMESPACE,
            principal=self._wanted.principal, revoked=self._wanted.revoked,
        )  # fmt: skip
        return f"{self.signer.principal}, {self.signer.fingerprint}"

    def contents(self) -> str:
        """Every file that is listed, and every file in the archives."""
        self.release = check(self._folder)
        return f"{len(self.release.files)} files, {self.release.unpacked} bytes"

    def model(self) -> str:
        """The bundle's signature: by whom the user names, or by the key that was proven above."""
        path = self._folder / MODEL_SIGNATURE
        if not path.exists():
            if self._wanted.unsigned:
                raise _NotRun("not signed")
            raise OrtolanError("there is no such file: the bundle is not signed", where=MODEL_SIGNATURE)
        assert self.release is not None  # noqa: S101 - this step comes after its contents
        with tempfile.TemporaryDirectory(prefix="ortolan-") as place:
            return "by " + openssf.verify(self.release, path, self._trust(path, Path(place)))

    def _trust(self, path: Path, place: Path) -> Trust:
        if self._wanted.trust:
            return self._wanted.trust
        found = openssf.kind(path)
        if found != "key":
            needs = {"certificate": "--certificate-chain", "sigstore": "--trust-config, --identity and --oidc-issuer"}[found]
            raise _NotRun(f"it is signed with a {found}: say {needs}")
        if not self.signer:
            raise _NotRun("whose key? say --public-key")
        (place / "signer.pem").write_bytes(ssh.pem(self.signer.public))
        return Trust(public_key=place / "signer.pem")


def _gate(name: str, subject: str, limit: str, look: Callable[[], str]) -> Gate:
    try:
        return Gate(name, subject, Outcome.PASS, look(), limit)
    except _NotRun as reason:
        return Gate(name, subject, Outcome.NOT_RUN, limit=limit, why=str(reason))
    except OrtolanError as error:
        where = Path(error.where).name if error.where else ""  # all of it lies in the release's folder
        why = ": ".join(part for part in (where, error.what, error.why) if part)
        return Gate(name, subject, Outcome.FAIL, limit=limit, why=why)
    except OSError as error:
        return Gate(name, subject, Outcome.FAIL, limit=limit, why=f"{error.filename}: {error.strerror}")


def _passed_over(name: str, subject: str, limit: str, failed: str) -> Gate:
    return Gate(name, subject, Outcome.NOT_RUN, limit=limit, why=f"{failed} failed, so this is not even opened")


def _check_wanted(folder: Path, wanted: Wanted) -> None:
    if not wanted.signers and not wanted.unsigned:
        hint = "--signers allowed_signers, from where the keys are kept; --unsigned looks at the contents only"
        raise OrtolanError("whose signature?", why="no list of allowed signers is given", hint=hint)
    for path in _files(wanted):
        secret.check_there(path)
        if path.resolve().is_relative_to(folder.resolve()):
            why = "whoever made the release could have put it there"
            raise OrtolanError("comes with the release, and proves nothing", where=str(path), why=why, hint="take your own")


def _files(wanted: Wanted) -> Iterator[Path]:
    trust = wanted.trust or Trust()
    known = (
        wanted.signers,
        wanted.revoked,
        trust.public_key,
        *trust.chain,
        trust.sigstore.trust_config if trust.sigstore else None,
    )
    yield from (path for path in known if path)

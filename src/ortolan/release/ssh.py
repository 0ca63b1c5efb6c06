"""OpenSSH's ssh-keygen: signatures (``-Y``), public keys and their forms. It does all cryptography; none is done here."""

from __future__ import annotations

import base64
import binascii
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import OrtolanError
from .secret import Key

PROGRAM = "ssh-keygen"
_PASSED_ON = ("PATH", "HOME", "TMPDIR")
_ASKING = ("SSH_ASKPASS", "SSH_ASKPASS_REQUIRE", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "TERM")
_ARMOUR = re.compile(
    rb"-----BEGIN SSH SIGNATURE-----\n(?P<body>(?:[A-Za-z0-9+/=]{70}\n)*[A-Za-z0-9+/=]{1,70}\n)-----END SSH SIGNATURE-----\n"
)
_GOOD = re.compile(r'Good "(?P<namespace>[^"]*)" signature for (?P<principal>.*) with \S+ key (?P<fingerprint>SHA256:\S+)')


@dataclass(frozen=True)
class Signer:
    """Who signed: the principal and the key's fingerprint, as a list of allowed signers has them, and the public key itself."""

    principal: str
    fingerprint: str
    public: bytes


def public(key: Key) -> bytes:
    """``ecdsa-sha2-nistp256 AAAA...``, the public half of a key. OrtolanError when the passphrase is wrong."""
    if key.in_agent:
        return b" ".join(key.path.read_bytes().split()[:2]) + b"\n"
    done = _run(["-y", "-f", str(key.path)], secret=key.passphrase)
    if done.returncode:
        raise _failed("cannot be read", key.path, done)
    return b" ".join(done.stdout.split()[:2]) + b"\n"


def fingerprint(line: bytes) -> str:
    """``SHA256:...`` of a public key's line, as ssh-keygen prints it."""
    with _file(line) as folder:
        done = _run(["-l", "-f", f"{folder}/given"])
    if done.returncode or len(done.stdout.split()) < 2:
        raise _failed("is no public key", Path("the given line"), done)
    return done.stdout.split()[1].decode()


def pem(line: bytes) -> bytes:
    """A public key's line as PEM (SubjectPublicKeyInfo), which model-signing and OpenSSL read."""
    with _file(line) as folder:
        done = _run(["-e", "-m", "PKCS8", "-f", f"{folder}/given"])
    if done.returncode:
        raise _failed("has no PEM form", Path("the public key"), done)
    return done.stdout


def sign(key: Key, data: bytes, namespace: str) -> bytes:
    """A signature of ``data`` in ``namespace`` by a key, or by the agent that has it. OrtolanError."""
    with _file(data) as folder:
        where = key.path
        if not key.in_agent:  # ssh-keygen wants the public key beside the private one, which stays where it is
            where = Path(folder, "key")
            where.symlink_to(key.path.resolve())
            Path(folder, "key.pub").write_bytes(public(key))
        done = _run(
            ["-Y", "sign", "-f", str(where), "-n", namespace, f"{folder}/given"], secret=key.passphrase, agent=key.in_agent
        )
        if done.returncode:
            raise _not_signed(key, done)
        return Path(folder, "given.sig").read_bytes()


def verify(
    data: bytes, signature: Path, signers: Path, namespace: str, *, principal: str = "", revoked: Path | None = None
) -> Signer:
    """Who of the list ``signers`` signed ``data`` in ``namespace``, at a time at which that key is valid.

    Without ``principal``, it is the one that the list has for the key. ``revoked``: a KRL, or public keys by line. OrtolanError.
    """
    _check_armour(signature)
    name = principal or _principal(signature, signers)
    words = ["-Y", "verify", "-f", str(signers), "-I", name, "-n", namespace, "-s", str(signature), "-O", "print-pubkey"]
    done = _run([*words, *(["-r", str(revoked)] if revoked else [])], data)
    good = _GOOD.search(done.stdout.decode(errors="replace"))
    if done.returncode or not good or good["namespace"] != namespace:
        raise _failed(f"is no signature by {name} for {namespace}", signature, done)
    return Signer(name, good["fingerprint"], done.stdout.splitlines()[-1] + b"\n")


def make(path: Path, comment: str, *, passphrase: bool) -> None:
    """A new ECDSA P-256 key pair, ``path`` (PKCS #8, mode 0600) and ``path.pub``; ssh-keygen asks for the passphrase."""
    words = [PROGRAM, "-q", "-t", "ecdsa", "-b", "256", "-m", "PKCS8", "-C", comment, "-f", str(path)]
    with _installed():
        done = subprocess.run([*words, *([] if passphrase else ["-N", ""])], check=False, env=_environment(asking=True))  # noqa: S603
    if done.returncode:
        raise OrtolanError("ssh-keygen made no key", where=str(path), why=f"it ended with {done.returncode}")


def _principal(signature: Path, signers: Path) -> str:
    """The first name that a list has for the key of a signature; a pattern is no name."""
    done = _run(["-Y", "find-principals", "-s", str(signature), "-f", str(signers)])
    names = [name for line in done.stdout.decode(errors="replace").splitlines() for name in line.split(",")]
    plain = [name for name in names if name and not set(name) & set("*?!")]
    if done.returncode or not plain:
        why = "the list has patterns only" if names else f"{signers} does not have its key, or not at this time"
        raise OrtolanError("is signed by nobody who may", where=str(signature), why=why, hint="--principal NAME, or another list")
    return plain[0]


def _check_armour(path: Path) -> None:
    """OrtolanError unless a signature is written as ssh-keygen writes it: no other bytes stand for the same signature."""
    found = _ARMOUR.fullmatch(path.read_bytes())
    body = found["body"].replace(b"\n", b"") if found else b""
    try:
        same = bool(body) and base64.b64encode(base64.b64decode(body, validate=True)) == body
    except binascii.Error:
        same = False
    if not same:
        raise OrtolanError("is no signature as ssh-keygen writes it", where=str(path), hint="fetch it again, or sign again")


def _not_signed(key: Key, done: subprocess.CompletedProcess[bytes]) -> OrtolanError:
    error = _failed("cannot sign", key.path, done)
    if key.in_agent:
        error.hint = "ssh-add FILE, or ssh-add -s MODULE for a token, gives the key to ssh-agent; ssh-add -l lists what it has"
    return error


def _file(data: bytes) -> tempfile.TemporaryDirectory[str]:
    """A folder of our own that holds ``data`` as the file ``given``."""
    folder = tempfile.TemporaryDirectory(prefix="ortolan-")
    Path(folder.name, "given").write_bytes(data)
    return folder


def _run(
    words: Sequence[str], data: bytes = b"", *, secret: bytes | None = None, agent: bool = False
) -> subprocess.CompletedProcess[bytes]:
    """Away from the terminal, so that ssh-keygen asks nobody: a passphrase comes through its standard input."""
    given = data if secret is None else secret + b"\n"
    with _installed():
        return subprocess.run(  # noqa: S603 - words, never a shell
            [PROGRAM, *words], input=given, capture_output=True, check=False, start_new_session=True,
            env=_environment(agent=agent),
        )  # fmt: skip


@contextmanager
def _installed() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        hint = "install OpenSSH's client, 8.7 or newer (Debian: openssh-client)"
        raise OrtolanError(f"there is no {PROGRAM}", why="it makes and checks signatures", hint=hint) from error


def _environment(*, agent: bool = False, asking: bool = False) -> dict[str, str]:
    names = [*_PASSED_ON, *(["SSH_AUTH_SOCK"] if agent else []), *(_ASKING if asking else [])]
    kept = {name: os.environ[name] for name in names if name in os.environ}
    return kept | {"LC_ALL": "C"} | ({} if asking else {"SSH_ASKPASS_REQUIRE": "never"})


def _failed(what: str, where: Path, done: subprocess.CompletedProcess[bytes]) -> OrtolanError:
    """With the last thing that ssh-keygen said. It never says a passphrase."""
    said = (done.stderr + done.stdout).decode(errors="replace").strip().splitlines()
    why = said[0].removeprefix("Enter passphrase: ") if said else f"ssh-keygen ended with {done.returncode}"
    return OrtolanError(what, where=str(where), why=why)

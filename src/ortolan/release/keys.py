"""Keys of releases: made by ssh-keygen, listed in ``allowed_signers``, and rotated so that devices follow."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..disk import disk, part_of, remove, sweep
from ..errors import OrtolanError
from . import secret, signers, ssh
from .secret import Key
from .signers import KEYS_NAMESPACE, NAME, SIGNATURE, Entry

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_OTHERS_WRITE = 0o022


@dataclass(frozen=True)
class Changed:
    """What became of a folder of keys: the key, its principal, and whether the new list is signed by one of the list before."""

    folder: Path
    public: bytes
    principal: str
    signed: bool


def user_keys() -> Path:
    """``$XDG_CONFIG_HOME/ortolan/keys``, or ``~/.config/ortolan/keys`` (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "ortolan" / "keys"


def named(folder: Path, key: str) -> Path:
    """The file that is meant by a path, or by the name of a key in ``folder``."""
    inside = folder / key
    return inside if "/" not in key and not Path(key).is_file() and inside.exists() else Path(key)


def make(folder: Path, name: str, principal: str = "", *, passphrase: bool, after: str = "", by: Path | None = None) -> Changed:
    """Make the key pair ``name``, its PEM, and its line in ``allowed_signers``; OrtolanError, and nothing is left.

    ``by`` is a key of the list as it was, which signs the new one. ssh-keygen asks for the passphrase.
    """
    return _made(folder, name, principal or name, passphrase=passphrase, after=after, by=secret.open_key(by) if by else None)


def rotate(
    folder: Path,
    old: Path,
    name: str,
    principal: str = "",
    *,
    passphrase: bool,
    after: str = "",
    until: str = "",
    drop: bool = False,
) -> Changed:
    """Make the key ``name``; ``old`` signs the list that has both.

    From the day ``until`` on, or with ``drop`` at once, ``old`` is invalid. OrtolanError, and nothing is left.
    """
    key = secret.open_key(old)
    return _made(folder, name, principal or name, passphrase=passphrase, after=after, by=key, until=until, drop=drop)


def trust(folder: Path, public: Path, principal: str = "", *, after: str = "", by: Path | None = None) -> Changed:
    """Add a public key that was made elsewhere, in a token or by a colleague, to the list."""
    secret.check_there(public)
    line = ssh.public(Key(public)) if public.suffix == ".pub" else b""
    if not line or not ssh.fingerprint(line):
        raise OrtolanError(
            "is no public key of OpenSSH's form", where=str(public), hint="ssh-keygen -D MODULE prints those of a token"
        )
    one = signers.entry(principal or public.stem, line, after=after)
    key = secret.open_key(by) if by else None
    _prepare(folder)
    with _alone(folder):
        text = _text(folder)
        _publish(folder, signers.added(text, one), key, text)
    return Changed(folder, line, one.principals, bool(key))


def retire(folder: Path, public: Path, until: str = "", *, by: Path | None = None) -> Changed:
    """End a key: from the day ``until`` on, or without one at once. What it signed is then refused as well."""
    secret.check_there(public)
    line, key = ssh.public(Key(public)), secret.open_key(by) if by else None
    with _alone(folder):
        text = _text(folder)
        new = signers.ended(text, line, until)
        _publish(folder, new, key, text)
    return Changed(folder, line, signers.principals(signers.read(text), line), bool(key))


def _made(
    folder: Path, name: str, principal: str, *, passphrase: bool, after: str, by: Key | None, until: str = "", drop: bool = False
) -> Changed:
    _check_name(folder, name)
    if passphrase and not secret.can_ask():
        hint = "run it in a terminal, set SSH_ASKPASS and SSH_ASKPASS_REQUIRE=force, or say --no-passphrase"
        raise OrtolanError("nobody can be asked for a passphrase", why="there is no terminal", hint=hint)
    signers.entry(principal, b"", after=after)  # before anybody is asked anything
    _prepare(folder)
    with _new(folder / name, principal, passphrase=passphrase) as part, _alone(folder):
        line = ssh.public(Key(Path(f"{part}.pub")))
        text = _text(folder)
        new = signers.added(text, signers.entry(principal, line, after=after))
        if by and (until or drop):
            new = signers.ended(new, ssh.public(by), until)
        with _placed([Path(f"{part}.pub"), Path(f"{part}.pem"), part], folder):
            _publish(folder, new, by, text)
    return Changed(folder, line, principal, bool(by))


@contextmanager
def _new(path: Path, principal: str, *, passphrase: bool) -> Iterator[Path]:
    """A new key pair with its PEM in a folder of its own beside ``path``, which goes away afterwards."""
    sweep(path.parent)
    folder = part_of(path)
    with disk(folder):
        try:
            folder.mkdir(mode=0o700)
            part = folder / path.name
            ssh.make(part, principal, passphrase=passphrase)
            if passphrase and not secret.protected(part):
                raise OrtolanError(
                    "the passphrase was empty",
                    hint="say --no-passphrase if that is meant: the file then signs for whoever has it",
                )
            public = folder / f"{path.name}.pub"
            (folder / f"{path.name}.pem").write_bytes(ssh.pem(ssh.public(Key(public))))
            yield part
        finally:
            remove(folder)


@contextmanager
def _placed(parts: Sequence[Path], folder: Path) -> Iterator[None]:
    """Give files their names in a folder, and take them away again if something fails. A name that is taken is an error."""
    placed: list[Path] = []
    try:
        for part in parts:
            os.link(part, folder / part.name)  # moved, not copied: the other name goes away with its folder
            placed.append(folder / part.name)
        yield
    except BaseException:
        for path in placed:
            path.unlink(missing_ok=True)
        raise


def _publish(folder: Path, text: str, by: Key | None, before: str) -> None:
    """Replace the list; the signature of an older list goes first, one by ``by`` comes last."""
    signature = _signed(text.encode(), by, before) if by else None
    with disk(folder):
        (folder / SIGNATURE).unlink(missing_ok=True)
        _write(folder / NAME, text.encode())
        if signature:
            _write(folder / SIGNATURE, signature)


def _signed(data: bytes, by: Key, before: str) -> bytes:
    """The signature of a list, once a device that has the list before it would accept it."""
    signature = ssh.sign(by, data, KEYS_NAMESPACE)
    with tempfile.TemporaryDirectory(prefix="ortolan-") as place:
        made, old = Path(place, SIGNATURE), Path(place, NAME)
        made.write_bytes(signature)
        old.write_text(before)
        try:
            ssh.verify(data, made, old, KEYS_NAMESPACE)
        except OrtolanError as error:
            why = f"{NAME} as it is does not have that key, or not now, or not for {KEYS_NAMESPACE}"
            raise OrtolanError("no device would accept a list that this key signs", where=str(by.path), why=why) from error
    return signature


def _write(path: Path, data: bytes) -> None:
    part = part_of(path)
    try:
        part.write_bytes(data)
        part.chmod(0o644)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _text(folder: Path) -> str:
    try:
        return (folder / NAME).read_text()
    except FileNotFoundError:
        return ""


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One change of a folder at a time."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _check_name(folder: Path, name: str) -> None:
    """OrtolanError for a name that is not one, or is taken."""
    if not _NAME.fullmatch(name) or name.endswith((".pub", ".pem", ".sig")) or name == NAME:
        raise OrtolanError(
            f"'{name}' is no name of a key", why="letters, digits and . _ - only", hint="./inv keys-make release-2026"
        )
    for path in (folder / name, folder / f"{name}.pub", folder / f"{name}.pem"):
        if path.exists() or path.is_symlink():
            raise OrtolanError("is there already, and stays as it is", where=str(path), hint=f"./inv keys-rotate {name} NEW-NAME")


def _prepare(folder: Path) -> None:
    """Make the folder for its owner alone. OrtolanError where others may write, or where git would take the keys along."""
    _check_ignored(folder)
    with disk(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & _OTHERS_WRITE:
        raise OrtolanError("others may write here", where=str(folder), why="they could exchange keys", hint=f"chmod 700 {folder}")


def _check_ignored(folder: Path) -> None:
    above = [path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir()]
    if not any((path / ".git").exists() for path in above):
        return
    try:
        asked = ["git", "-C", str(above[0]), "check-ignore", "-q", "--", str(folder.absolute() / "key")]
        ignored = subprocess.run(asked, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0  # noqa: S603
    except OSError:
        ignored = False
    if not ignored:
        why = "the folder lies in a git repository that does not ignore it: a private key would be committed sooner or later"
        raise OrtolanError("no place for keys", where=str(folder), why=why, hint="add it to .gitignore, or another --folder")


def entries(folder: Path) -> list[Entry]:
    """What the list of a folder has."""
    return signers.read(_text(folder))

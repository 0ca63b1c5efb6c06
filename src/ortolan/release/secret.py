"""Private keys where they lie, and the passphrases that open them: never copied, printed, or put into arguments or variables."""

from __future__ import annotations

import getpass
import os
import stat
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import OrtolanError

_LOOSE = stat.S_IRWXG | stat.S_IRWXO
_FORMS = {b"-----BEGIN PRIVATE KEY-----": False, b"-----BEGIN ENCRYPTED PRIVATE KEY-----": True}
"""First lines of the form that both OpenSSH and model-signing read (PKCS #8), and whether a passphrase protects the key."""


@dataclass(frozen=True)
class Key:
    """A private key by its file, with its passphrase where it has one; or a public key (``.pub``) for an agent's."""

    path: Path
    passphrase: bytes | None = field(default=None, repr=False)

    @property
    def in_agent(self) -> bool:
        """Whether ssh-agent signs, so that no file holds the private key."""
        return self.path.suffix == ".pub"


def open_key(path: Path) -> Key:
    """The key in a file, once its passphrase is known. OrtolanError where others can read it, or where it is of another form."""
    if path.suffix == ".pub":
        check_there(path)
        return Key(path)
    return Key(path, ask(f"Passphrase for {path}: ") if protected(path) else None)


def protected(path: Path) -> bool:
    """Whether a passphrase protects a private key that nobody else can read; only its first line is read. OrtolanError."""
    check_private(path)
    with path.open("rb") as stream:
        form = stream.readline(80).strip()
    if form not in _FORMS:
        hint = f"ssh-keygen -p -m PKCS8 -f {path} converts an ECDSA key of OpenSSH's own form; ./inv keys-make makes one"
        raise OrtolanError("is no private key in PKCS #8 form", where=str(path), why="model-signing reads no other", hint=hint)
    return _FORMS[form]


def check_private(path: Path) -> None:
    """OrtolanError unless ``path`` is a file that only its owner can read or write."""
    check_there(path)
    mode = path.stat().st_mode
    if mode & _LOOSE:
        why = f"its mode is {stat.S_IMODE(mode):04o}: its group or others may use it"
        raise OrtolanError(
            "is no longer secret", where=str(path), why=why, hint=f"chmod 600 {path}; or a new key, if others had it"
        )


def check_there(path: Path) -> None:
    """OrtolanError unless ``path`` is a file."""
    if not path.is_file():
        raise OrtolanError("there is no such file", where=str(path), hint="./inv keys lists the keys that there are")


def ask(prompt: str) -> bytes:
    """A secret from the program that SSH_ASKPASS names or from the terminal, chosen as ssh does. OrtolanError without either."""
    if program := _askpass():
        return _asked(program, prompt)
    if has_terminal():
        try:
            return getpass.getpass(prompt).encode()
        except EOFError:
            raise OrtolanError("no answer", where=prompt.strip()) from None
    hint = "run it in a terminal, or set SSH_ASKPASS to a program that prints the secret and SSH_ASKPASS_REQUIRE=force"
    raise OrtolanError("nobody can be asked", why=f"there is no terminal for: {prompt.strip()}", hint=hint)


def has_terminal() -> bool:
    """Whether somebody sits there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True


def can_ask() -> bool:
    """Whether ssh-keygen, too, finds somebody to ask."""
    return has_terminal() or bool(_askpass())


def _askpass() -> str:
    """The program that asks in place of the terminal (ssh(1), SSH_ASKPASS_REQUIRE); empty when the terminal does."""
    program, wanted = os.environ.get("SSH_ASKPASS", ""), os.environ.get("SSH_ASKPASS_REQUIRE", "")
    shown = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    asks = wanted == "force" or (shown and wanted != "never" and (wanted == "prefer" or not has_terminal()))
    return program if asks else ""


def _asked(program: str, prompt: str) -> bytes:
    try:
        done = subprocess.run([program, prompt], stdin=subprocess.DEVNULL, capture_output=True, check=True)  # noqa: S603 - the user names it
    except (OSError, subprocess.CalledProcessError) as error:
        why = f"it ended with {error.returncode}" if isinstance(error, subprocess.CalledProcessError) else str(error.strerror)
        raise OrtolanError("SSH_ASKPASS gave no secret", where=program, why=why) from None
    return done.stdout.rstrip(b"\r\n")

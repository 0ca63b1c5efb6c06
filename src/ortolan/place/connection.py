"""One connection to a host, made by the system's ssh and shared by all that is done there; and what ssh says when it fails."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
import threading
import weakref
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol

from ..disk import alive
from ..errors import OrtolanError

PROGRAM = "ORTOLAN_SSH"
"""The environment variable that names another ssh, with its options: ``ssh -F config``."""
_OPTIONS = (
    "BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=5", "ServerAliveCountMax=3", "ControlMaster=auto",
    "ControlPersist=60", "ClearAllForwardings=yes", "RemoteCommand=none", "RequestTTY=no", "PermitLocalCommand=no",
)  # fmt: skip
_SAID = {
    "REMOTE HOST IDENTIFICATION HAS CHANGED": (
        "its host key is not the one that is known for it",
        "if the device was set up anew: ssh-keygen -R {name}; if not, something else answers in its place",
    ),
    "Host key verification failed": (
        "its host key is not known",
        "compare the key once by hand: ssh {address}",
    ),
    "Permission denied": (
        "it does not let you in",
        "ssh {address} must work without a question: ssh-copy-id {address}, or ssh-add for a key with a passphrase",
    ),
    "Could not resolve hostname": ("there is no host of that name", "check the name, or ~/.ssh/config"),
    "Connection refused": ("nothing listens there", "is the device on, and sshd running?"),
    "timed out": ("it does not answer", "is the device on, and in the same network?"),
    "No route to host": ("it does not answer", "is the device on, and in the same network?"),
}


_ANOTHER = "name another Python: --python, or python in recipes/fleet.toml"
_OWN = {
    "No space left": "free some space on the device",
    "quota": "free some space on the device",
    "cannot write": "its user must have a folder there that can be written: ~/.cache, or what XDG_CACHE_HOME says",
}
"""What to do about what the worker complains of, by its words."""
_PREFIX = "ortolan-ssh-"
LOST = 255
"""What ssh exits with when the connection failed."""
_FAREWELL = 20.0
"""Seconds that ssh may take to end a connection."""


class HostError(OrtolanError):
    """A host cannot be reached, or what was sent there could not be run."""


class Line(Protocol):
    """What a worker is started by: ssh, or a shell of this machine."""

    address: str

    def turn(self) -> AbstractContextManager[object]:
        """Start a command in this block, so that only one makes the connection."""

    def start(self, command: str) -> tuple[subprocess.Popen[bytes], Path]:
        """A command of a shell with pipes to it and from it, and the file of its errors. HostError."""

    def failed(self, code: int, said: str) -> HostError:
        """The error of a command that ended with a code and left these words."""

    def close(self) -> None:
        """End all that was started."""


class Connection:
    """Starts commands on ``address``, which is whatever ssh takes: ``pi@pi5``, or a name of the user's ssh configuration.

    The first command makes the connection, all share it, ``close`` ends it. Its socket lies in a private folder.
    """

    def __init__(self, address: str) -> None:
        if not re.fullmatch(r"[^-\s\0][^\s\0]*", address):
            raise HostError(f"{address!r} is not a host", hint="write it as ssh takes it: user@name")
        self.address = address
        self._guard = threading.Lock()
        _sweep()
        self._folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=_short()))
        words = [f"ControlPath={self._folder}/s", *_OPTIONS]
        self._ssh = [*shlex.split(os.environ.get(PROGRAM, "ssh")), *(word for one in words for word in ("-o", one))]
        self._close = weakref.finalize(self, _end, [*self._ssh, "-O", "exit", "--", address], self._folder)

    def turn(self) -> AbstractContextManager[object]:
        """Whoever is first makes the connection, and until it stands the others wait: start a command in this block."""
        return nullcontext() if (self._folder / "s").exists() else self._guard

    def start(self, command: str) -> tuple[subprocess.Popen[bytes], Path]:
        """A command of the host's shell, and the file to which it and ssh write their errors. HostError without ssh."""
        number, errors = tempfile.mkstemp(prefix="said-", dir=self._folder)
        try:
            process = subprocess.Popen(  # noqa: S603  the user's own ssh
                [*self._ssh, "--", self.address, command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=number,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            what, hint = f"{self._ssh[0]} does not start: {error.strerror}", "apt-get install openssh-client"
            raise HostError(what, where=self.address, hint=hint) from None
        finally:
            os.close(number)
        return process, Path(errors)

    def close(self) -> None:
        """End the connection, and with it whatever still runs there."""
        self._close()

    def failed(self, code: int, said: str) -> HostError:
        """The error of a command that ended with a code and left these words."""
        if code == LOST and not _own(said):
            what, hint = next(
                (both for words, both in _SAID.items() if words in said), ("the connection was lost", "run it again")
            )
            named = {"address": self.address, "name": self.address.rpartition("@")[2]}
            return HostError(what, where=self.address, why=last_line(said), hint=hint.format_map(named))
        error = unstarted(self.address, code, said)
        error.hint = error.hint or f"does ssh {self.address} echo yes say yes? A login shell that runs no commands ends like this"
        return error


def _own(said: str) -> str:
    """What the worker itself complains of."""
    words = "ortolan: "
    return next((line.strip().removeprefix(words) for line in said.splitlines() if line.strip().startswith(words)), "")


def last_line(said: str) -> str:
    """What a program said last, less the lines of at signs that ssh frames its warnings with."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if not line.startswith("@")), "it said nothing")


def unstarted(address: str, code: int, said: str) -> HostError:
    """The error of a worker that ended with a code and left these words."""
    own, why = _own(said), last_line(said)
    if own:
        return HostError(own, where=address, hint=next((hint for words, hint in _OWN.items() if words in own), _ANOTHER))
    if code in {126, 127}:
        hint = "install Python 3.8 or newer there, or name it: --python, or python in recipes/fleet.toml"
        return HostError("it has no such Python", where=address, why=why, hint=hint)
    if code in {-9, 137}:
        return HostError("the worker was killed there", where=address, why="most likely the device ran out of memory")
    return HostError(f"the worker ended there with code {code}", where=address, why=why)


def _sweep() -> None:
    """Remove the folders of processes that were killed."""
    for folder in Path(_short()).glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdigit() and not alive(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _short() -> str:
    """Where the socket's path stays below the 104 letters that some systems allow."""
    run = os.environ.get("XDG_RUNTIME_DIR", "")
    return run if run and len(run) < 60 and os.access(run, os.W_OK) else "/tmp"  # noqa: S108  mkdtemp makes a private folder in it


def _end(command: list[str], folder: Path) -> None:
    """End the connection of a folder. One that hangs ends by itself, a minute after the last command."""
    try:
        if (folder / "s").exists():
            subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_FAREWELL)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return
    finally:
        shutil.rmtree(folder, ignore_errors=True)

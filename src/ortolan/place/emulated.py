"""The emulated ARM as a host: the same worker, under emulation, started by this machine's shell in place of ssh."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from ..errors import OrtolanError
from ..platforms import host_platform
from ..runtime import emulated as runtimes
from .connection import HostError, unstarted
from .host import Host

MACHINES = {"arm64": "linux/arm64"}
"""The machines that are emulated, and the platforms that they are."""


class Shell:
    """Starts commands by the shell of this machine; what they leave of errors lies in a private folder until ``close``.

    ``caches`` is their ``XDG_CACHE_HOME``: what is sent to them is kept there.
    """

    def __init__(self, address: str, caches: Path) -> None:
        self.address, self._caches = address, caches
        self._folder = Path(tempfile.mkdtemp(prefix="ortolan-shell-"))

    def turn(self) -> AbstractContextManager[object]:
        """There is no connection to wait for."""
        return nullcontext()

    def start(self, command: str) -> tuple[subprocess.Popen[bytes], Path]:
        """A command, and the file to which it writes its errors. Nothing of this Python's environment counts there."""
        number, errors = tempfile.mkstemp(prefix="said-", dir=self._folder)
        own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
        own |= {"XDG_CACHE_HOME": str(self._caches)}
        try:
            process = subprocess.Popen(  # noqa: S603  a line that starts the worker in a runtime of ours
                ["/bin/sh", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=number, env=own,
                start_new_session=True,
            )  # fmt: skip
        finally:
            os.close(number)
        return process, Path(errors)

    def failed(self, code: int, said: str) -> HostError:
        """The error of a worker that ended with a code and left these words."""
        return unstarted(self.address, code, said)

    def close(self) -> None:
        """What was started ends with its pipes; what it left of errors is removed."""
        shutil.rmtree(self._folder, ignore_errors=True)


def emulated(
    address: str, machine: str, runtime: str, folders: Sequence[Path], cache: Path, say: Callable[[str], object] = str,
    *, sent: Path | None = None,
) -> Host:  # fmt: skip
    """A ``machine`` such as ``arm64``, with the packages of a pinned ``runtime``, both made on first use below ``cache``.

    What is sent to it is kept in ``sent``; without that, in a folder of its own beside the runtimes.
    RuntimeSetupError where it cannot be made here; OrtolanError where this machine is one itself.
    """
    if MACHINES.get(machine) == host_platform():
        raise OrtolanError(f"this machine is {machine} itself", where=address, hint="leave out --host: nothing is emulated")
    made = runtimes.ensure(f"{runtime}{runtimes.AT}{machine}", folders, cache, say)
    emulator = next((text for name, text in made.programs.items() if "qemu" in name), "an emulator")
    shell = Shell(address, sent or cache / f"{machine}-sent")
    return Host(address, str(made.interpreter), connection=shell, emulates=f"{made.root.spec.cpu} by {emulator}")

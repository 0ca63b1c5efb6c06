"""This machine as a place: each step is a process of a pinned runtime."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path

from ..errors import StepError
from .reply import WORKER, Reply, environment, reply_in, timed_out


class Local:
    """Runs steps as processes of this machine, each a process group of its own; ``stop`` ends all of them."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._guard = threading.Lock()
        self._stopped = False

    def run(self, folder: Path, interpreter: Path, time_limit: float) -> Reply:
        """Run the stage requested in ``folder``, at most ``time_limit`` seconds; the log is ``folder/log.txt``.

        StepError when ``stop`` ended it.
        """
        late = threading.Event()
        lifeline, ours = os.pipe()
        try:
            process = self._start(folder, interpreter, lifeline)
            timer = threading.Timer(time_limit, _end_late, (process, late))
            timer.start()
            code = process.wait()
            timer.cancel()
        finally:
            os.close(lifeline)
            os.close(ours)
        with self._guard:
            self._running.discard(process)
            stopped = self._stopped
        _kill(process)  # what the stage started and left behind
        if stopped:
            raise StepError("was stopped")  # by us: no crash, and nothing to keep
        return timed_out(time_limit) if late.is_set() else reply_in(folder, code)

    def stopped(self) -> bool:
        """Whether ``stop`` was called."""
        return self._stopped

    def stop(self) -> None:
        """End every running step, and refuse to start others."""
        with self._guard:
            self._stopped = True
            for process in self._running:
                _kill(process)

    def _start(self, folder: Path, interpreter: Path, lifeline: int) -> subprocess.Popen[bytes]:
        command = [str(interpreter), *WORKER, str(lifeline)]
        with (folder / "log.txt").open("wb") as log, self._guard:
            if self._stopped:
                raise KeyboardInterrupt
            process = subprocess.Popen(  # noqa: S603
                command, cwd=folder, env=environment(folder), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, pass_fds=(lifeline,),
            )  # fmt: skip
            self._running.add(process)
        return process


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return  # it has ended already; macOS says so with EPERM


def _end_late(process: subprocess.Popen[bytes], late: threading.Event) -> None:
    late.set()
    _kill(process)

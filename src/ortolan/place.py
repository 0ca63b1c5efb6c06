"""Where a step runs: this machine. A prepared folder and an interpreter go in, a reply comes back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import StepError

_END = "the step's process"
_ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(2**27), "MALLOC_TRIM_THRESHOLD_": str(2**28)}
"""glibc keeps what a step frees for its next copy of the model, in place of handing it back to the kernel page by page.

Seen in a build of ResNet-18: a fifth less time in the kernel, 6% less of all processor time, up to 64 MB more at the peak of a
step (mallopt(3)). Other C libraries do not read these.
"""


@dataclass(frozen=True)
class Reply:
    """What a step's process left: ``facts``, or a ``refused`` verdict, or a ``crash`` in words."""

    facts: dict[str, Any] | None = None
    refused: dict[str, str] | None = None
    crash: str = ""


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
        return _timed_out(time_limit) if late.is_set() else _reply(folder, code)

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
        command = [str(interpreter), "-s", "-m", "stages.lib.worker", str(lifeline)]
        with (folder / "log.txt").open("wb") as log, self._guard:
            if self._stopped:
                raise KeyboardInterrupt
            process = subprocess.Popen(  # noqa: S603
                command, cwd=folder, env=environment(folder), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, pass_fds=(lifeline,),
            )  # fmt: skip
            self._running.add(process)
        return process


def environment(folder: Path) -> dict[str, str]:
    """A step's environment, made from scratch: nothing of the user's can reach the numbers."""
    (folder / "home").mkdir(exist_ok=True)
    (folder / "tmp").mkdir(exist_ok=True)
    return {
        "PATH": "/usr/bin:/bin", "HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp"), "LANG": "C.UTF-8",
        "TZ": "UTC", "PYTHONHASHSEED": "0", "PYTHONUTF8": "1", "SOURCE_DATE_EPOCH": "315532800",
        "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime 1.31.1's Linux wheel has it on by default
        **_ALLOCATOR,
    }  # fmt: skip


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return  # it has ended already; macOS says so with EPERM


def _end_late(process: subprocess.Popen[bytes], late: threading.Event) -> None:
    late.set()
    _kill(process)


def _timed_out(limit: float) -> Reply:
    return Reply(crash=f"{_END} was still running after its time limit of {limit:g} s and was ended")


def _reply(folder: Path, code: int) -> Reply:
    try:
        result = json.loads((folder / "result.json").read_text())
    except (OSError, ValueError):
        return Reply(crash=_ended(code))
    if "error" in result:
        return Reply(crash=f"{result['error']['type']}: {result['error']['message']}")
    return Reply(result.get("facts"), result.get("refused"))


def _ended(code: int) -> str:
    if code == -signal.SIGKILL:
        return f"{_END} was killed (signal 9), most likely because the machine ran out of memory"
    if code < 0:
        return f"{_END} died of signal {-code} ({signal.Signals(-code).name})"
    return f"{_END} ended with exit code {code} before it left a result"

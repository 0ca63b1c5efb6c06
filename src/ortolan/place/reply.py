"""What all places have in common: a prepared folder, an interpreter and a time limit go in, a reply comes back."""

from __future__ import annotations

import json
import os
import signal
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from .. import digest

_END = "the step's process"
_LIMIT = 1 << 26  # bytes of a result; the largest that was seen has 400,000
_ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(2**27), "MALLOC_TRIM_THRESHOLD_": str(2**28)}
"""glibc keeps what a step frees for its next copy of the model, in place of handing it back to the kernel page by page.

Seen in a build of ResNet-18: a fifth less time in the kernel, 6% less of all processor time, up to 64 MB more at the peak of a
step (mallopt(3)). Other C libraries do not read these.
"""
WORKER = ("-s", "-m", "stages.lib.worker")
"""What an interpreter is told to run in a prepared folder; the number of a pipe follows, whose closing ends it."""
HOME, TEMPORARY = FOLDERS = ("home", "tmp")
"""Folders beside a step's files that its environment speaks of."""


@dataclass(frozen=True)
class Reply:
    """What a step's process left: ``facts``, or a ``refused`` verdict, or a ``crash`` in words."""

    facts: dict[str, Any] | None = None
    refused: dict[str, str] | None = None
    crash: str = ""


class Place(Protocol):
    """Where steps run."""

    def run(self, folder: Path, interpreter: Path, time_limit: float) -> Reply:
        """Run the stage requested in ``folder``, at most ``time_limit`` seconds; ``out/`` and ``log.txt`` are there afterwards.

        StepError when ``stop`` ended it.
        """

    def stopped(self) -> bool:
        """Whether ``stop`` was called."""

    def stop(self) -> None:
        """End every running step, and refuse to start others."""


def variables(folder: str) -> dict[str, str]:
    """A step's environment, made from scratch: nothing of the user's can reach the numbers."""
    return {
        "PATH": "/usr/bin:/bin", "HOME": f"{folder}/{HOME}", "TMPDIR": f"{folder}/{TEMPORARY}", "LANG": "C.UTF-8",
        "TZ": "UTC", "PYTHONHASHSEED": "0", "PYTHONUTF8": "1", "SOURCE_DATE_EPOCH": "315532800",
        "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime 1.31.1's Linux wheel has it on by default
        **_ALLOCATOR,
    }  # fmt: skip


def environment(folder: Path) -> dict[str, str]:
    """The same for a folder of this machine, with the folders that it speaks of."""
    for name in FOLDERS:
        (folder / name).mkdir(exist_ok=True)
    return variables(str(folder))


def timed_out(limit: float) -> Reply:
    """Of a step that was ended by its time limit."""
    return Reply(crash=f"{_END} was still running after its time limit of {limit:g} s and was ended")


def reply_in(folder: Path, code: int) -> Reply:
    """What a step whose process ended with ``code`` left in its folder; code of a model's may have written it."""
    try:
        result = _result(end_of(folder / "result.json", _LIMIT))
    except (ValueError, RecursionError):
        return Reply(crash=_ended(code))
    if "error" in result:
        return Reply(crash=f"{result['error'].get('type')}: {result['error'].get('message')}")
    return Reply(result.get("facts"), result.get("refused"))


def _result(data: bytes) -> dict[str, Any]:
    """What the worker writes: ``facts``, ``refused`` or ``error``. ValueError, or RecursionError, for anything else."""
    result = json.loads(data)
    if not isinstance(result, dict) or not result or any(not isinstance(result[key], dict) for key in result):
        raise ValueError("a result is an object of objects")
    if "refused" in result and {type(result["refused"].get(key)) for key in ("what", "why", "hint")} != {str}:
        raise ValueError("a refusal has three texts")
    digest.canonical(result)
    return result


def end_of(path: Path, limit: int) -> bytes:
    """The last ``limit`` bytes of a plain file; none of what is missing, a link, a pipe or a folder.

    A step's code can put any of these where its log was: a link to what it could not read itself, a pipe that nobody writes to.
    """
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        about = os.fstat(opened)
        if not stat.S_ISREG(about.st_mode):
            return b""
        with open(opened, "rb", closefd=False) as stream:
            stream.seek(max(0, about.st_size - limit))
            return stream.read(limit)
    finally:
        os.close(opened)


def _ended(code: int) -> str:
    if code == -signal.SIGKILL:
        return f"{_END} was killed (signal 9), most likely because the machine ran out of memory"
    if code < 0:
        return f"{_END} died of signal {-code} ({signal.Signals(-code).name})"
    return f"{_END} ended with exit code {code} before it left a result"

"""An executor whose runtime is this interpreter and whose stages are those of tests/stages."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import ortolan.stages
from ortolan.events import Event
from ortolan.execute import Executor
from ortolan.runtime import Runtime, RuntimeSpec
from ortolan.step import Source, Step
from ortolan.store import Store

STAGES = str(Path(__file__).parent / "stages")
if STAGES not in ortolan.stages.__path__:
    ortolan.stages.__path__.append(STAGES)


def here() -> Runtime:
    """The running interpreter as a runtime: its standard library is all that fake stages need."""
    lock = Path(sys.prefix) / "pyvenv.cfg"
    return Runtime(
        RuntimeSpec("here", "this interpreter", "3", lock, "sha256:0"), Path(sys.executable), platform.python_version()
    )


def executor(root: Path, jobs: int = 2) -> tuple[Executor, list[Event]]:
    """An executor with an empty store below ``root``, and the events it will emit."""
    events: list[Event] = []
    return Executor(Store(root / "store"), {"here": here()}, root / "work", events.append, jobs), events


def write(text: str, limit: float = 30.0, **inputs: Source) -> Step:
    """A step that appends text to what was before."""
    return Step("fake_write", "here", {"text": text}, inputs, f"write {text}", limit)


def misbehave(how: str, limit: float = 30.0) -> Step:
    """A step that goes wrong."""
    return Step("fake_misbehave", "here", {"how": how}, {}, f"misbehave {how}", limit)

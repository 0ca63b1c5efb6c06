"""Fixtures: real stages in real runtimes, and the real models beside the checkout."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ortolan import runtime
from ortolan.cache import user_cache
from ortolan.place import Local
from ortolan.sandbox import copy_from, prepare

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class StageRun:
    """What one stage left: its output folder and facts, or why it left none."""

    out: Path
    facts: dict[str, Any] | None
    refused: dict[str, str] | None
    error: str
    log: str


RunStage = Callable[..., StageRun]


@pytest.fixture
def run_stage(tmp_path: Path) -> RunStage:
    """Run a stage for real, as a build does, without the store."""
    count = itertools.count()

    def run(stage: str, name: str, inputs: Mapping[str, Path], params: Mapping[str, Any], *, limit: float = 300) -> StageRun:
        folder = tmp_path / f"stage-{next(count)}"
        made = runtime.ensure(runtime.find(name, [ROOT / "runtimes"]), user_cache().runtimes)
        paths = {key: f"in/{key}" if path.is_dir() else f"in/{key}/{path.name}" for key, path in inputs.items()}
        folder.mkdir()
        prepare(folder, stage, paths, {paths[key]: copy_from(path) for key, path in inputs.items()}, params)
        reply = Local().run(folder, made.interpreter, limit)
        return StageRun(folder / "out", reply.facts, reply.refused, reply.crash, (folder / "log.txt").read_text(errors="replace"))

    return run


@pytest.fixture
def shared_data() -> Path:
    """The real models and samples; they are not part of the repository."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no ../shared/data beside this checkout")
    return folder

"""Fixtures: real stages in real runtimes, projects in temporary folders, and the real models beside the checkout."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from ortolan import runtime
from ortolan.build import Built, Options, build
from ortolan.cache import Cache, user_cache
from ortolan.contract import BESIDE, contract
from ortolan.events import Event
from ortolan.place import Local
from ortolan.recipe.project import Project
from ortolan.sandbox import copy_from, prepare
from ortolan.verbs import pick

ROOT = Path(__file__).parents[1]
_SKIPS = tomllib.loads((ROOT / "tests" / "skips.toml").read_text())["allowed"]


settings.register_profile("ortolan", deadline=None)  # a busy machine is no failure
settings.load_profile("ortolan")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as for what a script starts in the background: tests send Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Ortolan's own switches."""
    parser.addoption("--no-skips", action="store_true", help="a skip whose reason is not in tests/skips.toml is a failure")
    parser.addoption("--update", action="store_true", help="write golden files anew")
    parser.addoption("--slow", action="store_true", help="the tests marked `minutes` as well, which take many of them")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, without a word, what takes many minutes; ``--slow`` asks for it."""
    if config.getoption("--slow"):
        return
    left = [item for item in items if item.get_closest_marker("minutes")]
    items[:] = [item for item in items if item not in left]
    config.hook.pytest_deselected(items=left)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Under ``--no-skips`` turn a skip that nobody has explained into a failure."""
    report: Any = yield
    if report.skipped and item.config.getoption("--no-skips") and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        if not any(allowed["reason"] in reason for allowed in _SKIPS):
            report.outcome, report.longrepr = "failed", f"skipped, and tests/skips.toml does not allow it: {reason}"
    return report  # type: ignore[no-any-return]  # pytest's wrapper hooks return what they were sent


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
        files = {paths[key]: copy_from(path) for key, path in inputs.items()}
        for key in contract(stage).weighty & inputs.keys():
            if (weights := inputs[key].with_name(inputs[key].name + BESIDE)).is_file():
                files[paths[key] + BESIDE] = copy_from(weights)
        prepare(folder, stage, paths, files, params)
        reply = Local().run(folder, made.interpreter, limit)
        return StageRun(folder / "out", reply.facts, reply.refused, reply.crash, (folder / "log.txt").read_text(errors="replace"))

    return run


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    """One store for all tests of a run, also of several workers; the runtimes are the user's."""
    base = tmp_path_factory.getbasetemp()
    return Cache((base.parent if base.name.startswith("popen-") else base) / "shared-cache", user_cache().runtimes)


@dataclass
class Workspace:
    """A project in a temporary folder, with the recipes of this repository, and a cache."""

    root: Path
    cache: Cache
    events: list[Event]

    def build(self, target: str | list[str], *models: str) -> list[Built]:
        """Build, and keep the events."""
        self.events.clear()
        targets = [target] if isinstance(target, str) else target
        return build(self.jobs(targets, models), self.options(), self.events.append)

    def jobs(self, targets: list[str], models: tuple[str, ...]) -> Any:
        """The jobs of a command line."""
        return pick.jobs(Project(self.root), targets, models)

    def options(self) -> Options:
        """Where builds keep things."""
        return pick.options(self.root, self.cache)

    def ran(self) -> list[str]:
        """The labels of the steps that the last build really ran."""
        return [event.label for event in self.events if event.kind == "start"]

    def edit(self, recipe: str, old: str, new: str) -> None:
        """Change a recipe; the text to replace must be there."""
        path = self.root / "recipes" / recipe
        text = path.read_text()
        assert old in text, f"{old!r} is not in {recipe}"
        path.write_text(text.replace(old, new))

    def add(self, recipe: str, text: str) -> None:
        """Append to a recipe, or make one."""
        path = self.root / "recipes" / recipe
        path.write_text((path.read_text() if path.exists() else "") + text)


@pytest.fixture
def workspace(tmp_path: Path, shared_cache: Cache) -> Workspace:
    """A copy of this repository's recipes, and the store that all tests share."""
    root = tmp_path / "project"
    shutil.copytree(ROOT / "recipes", root / "recipes", ignore=shutil.ignore_patterns("__pycache__"))
    return Workspace(root, shared_cache, [])


@pytest.fixture
def own_cache(workspace: Workspace, tmp_path: Path) -> Workspace:
    """The same with an empty store of its own."""
    workspace.cache = Cache(tmp_path / "cache", user_cache().runtimes)
    return workspace


SmallDisk = Callable[[str], Path]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """Mounts a file system of the given size (``1m``), which a test can really fill."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(size: str) -> Path:
        if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], check=False).returncode:
            pytest.skip("mounting a small file system needs root")
        return disk

    yield mount
    if disk.is_mount():
        subprocess.run(["umount", "-l", disk], check=True)


@pytest.fixture
def shared_data() -> Path:
    """The real models and samples; they are not part of the repository."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no ../shared/data beside this checkout")
    return folder

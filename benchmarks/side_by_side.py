"""What the benchmarks share: runs that take turns, the table that they print, and where things are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from ortolan.cache import user_cache  # noqa: E402 - found through the line above
from ortolan.runtime.uv import environment as uv_environment  # noqa: E402

Run = Callable[[], object]
RAN = ("done", "refused", "failed")
"""The kinds of events that a step ends with when it really ran."""


@dataclass(frozen=True)
class Row:
    """One line of the table: what ran, against what (``None``: it is what others are compared with), and the goal."""

    what: str
    base: str | None = None
    goal: float | None = None


def take_turns(runs: Mapping[str, Run], rounds: int) -> dict[str, list[float]]:
    """Seconds of each run in each round. They take turns, and turns at being first; one round before is not counted."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    order = list(runs)
    for counted in range(-1, rounds):
        for name in order:
            began = time.perf_counter()
            runs[name]()
            if counted >= 0:
                times[name].append(time.perf_counter() - began)
        order.reverse()
    return times


def table(rows: Sequence[Row], times: Mapping[str, Sequence[float]]) -> bool:
    """Print medians, minima, the ratio of medians and the goal; whether every goal is met."""
    wide = max(len(row.what) for row in rows)
    print(f"{'':{wide}}   median      min   ratio    goal")
    met = []
    for row in rows:
        middle, least = median(times[row.what]), min(times[row.what])
        ratio = middle / median(times[row.base]) if row.base else None
        said = f"{ratio:6.2f}×" if ratio else "       "
        goal = f"≤ {row.goal:.2f}×" if row.goal else ""
        print(f"{row.what:{wide}}  {middle:6.3f} s {least:6.3f} s {said}  {goal}".rstrip(), flush=True)
        met.append(not ratio or not row.goal or ratio <= row.goal)
    return all(met)


def call(command: Sequence[str | Path], folder: Path, *, good: Sequence[int] = (0,), **more: str) -> str:
    """Run a program without this one's Python settings and return what it printed; SystemExit with its errors if it fails.

    ``good`` are the exit codes that are no failure.
    """
    done = subprocess.run(command, cwd=folder, env=plain_environment() | more, capture_output=True, text=True, check=False)
    if done.returncode not in good:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def plain_environment() -> dict[str, str]:
    """What programs start with: no PYTHON* settings (some keep bytecode from being cached), and pip's settings for uv too."""
    return {name: value for name, value in uv_environment(os.environ).items() if not name.startswith("PYTHON")}


def copy_of_recipes(folder: Path) -> Path:
    """The recipes of this checkout, at ``folder/recipes``; returns ``folder``."""
    shutil.copytree(ROOT / "recipes", folder / "recipes", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def step_seconds(printed: str) -> dict[str, float]:
    """Seconds of each step that ran, from what ``--json`` printed; those of steps with equal labels are added up."""
    spent: dict[str, float] = {}
    for event in map(json.loads, printed.splitlines()):
        if event["kind"] in RAN:
            spent[event["label"]] = spent.get(event["label"], 0.0) + event["seconds"]
    return spent


def empty_cache(folder: Path) -> Path:
    """A cache at ``folder`` with nothing in it but the user's runtimes."""
    runtimes = user_cache().runtimes
    runtimes.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True)
    (folder / "runtimes").symlink_to(runtimes)
    return folder

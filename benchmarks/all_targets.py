"""Prints how long all targets take for both demo models, from an empty store, over what their steps would take on busy cores.

The runtimes are made. Steps that targets share run once, so the least that the cores could need is the sum of the times of the
steps that ran, divided by the number of cores. What comes on top is planning, waiting for one another, and cores that have
nothing to do at the end.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from side_by_side import RAN, ROOT, call, copy_of_recipes, empty_cache, step_seconds

GOAL = 1.3


@dataclass(frozen=True)
class Seen:
    """One build, in seconds: its wall time and the sum of the times of its ``steps``, those that ran."""

    wall: float
    work: float
    steps: int

    @property
    def ratio(self) -> float:
        """Wall time over busy cores."""
        return self.wall / (self.work / (os.cpu_count() or 1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as given:
        build = builds(copy_of_recipes(Path(given)))
        build()
        seen = [build() for _ in range(rounds)]
    print("    wall     work  steps   ratio")
    for one in seen:
        print(f"{one.wall:6.1f} s {one.work:6.1f} s {one.steps:6} {one.ratio:6.2f}×")
    found = median(one.ratio for one in seen)
    print(f"median {found:.2f}× on {os.cpu_count()} cores, goal ≤ {GOAL:.2f}×")
    return 0 if found <= GOAL else 1


def builds(folder: Path) -> Callable[[], Seen]:
    """What builds every target of this checkout with an empty store."""
    count = itertools.count()
    targets = [word for path in sorted((folder / "recipes" / "targets").glob("*.toml")) for word in ("--target", path.stem)]

    def build() -> Seen:
        cache = empty_cache(folder / f"cache-{next(count)}")
        command = (sys.executable, "-m", "ortolan", "build", *targets, "--json", "--cache", str(cache))
        began = time.perf_counter()
        printed = call(command, folder, PYTHONPATH=str(ROOT / "src"))
        wall = time.perf_counter() - began
        ran = sum(json.loads(line)["kind"] in RAN for line in printed.splitlines())
        return Seen(wall, sum(step_seconds(printed).values()), ran)

    return build


if __name__ == "__main__":
    sys.exit(main())

"""Prints what three targets that share export and calibration cost over one of them, from an empty store."""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from side_by_side import ROOT, Row, call, copy_of_recipes, empty_cache, table, take_turns

GOAL = 1.5
MODEL = "digits"
TARGETS = ("raspberry-pi-5", "arm64-cpu", "jetson-orin")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as given:
        folder = copy_of_recipes(Path(given))
        together = " + ".join(TARGETS)
        runs = {name: builds(folder, index, [name]) for index, name in enumerate(TARGETS)}
        runs |= {together: builds(folder, len(TARGETS), TARGETS)}
        times = take_turns(runs, rounds)
    rows = [*(Row(name) for name in TARGETS), Row(together, TARGETS[0], GOAL)]
    return 0 if table(rows, times) else 1


def builds(folder: Path, number: int, targets: Sequence[str]) -> Callable[[], None]:
    """What builds the demo model for the targets with an empty store."""
    count = itertools.count()
    named = [word for target in targets for word in ("--target", target)]

    def run() -> None:
        cache = empty_cache(folder / f"cache-{number}-{next(count)}")
        command = (sys.executable, "-m", "ortolan", "build", *named, "--model", MODEL, "--cache", str(cache))
        call(command, folder, PYTHONPATH=str(ROOT / "src"))

    return run


if __name__ == "__main__":
    sys.exit(main())

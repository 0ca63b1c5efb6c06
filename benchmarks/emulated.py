"""Prints what checking a demo model on the emulated ARM adds to a build from an empty store, whose runtimes are made."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median

from side_by_side import ROOT, Row, call, copy_of_recipes, empty_cache, table, take_turns

GOAL = 10.0  # seconds
PLAIN, EMULATED = "build --no-emulation", "build"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--target", default="raspberry-pi-5")
    parser.add_argument("--model", default="digits")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = copy_of_recipes(Path(folder))
        command = [sys.executable, "-m", "ortolan", "build", "--target", given.target, "--model", given.model]

        def build(*more: str) -> str:
            with tempfile.TemporaryDirectory() as own:
                cache = empty_cache(Path(own) / "cache")
                return call([*command, "--cache", cache, *more], project, PYTHONPATH=str(ROOT / "src"))

        if "emulated:" not in build():
            raise SystemExit("no ARM is emulated here; the gate on-device says why")
        times = take_turns({PLAIN: lambda: build("--no-emulation"), EMULATED: build}, given.rounds)
    table([Row(PLAIN), Row(EMULATED, PLAIN)], times)
    added = median(times[EMULATED]) - median(times[PLAIN])
    print(f"adds {added:.1f} s, goal ≤ {GOAL:g} s")
    return 0 if added <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())

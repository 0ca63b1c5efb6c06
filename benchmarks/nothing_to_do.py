"""Prints what a build with nothing to do, and listing the verbs, cost over starting Python and importing Invoke."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from side_by_side import ROOT, Row, call, empty_cache, table, take_turns

IMPORT = 'python -c "import invoke"'
BUILD = "./inv build --target x86-cpu"
LIST = "./inv --list"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        checkout, caches = copy_of_checkout(Path(folder)), Path(folder) / "caches"
        empty_cache(caches / "ortolan")
        print("setting up and building in a copy of the checkout: a minute or two", flush=True)
        call(["./inv", "build", "--target", "x86-cpu"], checkout, XDG_CACHE_HOME=str(caches))
        commands = {
            IMPORT: [checkout / ".venv" / "bin" / "python", "-c", "import invoke"],
            BUILD: ["./inv", "build", "--target", "x86-cpu"],
            LIST: ["./inv", "--list"],
        }
        runs = {
            name: lambda command=command: call(command, checkout, XDG_CACHE_HOME=str(caches))
            for name, command in commands.items()
        }
        times = take_turns(runs, rounds)
    return 0 if table([Row(IMPORT), Row(BUILD, IMPORT, 2), Row(LIST, IMPORT, 2)], times) else 1


def copy_of_checkout(folder: Path) -> Path:
    """What git would hold of it, so that .venv and build/ are the copy's own."""
    left = shutil.ignore_patterns(".git", ".venv", "build", "__pycache__", ".*_cache", ".hypothesis")
    return Path(shutil.copytree(ROOT, folder / "checkout", ignore=left))


if __name__ == "__main__":
    sys.exit(main())

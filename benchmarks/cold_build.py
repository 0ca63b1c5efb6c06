"""Prints what a cold build of ResNet-18 for x86-cpu costs over one script that makes the same library calls in one process.

The runtimes are made; the store is empty each time. The script is ``one_process.py``, in an environment with PyTorch and ONNX
Runtime of the versions in ``runtimes/``. Where the time goes follows, step by step.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

from side_by_side import ROOT, Row, call, empty_cache, table, take_turns
from uv import find_uv_bin

GOAL = 1.25
TARGET = "x86-cpu"
OURS, THEIRS = "ortolan build", "one script, one process"
HERE = Path(__file__).parent
Spent = list[dict[str, float]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as given:
        folder = Path(given)
        print("making the script's environment and the network's weights: half a minute", flush=True)
        python, project = make_environment(folder), make_project(folder)
        call([python, "-c", "import resnet18; resnet18.save_weights('resnet18.safetensors')"], project / "recipes" / "models")
        steps, parts = Spent(), Spent()
        runs = {THEIRS: script_runs(python, project, parts), OURS: build_runs(project, steps)}
        times = take_turns(runs, rounds)
    met = table([Row(THEIRS), Row(OURS, THEIRS, GOAL)], times)
    for name, spent in ((THEIRS, parts), (OURS, steps)):
        print(f"\n{name}, seconds of each part, median of {rounds} runs")
        print("\n".join(f"  {part:36} {median(one[part] for one in spent[1:]):6.2f}" for part in spent[-1]))
    return 0 if met else 1


def make_environment(folder: Path) -> Path:
    """PyTorch, onnx and ONNX Runtime together, of the versions of the runtimes ``torch`` and ``tools``."""
    python = folder / "venv" / "bin" / "python"
    wheels = [] if os.environ.get("PIP_FIND_LINKS") or os.environ.get("UV_FIND_LINKS") else ["--torch-backend", "cpu"]
    wanted = [f"--requirement={ROOT}/runtimes/{name}/requirements.in" for name in ("torch", "tools")]
    call([find_uv_bin(), "venv", "--python", "3.11", folder / "venv"], folder)
    call([find_uv_bin(), "pip", "install", "--compile-bytecode", "--python", python, *wheels, *wanted], folder)
    return python


def make_project(folder: Path) -> Path:
    """A project with one model and one target; the runtimes are those of this checkout."""
    recipes = folder / "project" / "recipes"
    shutil.copytree(HERE / "resnet18", recipes / "models", ignore=shutil.ignore_patterns("__pycache__"))
    (recipes / "targets").mkdir()
    shutil.copy(ROOT / "recipes" / "targets" / f"{TARGET}.toml", recipes / "targets")
    return folder / "project"


def script_runs(python: Path, project: Path, parts: Spent) -> Callable[[], None]:
    """What runs the script in a new folder."""

    def run() -> None:
        out = project.parent / f"script-{len(parts)}"
        out.mkdir()
        printed = call([python, HERE / "one_process.py", project / "recipes" / "models", out, "2"], project)
        parts.append(json.loads(printed.splitlines()[-1]))

    return run


def build_runs(project: Path, steps: Spent) -> Callable[[], None]:
    """What builds with an empty store."""

    def run() -> None:
        cache = empty_cache(project.parent / f"cache-{len(steps)}")
        shutil.rmtree(project / "build", ignore_errors=True)
        command = (sys.executable, "-m", "ortolan", "build", "--target", TARGET, "--json", "--cache", str(cache))
        events = map(json.loads, call(command, project, PYTHONPATH=str(ROOT / "src")).splitlines())
        steps.append({event["label"].partition(": ")[2]: event["seconds"] for event in events if event["kind"] == "done"})

    return run


if __name__ == "__main__":
    sys.exit(main())

"""Prints what `tune` gains over ONNX Runtime's defaults on this machine, and whether a second look confirms it.

Each model is built for x86-cpu in a copy of the project and tuned there. Then, in trials of their own that `tune` never saw, what
it wrote and the defaults take turns, in a process each; printed is the median of the paired ratios with its interval. The
goal: what was written is nowhere slower than the defaults, so that no interval lies below 1.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from side_by_side import ROOT

from ortolan import runtime
from ortolan.cache import user_cache
from ortolan.devices.tune_batch import Batch
from ortolan.devices.tune_errand import Device, here, selftest_program, subject
from ortolan.devices.tune_settings import Candidate, Change
from ortolan.devices.tune_statistics import DEFAULT, Ratio, Trial, judged, ratios

MODELS = ["digits", "digits-mlp", *(f"../shared/data/onnx/{name}.onnx" for name in ("ultraface_rfb320", "gtcrn_simple"))]
TARGET, TAKEN, CONFIDENCE = "x86-cpu", "taken", 0.95


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=MODELS, help="names, or paths below the repository")
    parser.add_argument("--seconds", type=int, default=60, help="for each model")
    parser.add_argument("--turns", type=int, default=15, help="of the second look")
    given = parser.parse_args()
    slower = 0
    with tempfile.TemporaryDirectory() as name:
        shutil.copytree(ROOT / "recipes", Path(name, "recipes"), ignore=shutil.ignore_patterns("__pycache__"))
        for model in given.models:
            path = ROOT / model
            slower += tuned(Path(name), str(path.resolve()) if path.exists() else model, given.seconds, given.turns)
    return int(bool(slower))


def tuned(project: Path, model: str, seconds: int, turns: int) -> bool:
    """Tune one model; whether what was written is slower than the defaults in a second look."""
    call(project, "build", "--target", TARGET, "--model", model)
    (found,) = json.loads(call(project, "tune", "--target", TARGET, "--model", model, "--seconds", str(seconds), "--json"))
    gain, chosen = found["gain"], found["chosen"]
    head = f"{found['model']:<18} {gain['median']:.2f}× ({gain['low']:.2f}–{gain['high']:.2f}) in {found['spent']:.0f} s"
    print(f"{head}: {chosen['name']}{', ' + found['why'] if found['why'] else ''}", flush=True)
    again = second_look(project / "build" / TARGET / found["tag"], found, turns)
    print(f"{'':<18} again {1 / again.median:.2f}× ({1 / (again.high or 0):.2f}–{1 / (again.low or 0):.2f})", flush=True)
    return again.low is not None and again.low > 1


def second_look(folder: Path, found: dict[str, Any], turns: int) -> Ratio:
    """What was taken, over the defaults, in new trials. Where the defaults stay, that is the noise."""
    build, chosen = subject(folder), found["chosen"]
    python = runtime.ensure(runtime.find("onnxruntime-1.31.1", [ROOT / "runtimes"]), user_cache().runtimes).interpreter
    change = Change(
        TAKEN, frozenset(), chosen["session_options"], chosen["config_entries"], tuple(chosen["providers"]), chosen["file"]
    )
    order = tuple(((DEFAULT, TAKEN) if turn % 2 else (TAKEN, DEFAULT),) for turn in range(turns))
    batch = Batch("again", order, (), 0.5, 60.0, 600.0)
    device = Device(here(python), "this machine", selftest_program())
    ran = device.measure(build, batch, {DEFAULT: Candidate(), TAKEN: Candidate((change,))})
    pairs = zip(batch.places, ran.trials, strict=True)
    again = judged(ratios([Trial("again", turn, 0, name, one["p50_ms"]) for (turn, _, name), one in pairs], TAKEN), CONFIDENCE)
    if again is None:
        raise SystemExit("the second look gave nothing")
    return again


def call(project: Path, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "ortolan", *words]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())

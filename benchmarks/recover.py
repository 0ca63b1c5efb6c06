"""Prints how often ``policy = "recover"`` measures the metric on networks of 60 layers, sabotaged in one or several of them.

An evaluation is one pass of the evaluation data, the first with every layer quantised included. For each network: the
evaluations, the layers that the search left in float, and how long search and ranking took.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from side_by_side import ROOT, copy_of_recipes

sys.path.insert(0, str(ROOT / "tests"))

from ortolan.build import build
from ortolan.cache import Cache, user_cache
from ortolan.events import Event
from ortolan.recipe.project import Project
from ortolan.recover import EVALUATIONS
from ortolan.verbs import pick
from scheme_models import trained

CASES: dict[str, tuple[Sequence[int], float]] = {
    "one of 60 layers": ([37], 0.25),
    "the first": ([1], 0.25),
    "the last": ([59], 0.25),
    "three": ([11, 29, 48], 0.25),
    "one, and no drop allowed": ([37], 0.0),
}
TARGET = """
description = "A board"
platform = "linux/amd64"
runtime = { versions = ["1.31.1"], opset = 17 }
shapes = { batch = 1 }
quantize = { policy = "recover", activations = "uint8" }
gates = { min_speedup = 0.001, min_agreement = 0.5 }
"""
MODEL = """
source = { kind = "onnx", file = "deep.onnx" }
input = [{ name = "image", shape = ["batch", 1, 8, 8], range = [0, 1] }]
data = { calibration = { npz = "deep.npz", limit = 16 }, evaluation = { npz = "deep.npz", labels = "label" } }
accuracy = { max_drop = %s }
"""


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    good = True
    print(f"{'sabotaged':26}{'drop ≤':>8}{'evaluations':>13}{'seconds':>9}  in float")
    for name, (layers, drop) in CASES.items():
        asked, seconds, left = measure(layers, drop)
        named = {f"conv{layer}" for layer in layers}
        found = named <= set(left) if left else drop == 0
        good = good and asked <= EVALUATIONS and found
        shown = ", ".join(left[:6]) + (f" and {len(left) - 6} more" if len(left) > 6 else "") or "no set that is enough"
        print(f"{name:26}{drop:>8g}{asked:>13}{seconds:>9.1f}  {shown}")
    print(f"goal: at most {EVALUATIONS} evaluations, and every sabotaged layer found: {'met' if good else 'missed'}")
    return 0 if good else 1


def measure(sabotaged: Sequence[int], drop: float) -> tuple[int, float, list[str]]:
    """Evaluations, seconds of the search, and the layers left in float, of one network built from an empty store."""
    with tempfile.TemporaryDirectory() as folder:
        root = copy_of_recipes(Path(folder))
        models = root / "recipes" / "models"
        (root / "recipes" / "targets" / "board.toml").write_text(TARGET)
        (models / "deep.toml").write_text(MODEL % drop)
        np.savez(models / "deep.npz", **trained(models / "deep.onnx", sabotaged=sabotaged))  # type: ignore[arg-type]
        times: dict[str, list[float]] = {}

        def note(event: Event) -> None:
            if event.kind in {"start", "done"} and ("in float" in event.label or "sensitivity" in event.label):
                times.setdefault(event.kind, []).append(time.perf_counter())

        jobs = pick.jobs(Project(root), ["board"], ["deep"])
        cache = Cache(Path(folder) / "cache", user_cache().runtimes)
        (built,) = build(jobs, pick.options(root, cache, emulation=False), note)
    gate = next(gate for gate in built.gates if gate.name == "recovered")
    left = gate.measured.partition(": ")[2].partition(" and ")[0].split(", ") if ": " in gate.measured else []
    return int(gate.why.partition(" ")[0]), times["done"][-1] - times["start"][0], left


if __name__ == "__main__":
    sys.exit(main())

"""Prints what another list of operators costs over a build of the reduced runtime from an empty cache, in processor time."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from side_by_side import ROOT, call, copy_of_recipes

GOAL, SIZE = 0.25, 1_500_000
DEMO = """\
ai.onnx;12;MaxPool{"inputs": {"0": ["float"]}}
ai.onnx;13;DequantizeLinear{"inputs": {"0": ["int8_t"]}},Flatten,Gemm{"inputs": {"0": ["float"]}}
ai.onnx;13;QuantizeLinear{"outputs": {"0": ["int8_t"]}},ReduceMean{"inputs": {"0": ["float"]}}
ai.onnx;13;Softmax{"inputs": {"0": ["float"]}},Transpose{"inputs": {"0": ["int8_t"]}}
ai.onnx;14;Reshape
com.microsoft;1;FusedConv,FusedGemm,QGemm,QLinearConv{"inputs": {"0": ["int8_t"]}},QLinearSoftmax
"""
"""What digits, digits-mlp (FP32 and INT8) and MNIST's network need."""
MORE = DEMO + 'ai.onnx;14;Add{"inputs": {"0": ["float"]}},Relu{"inputs": {"0": ["float"]}}\n'


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", default="x86-cpu")
    parser.add_argument("--cache", help="go on with what lies there: only the second of both figures is true then")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project, cache = copy_of_recipes(Path(folder)), given.cache or str(Path(folder, "cache"))
        recipe = project / "recipes" / "targets" / f"{given.target}.toml"
        recipe.write_text(_dynamic(recipe.read_text()))

        def build(config: str) -> dict[str, Any]:
            path = Path(folder, "wanted.config")
            path.write_text(config)
            command = [sys.executable, "-m", "ortolan", "runtime-build", "--target", given.target, "--json"]
            told: dict[str, Any] = json.loads(
                call([*command, "--config", str(path), "--cache", cache], project, PYTHONPATH=str(ROOT / "src"))
            )
            return told

        first, second = build(DEMO), build(MORE)
    sizes = [one["runtime"]["library"]["size"] for one in (first, second)]
    full, changed = first["seconds"] or 0.0, second["seconds"] or 0.0
    print(f"{given.target}: load {os.getloadavg()[0]:.1f}")
    took = f"{full:7.0f} s of processor time" if full else "recalled"
    print(f"  all from nothing      {took}, {sizes[0]:,} B (goal ≤ {SIZE:,})")
    print(f"  with two operators more {changed:5.0f} s of processor time, {sizes[1]:,} B")
    if not full:
        return 0
    print(f"  ratio {changed / full:.2f}, goal ≤ {GOAL}")
    return 0 if changed / full <= GOAL and sizes[0] <= SIZE else 1


def _dynamic(recipe: str) -> str:
    """The recipe with a reduced runtime whose C++ runtime is the device's."""
    kept = [line for line in recipe.splitlines() if not line.startswith("reduced_runtime")]
    at = kept.index("[outputs]") + 1
    return "\n".join([*kept[:at], "reduced_runtime = { static_cxx = false }", *kept[at:], ""])


if __name__ == "__main__":
    sys.exit(main())

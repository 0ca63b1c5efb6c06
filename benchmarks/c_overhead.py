"""Prints what the generated C call takes over a bare Run of the same session with tensors that are there; 1 beyond the goal.

The model is a demo model or any ``.onnx`` file, built by the program itself for one thread. Both run in ``bench_model``, a
program of the rendered snippet: many short rounds by turns, of which it prints the median ratio. The median of several such
programs counts.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from side_by_side import ROOT, call, copy_of_recipes

GOAL = 1.02
SAID = re.compile(r"call ([\d.]+) us, bare Run ([\d.]+) us, ratio ([\d.]+)")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="digits-mlp", help="a model of recipes/models, or a path")
    parser.add_argument("--target", default="x86-cpu")
    parser.add_argument("--library", type=Path, required=True, help="libonnxruntime.so")
    parser.add_argument("--include", type=Path, required=True, help="folder of onnxruntime_c_api.h")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        snippet = built(Path(folder), given.target, given.model)
        program = compiled(snippet, given.include.resolve())
        seen = [measured(program, snippet, given.library.resolve()) for _ in range(given.rounds)]
    for ours, bare, ratio in seen:
        print(f"call {ours:9.3f} µs, bare Run {bare:9.3f} µs, {ratio:.4f}×")
    found = median(ratio for _, _, ratio in seen)
    print(f"median {found:.4f}×, goal ≤ {GOAL:.2f}×")
    return 0 if found <= GOAL else 1


def built(folder: Path, target: str, model: str) -> Path:
    """The rendered snippet of a real build."""
    project = copy_of_recipes(folder)
    recipe = project / "recipes" / "targets" / f"{target}.toml"
    text = re.sub(r"(?m)^snippets = .*$", 'snippets = ["c"]', recipe.read_text())
    recipe.write_text(re.sub(r"(?m)^intra_op_num_threads = \d+", "intra_op_num_threads = 1", text))
    wanted = str(Path(model).resolve()) if model.endswith(".onnx") else model
    call((sys.executable, "-m", "ortolan", "build", "--target", target, "--model", wanted), project, PYTHONPATH=str(ROOT / "src"))
    return next(project.glob(f"build/{target}/*/c"))


def compiled(snippet: Path, include: Path) -> Path:
    """The snippet's benchmark, built as its README says."""
    for words in (["-S", snippet, "-B", snippet / "build", f"-DONNXRUNTIME_INCLUDE={include}"], ["--build", snippet / "build"]):
        subprocess.run([str(word) for word in ["cmake", *words]], check=True, capture_output=True)
    return snippet / "build" / "bench_model"


def measured(program: Path, snippet: Path, library: Path) -> tuple[float, float, float]:
    """Microseconds of a call and of a bare Run, and the median ratio."""
    said = subprocess.run([program, "--library", library], cwd=snippet, capture_output=True, text=True, check=True).stdout
    (found,) = SAID.findall(said)
    return float(found[0]), float(found[1]), float(found[2])


if __name__ == "__main__":
    sys.exit(main())

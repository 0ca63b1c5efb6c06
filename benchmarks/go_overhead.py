"""Prints what the generated Go ``Run`` takes over a bare session whose tensors are bound to it, and exits with 1 beyond the goal.

ONNXRUNTIME_GO names a checkout of onnxruntime_go, with its git tags or at the tag that the build wants. The model is a demo
model or any ``.onnx`` file, built by the program itself for one thread. Both benchmarks are the rendered package's own; they run
by turns, shortly and often, and the least of each counts: what other programs do to a machine only ever adds.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path
from statistics import median

from side_by_side import ROOT, call, copy_of_recipes

GOAL = 1.05
MODULE = "github.com/yalue/onnxruntime_go"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="digits", help="a model of recipes/models, or a path")
    parser.add_argument("--target", default="x86-cpu", help="one whose oldest runtime is pinned with its library")
    parser.add_argument("--library", required=True, help="libonnxruntime.so")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=0.1, help="of each benchmark in each round")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        go = built(Path(folder), given.target, given.model)
        program = compiled(go)
        seen: dict[str, list[float]] = {name: [] for name in ("Bare", "Run")}
        for _ in range(given.rounds):
            for name, found in seen.items():
                found.append(nanoseconds(program, name, given.library, given.seconds))
    return report(seen)


def report(seen: dict[str, list[float]]) -> int:
    """The least and the median of each, and the ratio of the least."""
    for name, found in seen.items():
        print(f"{name:4} least {min(found) / 1000:8.2f} µs, median {median(found) / 1000:8.2f} µs")
    ratio = min(seen["Run"]) / min(seen["Bare"])
    print(f"{ratio:.3f}×, goal ≤ {GOAL:.2f}×")
    return 0 if ratio <= GOAL else 1


def built(folder: Path, target: str, model: str) -> Path:
    """The rendered package of a real build."""
    project = copy_of_recipes(folder)
    recipe = project / "recipes" / "targets" / f"{target}.toml"
    text = re.sub(r"(?m)^snippets = .*$", 'snippets = ["go"]', recipe.read_text())
    recipe.write_text(re.sub(r"(?m)^intra_op_num_threads = .*$", "intra_op_num_threads = 1", text))
    wanted = str(Path(model).resolve()) if model.endswith(".onnx") else model
    command = (sys.executable, "-m", "ortolan", "build", "--target", target, "--model", wanted)
    call(command, project, PYTHONPATH=str(ROOT / "src"))
    return next(project.glob(f"build/{target}/*/go"))


def compiled(go: Path) -> Path:
    """The package's tests as a program, beside the model."""
    (tag,) = re.findall(rf"{MODULE} (\S+)", (go / "go.mod").read_text())
    subprocess.run(["go", "mod", "edit", f"-replace={MODULE}={source(tag, go.parent / 'binding')}"], cwd=go, check=True)
    subprocess.run(["go", "test", "-c", "-o", "bench", "."], cwd=go, check=True)
    return go / "bench"


def source(tag: str, folder: Path) -> Path:
    """The checkout at a tag, or as it is where it has no tags."""
    checkout = os.environ["ONNXRUNTIME_GO"]
    listed = subprocess.run(["git", "-C", checkout, "ls-tree", "--name-only", tag], capture_output=True, text=True, check=False)
    names = [name for name in listed.stdout.split() if re.search(r"\.(go|c|h)$|^go\.mod$", name)]
    if not names:
        return Path(checkout)
    data = subprocess.run(["git", "-C", checkout, "archive", tag, *names], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=BytesIO(data)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def nanoseconds(program: Path, name: str, library: str, seconds: float) -> float:
    """One benchmark in a process of its own."""
    words = [str(program), "-test.run=^$", f"-test.bench=^Benchmark{name}$", f"-test.benchtime={seconds}s"]
    given = os.environ | {"ONNXRUNTIME_LIBRARY": library}
    said = subprocess.run(words, cwd=program.parent, env=given, capture_output=True, text=True, check=True).stdout
    (found,) = re.findall(r"([\d.]+) ns/op", said)
    return float(found)


if __name__ == "__main__":
    if not shutil.which("go") or "ONNXRUNTIME_GO" not in os.environ:
        sys.exit("needs Go, and ONNXRUNTIME_GO with a checkout of onnxruntime_go")
    sys.exit(main())

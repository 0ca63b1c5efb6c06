"""Prints the peak memory of calibration with 500 images over that with 50, for every method: flat memory is a ratio of 1."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from ortolan import runtime
from ortolan.cache import user_cache
from ortolan.place import environment
from ortolan.sandbox import copy_from, prepare

ROOT = Path(__file__).parents[1]
GOAL = 1.2
METHODS = ("minmax", "entropy", "percentile")
SHAPE = (3, 320, 320)
FEW, MANY = 50, 500

DATA = f"""
import numpy

def images():
    random = numpy.random.default_rng(0)
    while True:
        yield {{"image": random.standard_normal({SHAPE}, dtype=numpy.float32)}}
"""
MODEL = """
import sys
import numpy
from onnx import TensorProto, helper, numpy_helper, save

random, nodes, weights, name = numpy.random.default_rng(0), [], [], "image"
for index, (inputs, outputs) in enumerate([(3, 8), (8, 16), (16, 16)]):
    weights.append(numpy_helper.from_array(random.standard_normal((outputs, inputs, 3, 3), dtype=numpy.float32) / 9, f"w{index}"))
    nodes.append(helper.make_node("Conv", [name, f"w{index}"], [f"c{index}"], strides=[2, 2], pads=[1, 1, 1, 1]))
    nodes.append(helper.make_node("Relu", [f"c{index}"], [f"r{index}"]))
    name = f"r{index}"
nodes.append(helper.make_node("GlobalAveragePool", [name], ["pooled"]))
ends = [helper.make_tensor_value_info(end, TensorProto.FLOAT, shape) for end, shape in (
    ("image", [1, 3, 320, 320]), ("pooled", [1, 16, 1, 1]))]
graph = helper.make_graph(nodes, "convolutions", ends[:1], ends[1:], weights)
save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), sys.argv[1])
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", type=Path, help="interpreter of the runtime `tools`, made if missing")
    python = parser.parse_args().python or tools()
    with tempfile.TemporaryDirectory() as folder:
        inputs = make_inputs(Path(folder), python)
        ratios = [report(Path(folder), python, inputs, method) for method in METHODS]
    return 0 if max(ratios) <= GOAL else 1


def tools() -> Path:
    """The interpreter of the pinned runtime."""
    return runtime.ensure(runtime.find("tools", [ROOT / "runtimes"]), user_cache().runtimes, print).interpreter


def make_inputs(folder: Path, python: Path) -> dict[str, Path]:
    """The model, three convolutions with 2.7 MB of activations per image, and the data set, a generator."""
    (folder / "data").mkdir()
    (folder / "data" / "images.py").write_text(DATA)
    subprocess.run([python, "-s", "-c", MODEL, str(folder / "model.onnx")], check=True)
    return {"model": folder / "model.onnx", "data": folder / "data"}


def report(folder: Path, python: Path, inputs: dict[str, Path], method: str) -> float:
    few, many = (peak(folder / f"{method}-{count}", python, inputs, params(method, count)) for count in (FEW, MANY))
    print(
        f"{method:10}  {few / 2**20:6.0f} MiB with {FEW}  {many / 2**20:6.0f} MiB with {MANY}  ratio {many / few:.2f}", flush=True
    )
    return many / few


def params(method: str, count: int) -> dict[str, Any]:
    image = {"name": "image", "dtype": "float32", "shape": [1, *SHAPE], "range": None}
    data = {"kind": "callable", "callable": "images.py:images", "files": [], "limit": count}
    return {"data": data, "inputs": [image], "method": method, "percentile": 99.99}


def peak(folder: Path, python: Path, inputs: dict[str, Path], chosen: dict[str, Any]) -> int:
    """Peak resident memory of the stage's process, in bytes."""
    paths = {name: f"in/{path.name}" for name, path in inputs.items()}
    folder.mkdir()
    prepare(folder, "calibrate", paths, {paths[name]: copy_from(path) for name, path in inputs.items()}, chosen)
    with (folder / "log.txt").open("wb") as log:
        command = [str(python), "-s", "-m", "stages.lib.worker"]
        process = subprocess.Popen(command, cwd=folder, env=environment(folder), stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or not (folder / "out" / "ranges.json").exists():
        raise SystemExit(f"calibration failed:\n{(folder / 'log.txt').read_text()}\n{(folder / 'result.json').read_text()}")
    return usage.ru_maxrss * 1024


if __name__ == "__main__":
    sys.exit(main())

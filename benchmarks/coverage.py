"""Prints what a model of 1,000 nodes costs `coverage` against all targets, beyond what a model of one node costs.

Both run the same steps from an empty store: each starts its interpreter, imports its runtime and, for the web, starts Node and
Chromium. That is what loading the runtimes means here. What the larger model takes longer is the cost of asking about it.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

from side_by_side import ROOT, Row, call, copy_of_recipes, empty_cache, step_seconds, table, take_turns

from ortolan import runtime
from ortolan.cache import user_cache

GOAL = 3.0  # seconds
NODES = 1000
GATE_FAILED = 3  # the exit code: a limit of a target's may speak against either model, which was asked about all the same
MODEL = """
import sys
import numpy
from onnx import TensorProto, helper, numpy_helper, save

most, random = int(sys.argv[2]), numpy.random.default_rng(0)
nodes, values, end = [], [], "image"

def value(array):
    values.append(numpy_helper.from_array(array, f"w{len(values)}"))
    return values[-1].name

def weight(*shape):
    return value(random.standard_normal(shape, dtype=numpy.float32) / 8)

def node(op, *inputs, **attributes):
    nodes.append(helper.make_node(op, inputs, [f"t{len(nodes)}"], **attributes))
    return nodes[-1].output[0]

def scaled(tensor):
    return node("DequantizeLinear", node("QuantizeLinear", tensor, scale, zero), scale, zero)

scale, zero = value(numpy.float32(0.05)), value(numpy.int8(0))
rows, image = value(numpy.array([0, 8, 64])), value(numpy.array([0, 8, 8, 8]))

def block(start):  # twenty nodes
    end = start
    for _ in range(2):
        end = node("Add", node("Relu", node("Conv", end, weight(8, 8, 3, 3), pads=[1] * 4)), end)
    filters = value(random.integers(-127, 128, (8, 8, 3, 3), dtype=numpy.int8))
    quantised = node("Conv", scaled(end), node("DequantizeLinear", filters, scale, zero), pads=[1] * 4)
    end = node("Add", node("Relu", quantised), end)
    table = node("Softmax", node("MatMul", node("Reshape", end, rows), weight(64, 64)), axis=-1)
    return node("Relu", scaled(node("Add", node("Reshape", table, image), start)))

if most == 1:
    end = node("Conv", end, weight(8, 8, 3, 3), pads=[1] * 4)
while len(nodes) < most:
    end = block(end)
assert len(nodes) == most
ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 8, 8, 8]) for name in ("image", end)]
graph = helper.make_graph(nodes, "blocks", ends[:1], ends[1:], values)
save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), sys.argv[1])
"""
Spent = list[dict[str, float]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as given:
        folder = copy_of_recipes(Path(given))
        small, large = (make_model(folder, count) for count in (1, NODES))
        parts: dict[str, Spent] = {small.stem: [], large.stem: []}
        times = take_turns({one.stem: surveys(folder, one, parts[one.stem]) for one in (small, large)}, rounds)
    table([Row(small.stem), Row(large.stem, small.stem)], times)
    report(parts[small.stem], parts[large.stem])
    cost, best = (least(times[large.stem]) - least(times[small.stem]) for least in (median, min))
    print(
        f"\n{NODES:,} nodes cost {cost:.2f} s more on {os.cpu_count()} cores ({best:.2f} s in the best rounds), goal ≤ {GOAL:g} s"
    )
    return 0 if cost <= GOAL else 1


def make_model(folder: Path, nodes: int) -> Path:
    """Convolutions, matrix products and what goes with them, a fifth of it Q/DQ; fixed shapes but for the batch."""
    made = runtime.ensure(runtime.find("tools", [ROOT / "runtimes"]), user_cache().runtimes, print)
    path = folder / f"nodes-{nodes}.onnx"
    call([made.interpreter, "-s", "-c", MODEL, path, str(nodes)], folder)
    return path


def surveys(folder: Path, model: Path, spent: Spent) -> Callable[[], None]:
    """What asks all targets about the model with an empty store."""
    count = itertools.count()

    def run() -> None:
        cache = empty_cache(folder / f"cache-{model.stem}-{next(count)}")
        command = (sys.executable, "-m", "ortolan", "coverage", model, "--json", "--cache", cache)
        printed = call(command, folder, good=(0, GATE_FAILED), PYTHONPATH=str(ROOT / "src"))
        spent.append({label.partition(": ")[2]: seconds for label, seconds in step_seconds(printed).items()})

    return run


def report(small: Spent, large: Spent) -> None:
    """Where the time goes, step by step."""
    print("\nseconds of the steps, median of the rounds: one node, all nodes")
    for step in sorted(large[-1], key=lambda name: -median(one[name] for one in large[1:])):
        print(f"  {step:58} {median(one.get(step, 0.0) for one in small[1:]):6.2f} {median(one[step] for one in large[1:]):6.2f}")


if __name__ == "__main__":
    sys.exit(main())

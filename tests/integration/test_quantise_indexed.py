"""The quantizer that looks tensors up by name makes the bytes that ONNX Runtime's own makes, and takes graphs of many nodes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import models
from conftest import ROOT, RunStage
from ortolan import runtime
from ortolan.cache import user_cache
from ortolan.stages.lib import ranges
from quantise_models import QUANTIZE

BOTH = """
import json, sys
from pathlib import Path
from stages.lib import canon, quant_indexed, quant_static, ranges

given = json.loads(sys.argv[1])
measured = ranges.read(Path(given["ranges"]))
made = []
for how in (quant_indexed.quantise, lambda quantizer: quantizer.quantize_model()):
    quant_indexed.quantise = how
    prepared = quant_static.prepare(canon.load(Path(given["model"])), measured, given["params"])
    lowered = prepared.lower(prepared.model, prepared.left)
    made.append(lowered.SerializeToString(deterministic=True))
kinds = {node.op_type for node in lowered.graph.node}
sys.exit(0 if made[0] == made[1] and "QuantizeLinear" in kinds else 1)
"""


def tangle(seed: int, count: int = 40) -> ModelProto:
    """Nodes that read any earlier tensor, shared weights, tensors that are outputs and read inside as well."""
    draw = np.random.Generator(np.random.PCG64(seed))
    nodes, weights, known = [], dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]](), ["x"]
    for index in range(count):
        kind = str(draw.choice(["MatMul", "Gemm", "Add", "Mul", "Relu", "Sigmoid", "Softmax", "Concat", "Clip", "Transpose"]))
        one, other = (str(draw.choice(known)) for _ in range(2))
        reads = [one]
        if kind in {"MatMul", "Gemm"}:
            reads = [one, f"w{draw.integers(5)}"] + (["b"] if kind == "Gemm" else [])
            weights[reads[1]] = draw.standard_normal((4, 4), dtype=np.float32)
            weights["b"] = np.ones(4, np.float32)
        elif kind in {"Add", "Mul", "Concat"}:
            reads = [one, other]
        name = f"t{index}"
        if kind == "Concat":
            nodes.append(helper.make_node("Concat", reads, [f"{name}_wide"], f"n{index}", axis=1))
            weights[f"cut{index}"] = draw.standard_normal((8, 4), dtype=np.float32)
            nodes.append(helper.make_node("MatMul", [f"{name}_wide", f"cut{index}"], [name], f"n{index}_cut"))
        else:
            nodes.append(helper.make_node(kind, reads, [name], f"n{index}"))
        known.append(name)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 4]) for name in ("x", known[-1], known[len(known) // 2])]
    given = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "tangle", ends[:1], ends[1:], given)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def ranged(model: ModelProto, path: Path) -> Path:
    """Ranges for everything that a node reads or makes."""
    names = {name for node in model.graph.node for name in (*node.input, *node.output)}
    ranges.write(path, "minmax", {name: (-1.0 - index % 7, 1.0 + index % 5) for index, name in enumerate(sorted(names))})
    return path


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "more", [{}, {"per_channel": False}, {"preset": "qnn", "activations": "uint16"}], ids=["plain", "per tensor", "qnn"]
)
def test_it_makes_the_same_bytes(tmp_path: Path, seed: int, more: dict[str, object]) -> None:
    path = models.write(tangle(seed), tmp_path / "m.onnx")
    given = {"model": str(path), "ranges": str(ranged(tangle(seed), tmp_path / "ranges.json")), "params": QUANTIZE | more}
    made = runtime.ensure(runtime.find("tools", [ROOT / "runtimes"]), user_cache().runtimes)
    words = [str(made.interpreter), "-c", BOTH, json.dumps(given)]
    done = subprocess.run(words, cwd=ROOT / "src" / "ortolan", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_ten_thousand_nodes_are_quantised(run_stage: RunStage, tmp_path: Path) -> None:
    nodes, weights, now = [], [], "x"
    for index in range(5000):
        weights.append(numpy_helper.from_array(np.eye(4, dtype=np.float32) * (1 + index % 3 / 10), f"w{index}"))
        nodes.append(helper.make_node("MatMul", [now, f"w{index}"], [f"m{index}"], f"mul{index}"))
        nodes.append(helper.make_node("LeakyRelu", [f"m{index}"], [f"r{index}"], f"relu{index}", alpha=0.5))
        now = f"r{index}"
    ends = [helper.make_tensor_value_info(end, TensorProto.FLOAT, [1, 4]) for end in ("x", now)]
    graph = helper.make_graph(nodes, "long", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path, measured = models.write(model, tmp_path / "m.onnx"), ranged(model, tmp_path / "ranges.json")
    done = run_stage("quantise", "tools", {"model": path, "ranges": measured}, QUANTIZE, limit=200)
    assert done.facts, done.error
    assert done.facts["nodes"]["MatMul"] == {"quantised": 5000, "before": 5000}

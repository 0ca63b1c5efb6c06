"""How a model that comes quantised is quantised, and what its gates make of that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from ortolan import gates, plan
from ortolan.artifact import Outcome
from ortolan.execute import Result, Results
from ortolan.gates.quantised import as_given
from ortolan.plan import Candidates
from ortolan.platforms import host_platform
from ortolan.recipe.project import Project
from ortolan.sources import Job, job
from ortolan.stages.lib import qdq_scheme
from ortolan.store import Action

PROJECT = Project(Path(__file__).parents[2])
UINT8 = {"nodes": 6, "operators": {}, "biases": 0, "activations": {"uint8": 2}, "weights": {"int8": 1}, "asymmetric": 1,
         "such_as": ["x"]}  # fmt: skip
SIGNED = UINT8 | {"activations": {"int8": 2}, "asymmetric": 0, "such_as": []}


def model(zero: int = 0, kind: type = np.uint8, *, bias: bool = False, clip: bool = False, repeat: int = 1) -> Any:
    """``repeat`` times: Q/DQ, and a MatMul with quantised weights."""
    nodes, weights = [], np.ones((4, 4), np.int8)
    constants = {
        "s": np.float32(0.1),
        "z": kind(zero),
        "zw": np.int8(0),
        "w": weights,
        "zb": np.int32(0),
        "b": np.ones(4, np.int32),
    }
    last = "x"
    for index in range(repeat):
        q, dq, dw, y = (f"{name}{index}" for name in ("q", "dq", "dw", "y"))
        nodes += [helper.make_node("QuantizeLinear", [last, "s", "z"], [q])]
        nodes += [helper.make_node("DequantizeLinear", [q, "s", "z"], [dq])]
        source = "w"
        if clip:
            constants |= {"wf": np.ones((4, 4), np.float32)}
            nodes += [helper.make_node("QuantizeLinear", ["wf", "s", "zw"], [f"qw{index}"])]
            nodes += [helper.make_node("Clip", [f"qw{index}"], [f"cw{index}"])]
            source = f"cw{index}"
        nodes += [helper.make_node("DequantizeLinear", [source, "s", "zw"], [dw]), helper.make_node("MatMul", [dq, dw], [y])]
        last = y
    if bias:
        nodes += [helper.make_node("DequantizeLinear", ["b", "s", "zb"], ["db"]), helper.make_node("Add", [last, "db"], ["end"])]
        last = "end"
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("x", last)]
    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    return helper.make_model(helper.make_graph(nodes, "g", info[:1], info[1:], held))


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (model(3), {"nodes": 3, "activations": {"uint8": 1}, "weights": {"int8": 1}, "asymmetric": 1, "such_as": ["x"]}),
        (model(0, np.int8), {"activations": {"int8": 1}, "asymmetric": 0}),
        (model(bias=True), {"nodes": 4, "biases": 1, "weights": {"int8": 1}}),
        (model(clip=True), {"nodes": 4, "activations": {"uint8": 1}, "weights": {"int8": 1}}),
        (model(repeat=2500), {"nodes": 7500, "activations": {"uint8": 2500}}),
    ],
    ids=["uint8", "int8", "bias", "clip", "ten thousand nodes"],
)
def test_types_and_zero_points_are_counted(made: Any, expected: dict[str, Any]) -> None:
    found = qdq_scheme.describe(made)
    assert {name: found[name] for name in expected} == expected


def test_an_input_that_comes_in_8_bits_is_no_quantised_model() -> None:
    nodes = [helper.make_node("DequantizeLinear", ["x", "s", "z"], ["f"]), helper.make_node("Relu", ["f"], ["y"])]
    ends = helper.make_tensor_value_info("x", TensorProto.UINT8, [4]), helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])
    held = [numpy_helper.from_array(np.asarray(one), name) for name, one in (("s", np.float32(1)), ("z", np.uint8(0)))]
    assert qdq_scheme.describe(helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], held))) == {}


def test_operators_on_integers_are_quantised_as_well() -> None:
    node = helper.make_node("MatMulInteger", ["x", "w"], ["y"])
    ends = [helper.make_tensor_value_info(name, TensorProto.UINT8, [4, 4]) for name in ("x", "w", "y")]
    assert qdq_scheme.describe(helper.make_model(helper.make_graph([node], "g", ends[:2], ends[2:])))["operators"] == {
        "MatMulInteger": 1
    }


def case(target: str, quantised: dict[str, Any]) -> tuple[Job, Candidates, Results]:
    one = job(PROJECT.model("digits-mlp"), PROJECT.target(target))
    found = plan.as_given(plan.candidates(one, host=host_platform()))
    facts = {"quantised": quantised, "found": 17, "ir": 8, "operators": {}}
    return one, found, {found.normalise.id: Result(found.normalise, Action("key:0", {}, facts=facts, refused=None))}


@pytest.mark.parametrize(
    ("target", "facts", "outcome", "words"),
    [
        ("x86-cpu", UINT8, Outcome.PASS, ""),
        ("x86-cpu", SIGNED, Outcome.PASS, "x86-cpu would quantise otherwise, for speed: int8 activations: quantise with uint8"),
        ("raspberry-pi-5", UINT8, Outcome.PASS, "XNNPACK leaves to the next provider uint8 activations: quantise with int8"),
        ("raspberry-pi-5", SIGNED, Outcome.PASS, ""),
        ("jetson-orin", SIGNED, Outcome.PASS, ""),
        ("jetson-orin", UINT8, Outcome.FAIL, "TensorRT cannot run uint8 activations: quantise with int8"),
        (
            "jetson-orin",
            SIGNED | {"asymmetric": 1, "such_as": ["x"]},
            Outcome.FAIL,
            "1 asymmetric activations (x): quantise with a sym",
        ),
        ("jetson-orin", SIGNED | {"biases": 2}, Outcome.FAIL, "2 quantised biases: leave the bias in float"),
        ("android-qnn", SIGNED, Outcome.FAIL, "int8 activations: quantise with uint8 or uint16"),
    ],
)
def test_a_scheme_is_held_against_what_the_target_takes(target: str, facts: dict[str, Any], outcome: Outcome, words: str) -> None:
    kept, scheme = as_given(*case(target, facts))
    assert (kept.outcome, kept.measured) == (Outcome.PASS, "already quantised: 6 Q/DQ nodes, kept")
    assert scheme.outcome is outcome, scheme
    assert words in scheme.why
    assert bool(words) is bool(scheme.why)


def test_what_comes_quantised_ships_as_int8_under_every_policy() -> None:
    one, found, results = case("x86-cpu", UINT8)
    judged = as_given(one, found, results)
    for policy in ("never", "prefer", "require"):
        quantize = one.target.recipe.quantize.model_copy(update={"policy": policy})
        recipe = one.target.recipe.model_copy(update={"quantize": quantize})
        chosen = gates.choose(replace(one, target=replace(one.target, recipe=recipe)), judged)
        assert chosen == ("int8", "already quantised: 6 Q/DQ nodes, kept")
    assert found.quantise is None
    assert found.calibrate is None

"""Who gets which node: from evidence to shares, partitions and what falls back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from conftest import RunStage
from ortolan.stages.lib import evidence, partitions
from ortolan.stages.lib.evidence import Evidence, Verdict

FIRST, LAST = "FirstExecutionProvider", "CPUExecutionProvider"
NO = Verdict("unsupported", "it has no Sin", "use Cos")


def chain(*ops: str) -> onnx.ModelProto:
    """One node after the other, each reading what the one before made; MatMul with an 8x8 weight."""
    names = ["x", *(f"t{i}" for i in range(len(ops) - 1)), "y"]
    nodes = [
        helper.make_node(op, [names[i], *(["w"] if op == "MatMul" else [])], [names[i + 1]], name=f"n{i}")
        for i, op in enumerate(ops)
    ]
    shape = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8]) for name in ("x", "y")]
    weight = helper.make_tensor("w", TensorProto.FLOAT, [8, 8], [0.1] * 64)
    graph = helper.make_graph(nodes, "g", shape[:1], shape[1:], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def covered(run_stage: RunStage, folder: Path, model: onnx.ModelProto, verdicts: dict[str, list[Verdict]]) -> Any:
    """Facts of the stage, with ``nodes`` as its file has them."""
    onnx.save(model, folder / "model.onnx")
    inputs = {"model": folder / "model.onnx"}
    for name, nodes in verdicts.items():
        inputs[f"evidence:{name}"] = folder / f"{name}.json"
        evidence.write(inputs[f"evidence:{name}"], Evidence(name, f"asked {name}", nodes))
    done = run_stage("coverage", "tools", inputs, {"providers": list(verdicts), "left_in_float": []})
    assert done.facts, done.error
    report = json.loads((done.out / "coverage.json").read_text())
    assert {key: report[key] for key in done.facts} == done.facts
    return report


def test_a_node_goes_to_the_first_provider_that_takes_it(run_stage: RunStage, tmp_path: Path) -> None:
    yes, runs = Verdict("listed"), Verdict("runs")
    found = covered(
        run_stage,
        tmp_path,
        chain("Relu", "MatMul", "Sin", "Sin", "Relu"),
        {FIRST: [yes, yes, NO, NO, yes], LAST: [runs] * 5},
    )
    assert [node["provider"] for node in found["nodes"]] == [FIRST, FIRST, LAST, LAST, FIRST]
    first, last = found["providers"]
    assert (first["nodes"], first["macs"], first["mac_share"], first["partitions"]) == (3, 64, 1.0, 2)
    assert (last["node_share"], last["mac_share"], last["levels"]) == (0.4, 0.0, {"runs": 2})
    assert (found["partitions"], found["switches"]) == (3, 2)
    assert found["fallbacks"] == [
        {
            "provider": FIRST, "op": "Sin", "domain": "", "goes_to": LAST, "why": "it has no Sin", "fix": "use Cos", "nodes": 2,
            "macs": 0, "example": "Sin 'n2'",
        }
    ]  # fmt: skip
    assert found["nowhere"] == []


def test_what_nobody_takes_is_named(run_stage: RunStage, tmp_path: Path) -> None:
    found = covered(run_stage, tmp_path, chain("Relu", "Sin"), {FIRST: [NO, NO], LAST: [Verdict("runs"), NO]})
    assert [(one["op"], one["why"]) for one in found["nowhere"]] == [("Sin", "it has no Sin")]
    assert found["nodes"][1]["level"] == "unsupported"


def test_constants_are_no_nodes_and_a_model_without_products_has_no_share(run_stage: RunStage, tmp_path: Path) -> None:
    model = chain("Relu", "Relu")
    value = helper.make_node("Constant", [], ["c"], value=helper.make_tensor("c", TensorProto.FLOAT, [1], [1.0]))
    model.graph.node.insert(0, value)
    found = covered(run_stage, tmp_path, model, {FIRST: [NO, NO, Verdict("built")], LAST: [Verdict("runs")] * 3})
    assert [node["op"] for node in found["nodes"]] == ["Relu", "Relu"]
    assert found["providers"][0]["mac_share"] is None
    assert found["providers"][0]["node_share"] == 0.5


def test_evidence_of_another_model_is_noticed(run_stage: RunStage, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="3 nodes, the model has 2"):
        covered(run_stage, tmp_path, chain("Relu", "Relu"), {LAST: [Verdict("runs")] * 3})


def test_two_branches_of_one_provider_are_one_part(run_stage: RunStage, tmp_path: Path) -> None:
    """x → Relu → Sin → Add and x → Relu → Add: the second Relu can run before the switch."""
    model = chain("Relu", "Sin", "Relu")
    model.graph.node[2].CopyFrom(helper.make_node("Relu", ["x"], ["r"], name="n2"))
    model.graph.node[1].output[0] = "s"
    model.graph.node.append(helper.make_node("Add", ["s", "r"], ["y"], name="n3"))
    yes, runs = Verdict("listed"), Verdict("runs")
    found = covered(run_stage, tmp_path, model, {FIRST: [yes, NO, yes, yes], LAST: [runs] * 4})
    assert found["partitions"] == 3


@given(st.lists(st.sampled_from([FIRST, LAST, None]), max_size=30))
def test_parts_of_a_chain_are_its_runs(owners: list[str | None]) -> None:
    model = chain(*["Relu"] * len(owners)) if owners else chain("Relu")
    kept = [owner for owner in owners if owner]
    runs = [owner for i, owner in enumerate(kept) if not i or kept[i - 1] != owner]
    assert partitions.parts(model.graph, owners or [None]) == runs

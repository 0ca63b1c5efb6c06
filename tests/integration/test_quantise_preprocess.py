"""Pre-processing fuses, keeps the meaning, and gives up in words."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from conftest import RunStage
from ortolan.stages import preprocess
from quantise_models import IMAGE, QUANTIZE, convolutions, graph, images, npz, save, value, weight

OLD = "onnxruntime-1.17.3"


def normalised(path: Path, opset: int = 17) -> Path:
    """Conv, BatchNormalization, Relu with a dynamic batch and unnamed nodes."""
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "variance"], ["n"]),
        helper.make_node("Relu", ["n"], ["out"]),
    ]
    weights = [weight("w", 8, 1, 3, 3)] + [weight(name, 8, seed=seed) for seed, name in enumerate(("scale", "shift", "mean"))]
    weights.append(numpy_helper.from_array(np.ones(8, np.float32), "variance"))
    return save(graph(nodes, [value("image", ["batch", 1, 8, 8])], [value("out", ["batch", 8, 8, 8])], weights), path, opset)


def same(run_stage: RunStage, before: Path, after: Path, folder: Path) -> bool:
    """Whether the models agree in ONNX Runtime 1.17.3 within rounding."""
    params = {"data": npz(folder, image=images(8)), "inputs": [IMAGE], "metric": None}
    run = run_stage("evaluate", OLD, {"fp32": before, "candidate": after, "data": folder}, params)
    assert run.facts is not None, run
    return bool(run.facts["snr_db"]["min"] > 100)


@pytest.mark.parametrize("opset", [11, 13, 17])
def test_batch_normalisation_goes_into_the_convolution(tmp_path: Path, run_stage: RunStage, opset: int) -> None:
    given = normalised(tmp_path / "m.onnx", opset)
    run, again = (run_stage("preprocess", "tools", {"model": given}, {}) for _ in range(2))
    assert run.facts is not None, run
    assert run.facts["skipped"] == ""
    found = onnx.load(run.out / "model.onnx")
    assert Counter(node.op_type for node in found.graph.node) == {"Conv": 1, "Relu": 1}
    assert [(entry.domain, entry.version) for entry in found.opset_import] == [("", opset)]
    assert found.ir_version <= 8
    assert found.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert len({node.name for node in found.graph.node} - {""}) == 2
    assert (run.out / "model.onnx").read_bytes() == (again.out / "model.onnx").read_bytes()
    assert same(run_stage, given, run.out / "model.onnx", tmp_path / "data")


def test_an_old_opset_is_kept(tmp_path: Path, run_stage: RunStage) -> None:
    given = normalised(tmp_path / "m.onnx", 9)
    run = run_stage("preprocess", "tools", {"model": given}, {})
    assert run.facts is not None, run
    assert run.facts["skipped"] == "opset 9 is below 11, which it would be raised to"
    assert onnx.load(run.out / "model.onnx").opset_import[0].version == 9
    assert same(run_stage, given, run.out / "model.onnx", tmp_path / "data")


@pytest.mark.parametrize(("operator", "domain", "opset", "wanted"), [
    ("LayerNormalization", "", 13, "it would bring in ai.onnx LayerNormalization"),  # it came in opset 17
    ("LayerNormalization", "", 17, ""),
    ("FusedConv", "com.microsoft", 17, "it would bring in com.microsoft FusedConv"),
])  # fmt: skip
def test_what_the_opset_does_not_have_stays_out(operator: str, domain: str, opset: int, wanted: str) -> None:
    def model(*nodes: onnx.NodeProto) -> onnx.ModelProto:
        content = graph(nodes, [value("image", [1])], [value("out", [1])])
        return helper.make_model(content, opset_imports=[helper.make_opsetid("", opset)])

    new = helper.make_node(operator, ["image"], ["out"], domain=domain)
    assert preprocess._changed(model(helper.make_node("Relu", ["image"], ["out"])), model(new)) == wanted


def test_a_model_that_onnx_runtime_cannot_open_passes_through(tmp_path: Path, run_stage: RunStage) -> None:
    nodes = [helper.make_node("NoSuch", ["image"], ["out"], "odd")]
    given = save(graph(nodes, [value("image", [1])], [value("out", [1])]), tmp_path / "m.onnx")
    run = run_stage("preprocess", "tools", {"model": given}, {})
    assert run.facts is not None, run
    assert run.facts["skipped"].startswith("ONNX Runtime cannot optimise it: ")
    assert "NoSuch" in run.facts["skipped"]
    assert [node.op_type for node in onnx.load(run.out / "model.onnx").graph.node] == ["NoSuch"]


@pytest.mark.parametrize("name", ["mnist_cntk", "ultraface_rfb320", "gtcrn_simple"])
def test_real_models(run_stage: RunStage, shared_data: Path, name: str) -> None:
    normal = run_stage("normalise", "tools", {"model": shared_data / "onnx" / f"{name}.onnx"}, {"opset": 17}).out / "model.onnx"
    run = run_stage("preprocess", "tools", {"model": normal}, {})
    assert run.facts is not None, run
    assert run.facts["skipped"] == ""
    before, after = onnx.load(normal), onnx.load(run.out / "model.onnx")
    assert [v.name for v in after.graph.input] == [v.name for v in before.graph.input]
    assert [v.name for v in after.graph.output] == [v.name for v in before.graph.output]
    assert {entry.domain for entry in after.opset_import} == {""}
    assert after.ir_version <= 8


@pytest.mark.slow
def test_odd_files_never_crash(run_stage: RunStage, shared_data: Path, tmp_path: Path) -> None:
    """Each passes through, is quantised, or is refused."""
    (tmp_path / "ranges.json").write_text('{"tensors":{}}')
    for path in sorted((shared_data / "odd").glob("*.onnx")):
        run = run_stage("preprocess", "tools", {"model": path}, {})
        assert run.facts is not None or run.refused is not None, (path.name, run)
        model = run.out / "model.onnx" if run.facts else path
        run = run_stage("quantise", "tools", {"model": model, "ranges": tmp_path / "ranges.json"}, QUANTIZE)
        assert run.facts is not None or run.refused is not None, (path.name, run)


def test_nothing_to_do(tmp_path: Path, run_stage: RunStage) -> None:
    given = convolutions(tmp_path / "m.onnx")
    run = run_stage("preprocess", "tools", {"model": given}, {})
    assert same(run_stage, given, run.out / "model.onnx", tmp_path / "data")

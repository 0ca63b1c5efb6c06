"""Dynamic INT8, fp16 and weight-only quantisation: what comes out runs in every runtime that has it, and repeats itself."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from conftest import RunStage, StageRun
from quantise_models import IMAGE, calibration, convolutions, graph, images, npz, save, value, weight
from scheme_models import TOKENS, encoder, tokens

OLD, OLDER, NEW = "onnxruntime-1.17.3", "onnxruntime-1.20.1", "onnxruntime-1.31.1"
ALONE: dict[str, Any] = {"exclude": [], "float_operators": []}
DYNAMIC = {**ALONE, "weights": "int8", "per_channel": True, "convolutions": False}
WEIGHTS = {**ALONE, "bits": 4, "block_size": 32, "accuracy_level": 0}
HALF = {**ALONE, "float_io": True}


def dynamic(run_stage: RunStage, model: Path, **changes: Any) -> StageRun:
    return run_stage("quantise_dynamic", "tools", {"model": model}, DYNAMIC | changes)


def weights(run_stage: RunStage, model: Path, **changes: Any) -> StageRun:
    return run_stage("quantise_weights", "tools", {"model": model}, WEIGHTS | changes)


def half(run_stage: RunStage, model: Path, ranges: Path | None = None, **changes: Any) -> StageRun:
    if ranges is None:
        ranges = model.parent / "none.json"
        ranges.write_text('{"method": "minmax", "tensors": {}}')
    return run_stage("halve", "tools", {"model": model, "ranges": ranges}, HALF | changes)


def facts(run: StageRun) -> dict[str, Any]:
    assert run.facts is not None, run
    return run.facts


def operators(run: StageRun) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(run.out / "model.onnx").graph.node)


def evaluate(
    run_stage: RunStage, tmp_path: Path, model: Path, run: StageRun, runtime: str, entry: Any, **arrays: Any
) -> dict[str, Any]:
    """How a candidate compares with the float model in one runtime."""
    spec = npz(tmp_path / "data", **arrays)
    inputs = {"fp32": model, "candidate": run.out / "model.onnx", "data": tmp_path / "data"}
    return facts(run_stage("evaluate", runtime, inputs, {"data": spec, "inputs": [entry], "metric": "agreement"}))


# --- every scheme ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("runtime", [OLD, NEW])
@pytest.mark.parametrize(
    ("make", "changes", "operator", "least"),
    [
        (dynamic, {}, "MatMulInteger", 30),
        (weights, {}, "MatMulNBits", 8),
        (weights, {"accuracy_level": 4, "block_size": 16}, "MatMulNBits", 8),
        (half, {}, "MatMul", 55),
        (half, {"float_io": False}, "MatMul", 55),
    ],
)
def test_an_encoder_runs_and_agrees(
    tmp_path: Path, run_stage: RunStage, make: Any, changes: dict[str, Any], operator: str, least: float, runtime: str
) -> None:
    model = encoder(tmp_path / "encoder.onnx")
    run = make(run_stage, model, **changes)
    assert facts(run)["macs_share"] > 0.9
    assert operators(run)[operator] >= 13
    assert facts(run)["left_in_float"] == {}
    found = evaluate(run_stage, tmp_path, model, run, runtime, TOKENS, ids=tokens(16))
    assert found["snr_db"]["mean"] > least
    assert found["metric"]["candidate"] >= 0.75


@pytest.mark.parametrize("make", [dynamic, weights, half])
def test_the_result_repeats_itself(tmp_path: Path, run_stage: RunStage, make: Any) -> None:
    model = encoder(tmp_path / "encoder.onnx")
    first, second = (make(run_stage, model).out / "model.onnx" for _ in range(2))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(("make", "operator"), [(dynamic, "MatMul"), (weights, "MatMul"), (half, "MatMul")])
def test_what_the_recipe_names_stays_in_float(tmp_path: Path, run_stage: RunStage, make: Any, operator: str) -> None:
    model = encoder(tmp_path / "encoder.onnx")
    run = make(run_stage, model, exclude=["layer0_out_node", "no_such_node"])
    assert facts(run)["left_in_float"] == {"layer0_out_node": "excluded by the recipe"}
    assert facts(run)["unknown_exclude"] == ["no_such_node"]
    whole = make(run_stage, model)
    assert facts(whole)["low"] - facts(run)["low"] == 1
    none = make(run_stage, model, float_operators=["MatMul"])
    assert operator not in facts(none)["nodes"]
    assert facts(none)["left_in_float"]["layer1_narrow_node"] == "MatMul stays in float by the recipe"


def test_eight_bits_are_finer_and_need_a_newer_runtime(tmp_path: Path, run_stage: RunStage) -> None:
    model = encoder(tmp_path / "encoder.onnx")
    run = weights(run_stage, model, bits=8)
    assert evaluate(run_stage, tmp_path, model, run, NEW, TOKENS, ids=tokens(8))["snr_db"]["mean"] > 30
    spec = npz(tmp_path / "data", ids=tokens(1))
    inputs = {"fp32": model, "candidate": run.out / "model.onnx", "data": tmp_path / "data"}
    refused = run_stage("evaluate", OLDER, inputs, {"data": spec, "inputs": [TOKENS], "metric": None}).refused
    assert refused is not None
    assert refused["what"] == "the quantised model does not open"


def test_smaller_by_what_the_scheme_takes_away(tmp_path: Path, run_stage: RunStage) -> None:
    model = encoder(tmp_path / "encoder.onnx")
    sizes = [facts(run) for run in (half(run_stage, model), weights(run_stage, model, bits=8), weights(run_stage, model))]
    shares = [found["size"] / found["float_size"] for found in sizes]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] < 0.55
    assert shares[2] < 0.35


# --- dynamic --------------------------------------------------------------------------------------------------------


def test_convolutions_stay_in_float_unless_asked_for(tmp_path: Path, run_stage: RunStage) -> None:
    model = convolutions(tmp_path / "model.onnx")
    run = dynamic(run_stage, model)
    assert facts(run)["convolution_share"] == 0
    assert facts(run)["macs_share"] == pytest.approx(5120 / facts(run)["macs"])
    assert operators(run)["Conv"] == 2
    asked = dynamic(run_stage, model, convolutions=True, weights="uint8", per_channel=False)
    assert facts(asked)["macs_share"] == 1
    assert facts(asked)["convolution_share"] == pytest.approx(1 - 5120 / facts(run)["macs"])
    assert operators(asked)["ConvInteger"] == 2
    found = evaluate(run_stage, tmp_path, model, asked, OLD, IMAGE, image=images(8))
    assert found["snr_db"]["mean"] > 20


def lstm(path: Path) -> Path:
    """[5,1,8] through an LSTM of 16 hidden values."""
    kernels = [weight("w", 1, 64, 8), weight("r", 1, 64, 16, seed=1), weight("b", 1, 128, seed=2)]
    node = helper.make_node("LSTM", ["x", "w", "r", "b"], ["y"], "lstm", hidden_size=16)
    return save(graph([node], [value("x", [5, 1, 8])], [value("y", [5, 1, 1, 16])], kernels), path)


@pytest.mark.parametrize("runtime", [OLD, NEW])
def test_an_lstm_is_quantised_dynamically(tmp_path: Path, run_stage: RunStage, runtime: str) -> None:
    model = lstm(tmp_path / "model.onnx")
    run = dynamic(run_stage, model)
    assert facts(run)["nodes"] == {"LSTM": {"quantised": 1, "before": 1}}
    assert facts(run)["macs_share"] == 1
    entry = {"name": "x", "dtype": "float32", "shape": [5, 1, 8], "range": None}
    values = np.random.default_rng(0).standard_normal((4, 5, 1, 8)).astype(np.float32)
    assert evaluate(run_stage, tmp_path, model, run, runtime, entry, x=values)["snr_db"]["mean"] > 25


def test_dynamic_ranges_need_opset_11(tmp_path: Path, run_stage: RunStage) -> None:
    run = dynamic(run_stage, convolutions(tmp_path / "model.onnx", opset=10))
    assert run.refused is not None
    assert run.refused["why"] == "DynamicQuantizeLinear exists from opset 11 on"


# --- weights alone --------------------------------------------------------------------------------------------------


def test_weights_that_two_products_share_stay_one(tmp_path: Path, run_stage: RunStage) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], "first"),
        helper.make_node("MatMul", ["a", "w"], ["b"], "second"),
        helper.make_node("Gemm", ["b", "w"], ["y"], "third", transB=1),
    ]
    model = save(graph(nodes, [value("x", [1, 64])], [value("y", [1, 64])], [weight("w", 64, 64)]), tmp_path / "model.onnx")
    run = weights(run_stage, model)
    assert facts(run)["low"] == 3
    names = [tensor.name for tensor in onnx.load(run.out / "model.onnx").graph.initializer]
    assert len(names) == len(set(names))
    entry = {"name": "x", "dtype": "float32", "shape": [1, 64], "range": None}
    rows = np.random.default_rng(0).standard_normal((4, 1, 64)).astype(np.float32)
    assert evaluate(run_stage, tmp_path, model, run, OLD, entry, x=rows)["snr_db"]["mean"] > 10


def test_convolutions_are_not_what_it_is_for(tmp_path: Path, run_stage: RunStage) -> None:
    found = facts(weights(run_stage, convolutions(tmp_path / "model.onnx")))
    assert found["low"] == 1
    assert found["macs_share"] == pytest.approx(5120 / found["macs"])
    assert found["repairs"] == ["Gemm 'gemm' becomes a MatMul"]


# --- half precision -------------------------------------------------------------------------------------------------


def loud(path: Path) -> Path:
    """Multiplies by 10,000 and divides by it again; and adds 1e-9, which is 0 in float16."""
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Mul", ["c", "factor"], ["large"], "mul"),
        helper.make_node("Div", ["large", "factor"], ["small"], "div"),
        helper.make_node("Add", ["small", "tiny"], ["sum"], "add"),
        helper.make_node("Relu", ["sum"], ["y"], "relu"),
    ]
    numbers = [("factor", 1e5), ("tiny", 1e-9)]
    constants = [weight("w", 4, 1, 3, 3), *(numpy_helper.from_array(np.array(size, np.float32), name) for name, size in numbers)]
    ends = [value("image", ["batch", 1, 8, 8])], [value("y", ["batch", 4, 8, 8])]
    return save(graph(nodes, *ends, constants), path)


def test_what_float16_cannot_hold_stays_in_float(tmp_path: Path, run_stage: RunStage) -> None:
    model = loud(tmp_path / "model.onnx")
    ranges = run_stage(
        "calibrate", "tools", {"model": model, "data": tmp_path / "data"}, calibration(npz(tmp_path / "data", image=images(4)))
    )
    run = half(run_stage, model, ranges.out / "ranges.json")
    left = facts(run)["left_in_float"]
    assert left["mul"].startswith("'large' reaches ")
    assert left["div"] == "constant 'factor' reaches 1e+05, and float16 ends at 65504"
    assert left["add"] == "constant 'tiny' holds 1e-09, which is 0 in float16"
    assert set(left) == {"mul", "div", "add"}
    assert facts(run)["nodes"] == {"Conv": {"quantised": 1, "before": 1}, "Relu": {"quantised": 1, "before": 1}}
    for runtime in (OLD, NEW):
        found = evaluate(run_stage, tmp_path, model, run, runtime, IMAGE, image=images(4))
        assert found["snr_db"]["min"] > 50


def test_measured_values_beyond_float16_keep_their_nodes_in_float(tmp_path: Path, run_stage: RunStage) -> None:
    model = convolutions(tmp_path / "model.onnx")
    spec = npz(tmp_path / "data", image=images(4) * 1e5)
    ranges = run_stage("calibrate", "tools", {"model": model, "data": tmp_path / "data"}, calibration(spec))
    left = facts(half(run_stage, model, ranges.out / "ranges.json"))["left_in_float"]
    assert left["conv"].endswith("and float16 ends at 65504")
    assert "gemm" in left


def test_ranges_come_from_the_samples_of_parity_where_there_is_no_data(tmp_path: Path, run_stage: RunStage) -> None:
    model = convolutions(tmp_path / "model.onnx", batch=1)
    made = run_stage("make_samples", "tools", {"model": model}, {"inputs": [], "axes": {}, "count": 2, "data": None})
    params = calibration({}) | {"data": None, "inputs": []}
    found = run_stage("calibrate", "tools", {"model": model, "samples": made.out / "samples.npz"}, params)
    assert facts(found)["samples"] == 2
    assert facts(found)["tensors"] > 5


@pytest.mark.parametrize("float_io", [True, False])
def test_nested_graphs_keep_what_they_capture_in_float(tmp_path: Path, run_stage: RunStage, *, float_io: bool) -> None:
    """An If whose branches read an input, a product and a constant from around them."""

    def branch(operator: str, output: str) -> onnx.GraphProto:
        nodes = [
            helper.make_node(operator, ["product", "w"], [f"{output}_1"], f"{output}_1"),
            helper.make_node("Add", [f"{output}_1", "x"], [output], output),
        ]
        return helper.make_graph(nodes, output, [], [value(output, [4, 4])])

    branches = {"then_branch": branch("Add", "then"), "else_branch": branch("Sub", "other")}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"], "matmul"),
        helper.make_node("If", ["flag"], ["chosen"], "if", **branches),
        helper.make_node("Relu", ["chosen"], ["y"], "relu"),
    ]
    inputs = [value("x", [4, 4]), value("flag", [], TensorProto.BOOL)]
    model = save(graph(nodes, inputs, [value("y", [4, 4])], [weight("w", 4, 4)]), tmp_path / "model.onnx")
    run = half(run_stage, model, float_io=float_io)
    assert facts(run)["nodes"].keys() == {"MatMul", "Relu"}
    onnx.checker.check_model(onnx.load(run.out / "model.onnx"), full_check=True)
    flag: dict[str, Any] = {"name": "flag", "dtype": "bool", "shape": [], "range": None}
    entries = [{"name": "x", "dtype": "float32", "shape": [4, 4], "range": None}, flag]
    spec = npz(tmp_path / "data", x=np.random.default_rng(0).random((2, 4, 4), np.float32), flag=np.array([True, False]))
    given = {"fp32": model, "candidate": run.out / "model.onnx", "data": tmp_path / "data"}
    found = facts(run_stage("evaluate", OLD, given, {"data": spec, "inputs": entries, "metric": None}))
    assert found["snr_db"]["min"] > 50


def test_inputs_and_outputs_in_float16_by_choice(tmp_path: Path, run_stage: RunStage) -> None:
    run = half(run_stage, encoder(tmp_path / "encoder.onnx"), float_io=False)
    made = onnx.load(run.out / "model.onnx").graph
    assert made.output[0].type.tensor_type.elem_type == TensorProto.FLOAT16
    assert operators(run)["Cast"] == 0
    kept = half(run_stage, encoder(tmp_path / "encoder.onnx"))
    assert onnx.load(kept.out / "model.onnx").graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert operators(kept)["Cast"] == 1, "where the output leaves; ids are integers"


def test_a_tensor_that_both_precisions_read_is_converted_once(tmp_path: Path, run_stage: RunStage) -> None:
    model = encoder(tmp_path / "encoder.onnx")
    run = half(run_stage, model, float_operators=["Softmax", "LayerNormalization"])
    made = onnx.load(run.out / "model.onnx").graph
    written = [name for node in made.node for name in node.output]
    assert len(written) == len(set(written))
    casts = [node.input[0] for node in made.node if node.op_type == "Cast"]
    assert len(casts) == len(set(casts))
    assert evaluate(run_stage, tmp_path, model, run, OLD, TOKENS, ids=tokens(4))["snr_db"]["min"] > 50


def test_samples_get_the_types_of_the_model(tmp_path: Path, run_stage: RunStage) -> None:
    model = convolutions(tmp_path / "model.onnx")
    run = half(run_stage, model, float_io=False)
    with (tmp_path / "samples.npz").open("wb") as stream:
        np.savez(stream, **{"0/image": images(1)})  # type: ignore[arg-type]  # numpy's stub knows a keyword of its own
    inputs = {"model": run.out / "model.onnx", "samples": tmp_path / "samples.npz"}
    fitted = run_stage("fit_samples", "tools", inputs, {"ends": "inputs"})
    assert facts(fitted) == {"halved": ["image"]}
    assert np.load(fitted.out / "samples.npz")["0/image"].dtype == np.float16


# --- real models ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("make", [dynamic, weights, half])
@pytest.mark.parametrize("name", ["gtcrn_simple.onnx", "ultraface_rfb320.onnx", "mnist_cntk.onnx"])
def test_real_models_come_through(run_stage: RunStage, shared_data: Path, make: Any, name: str) -> None:
    (given,) = shared_data.rglob(name)
    ready = run_stage("normalise", "tools", {"model": given}, {"opset": 17})
    prepared = run_stage("preprocess", "tools", {"model": ready.out / "model.onnx"}, {})
    run = make(run_stage, prepared.out / "model.onnx")
    samples = run_stage(
        "make_samples", "tools", {"model": run.out / "model.onnx"}, {"inputs": [], "axes": {}, "count": 1, "data": None}
    )
    session = {
        "execution_mode": "sequential", "graph_optimization_level": "all", "enable_mem_pattern": False,
        "enable_cpu_mem_arena": True, "intra_op_num_threads": 1, "inter_op_num_threads": 1, "config": {},
    }  # fmt: skip
    params = {"providers": [], "session": session, "rtol": 1e-3, "atol": 1e-5}
    for runtime in (OLD, NEW):
        read = {"model": run.out / "model.onnx", "samples": samples.out / "samples.npz"}
        assert facts(run_stage("verify", runtime, read, params))["onnx"]["runs"]

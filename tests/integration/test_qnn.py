"""QNN: quantised after its own configuration, compiled for a named SoC, run on its emulator; and what it does not say itself."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import models
from conftest import ROOT, RunStage, StageRun
from ortolan import runtime
from ortolan.cache import user_cache
from ortolan.stages.lib import evidence, quant_fit, tensors
from ortolan.stages.lib.qnn_socs import SOCS
from quantise_models import QUANTIZE, calibration, convolutions, generator, images, npz

RUNTIME = "qnn"
U8 = QUANTIZE | {"preset": "qnn", "activations": "uint8", "weights": "uint8", "per_channel": False}
U16 = U8 | {"activations": "uint16", "weights": "int8"}
Shapes = dict[str, list[int]]
REAL = {
    "mnist_cntk": {"Input3": [1, 1, 28, 28]},
    "ultraface_rfb320": {"input": [1, 3, 240, 320]},
    "gtcrn_simple": {
        "mix": [1, 257, 1, 2],
        "conv_cache": [2, 1, 16, 16, 33],
        "tra_cache": [2, 3, 1, 1, 16],
        "inter_cache": [2, 1, 33, 16],
    },
}

FEEDS = """
import numpy as np

def feeds():
    draw = np.random.default_rng(0)
    for _ in range(4):
        yield {{name: draw.standard_normal(shape).astype("float32") for name, shape in {}.items()}}
"""


def entries(shapes: Shapes) -> list[dict[str, Any]]:
    return [{"name": name, "dtype": "float32", "shape": shape, "range": None} for name, shape in shapes.items()]


def drawn(shapes: Shapes, count: int, seed: int = 0) -> list[dict[str, Any]]:
    draw = np.random.default_rng(seed)
    return [{name: draw.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()} for _ in range(count)]


def written(path: Path, shapes: Shapes, count: int = 2) -> Path:
    tensors.write_samples(path, drawn(shapes, count, 1))
    return path


def fixed(run_stage: RunStage, model: Path, shapes: dict[str, int]) -> Path:
    return run_stage("fix_shapes", "tools", {"model": model}, {"shapes": shapes}).out / "model.onnx"


def real(run_stage: RunStage, folder: Path, shared_data: Path, name: str) -> tuple[Path, Path]:
    """A real model as a build would hand it to the quantizer, and its ranges."""
    normal = run_stage("normalise", "tools", {"model": shared_data / "onnx" / f"{name}.onnx"}, {"opset": 17}).out / "model.onnx"
    ready = run_stage("preprocess", "tools", {"model": normal}, {}).out / "model.onnx"
    spec = generator(folder / "data", FEEDS.format(REAL[name]))
    ranged = run_stage("calibrate", "tools", {"model": ready, "data": folder / "data"}, calibration(spec, *entries(REAL[name])))
    return fixed(run_stage, ready, {}), ranged.out / "ranges.json"


def quantised(run_stage: RunStage, model: Path, ranges: Path, how: dict[str, Any]) -> StageRun:
    run = run_stage("quantise", "tools", {"model": model, "ranges": ranges}, how)
    assert run.facts is not None, run
    return run


def engine(run_stage: RunStage, model: Path, samples: Path, soc: str = "SM8650", **options: Any) -> StageRun:
    return run_stage("engine_qnn", RUNTIME, {"model": model, "samples": samples}, {"soc": soc, "options": options})


def probe(run_stage: RunStage, model: Path, samples: Path, **options: Any) -> tuple[StageRun, list[evidence.Verdict]]:
    asked = {"provider": {"name": "QNNExecutionProvider", "options": {"soc_model": "43"} | options}}
    run = run_stage("evidence_qnn", RUNTIME, {"model": model, "samples": samples}, asked)
    return run, list(evidence.read(run.out / "evidence.json").nodes) if run.facts else []


def odd(tmp_path: Path, text: str, **more: Any) -> Path:
    return models.write(models.graph(text, **more), tmp_path / "odd.onnx")


def lowest_snr(compared: dict[str, Any]) -> float:
    return min(one["snr_db"] if one["snr_db"] is not None else 200.0 for one in compared.values())


Prepared = Callable[[dict[str, Any]], tuple[Path, Path]]


@pytest.fixture
def convnet(tmp_path: Path, run_stage: RunStage) -> Prepared:
    """A small convolutional network with batch 1, quantised as told, and samples."""
    model = convolutions(tmp_path / "m.onnx", batch=1)
    spec = npz(tmp_path / "data", image=images(32))
    entry = {"name": "image", "dtype": "float32", "shape": [1, 1, 8, 8], "range": None}
    ranges = run_stage("calibrate", "tools", {"model": model, "data": tmp_path / "data"}, calibration(spec, entry)).out
    samples = written(tmp_path / "samples.npz", {"image": [1, 1, 8, 8]})

    def make(how: dict[str, Any]) -> tuple[Path, Path]:
        return quantised(run_stage, model, ranges / "ranges.json", how).out / "model.onnx", samples

    return make


# --- the preset --------------------------------------------------------------------------------------------------


def test_16_bit_activations_are_described_where_onnx_knows_no_shape_of_them(convnet: Prepared) -> None:
    model = onnx.load(convnet(U16)[0])
    assert {node.domain for node in model.graph.node if node.op_type == "QuantizeLinear"} == {"com.microsoft"}
    infos = {info.name: info.type.tensor_type for info in (*model.graph.value_info, *model.graph.output)}
    made = [name for node in model.graph.node if node.op_type.endswith("zeLinear") for name in node.output]
    assert made
    assert all(name in infos for name in made)
    kinds = Counter(infos[name].elem_type for name in made)
    assert kinds[TensorProto.UINT16] > 3
    whole = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    assert whole.graph.output[0].type.tensor_type.shape.dim[1].dim_value == 10


def test_the_range_of_a_16_bit_input_is_as_wide_as_its_data(convnet: Prepared) -> None:
    data = images(32)
    for how in (U8, U16):
        low, high = quant_fit.input_ranges(onnx.load(convnet(how)[0]))["image"]
        assert low == pytest.approx(data.min(), rel=0.03)
        assert high == pytest.approx(data.max(), rel=0.03)


def test_every_multiplication_counts_as_quantised(run_stage: RunStage, tmp_path: Path, shared_data: Path) -> None:
    model, ranges = real(run_stage, tmp_path, shared_data, "gtcrn_simple")
    facts = quantised(run_stage, model, ranges, U16).facts
    assert facts
    assert facts["macs_share"] == 1
    assert facts["macs_uncounted"] == []
    assert facts["left_in_float"] == {}
    assert facts["nodes"]["Sigmoid"]["quantised"] == facts["nodes"]["Sigmoid"]["before"] > 0
    plain = quantised(run_stage, model, ranges, QUANTIZE).facts  # from the same ranges
    assert plain
    assert 0 < plain["q"] < facts["q"]


def test_16_bit_sigmoid_and_tanh_get_the_scales_that_htp_wants(run_stage: RunStage, tmp_path: Path) -> None:
    model = models.write(models.graph("(float[1,4] x) => (float[1,4] y) { s = Sigmoid(x)\n y = Tanh(s) }"), tmp_path / "m.onnx")
    spec = npz(tmp_path / "data", x=np.linspace(-3, 3, 32, dtype=np.float32).reshape(8, 4))
    entry = {"name": "x", "dtype": "float32", "shape": [1, 4], "range": None}
    ranges = run_stage("calibrate", "tools", {"model": model, "data": tmp_path / "data"}, calibration(spec, entry)).out
    made = onnx.load(quantised(run_stage, model, ranges / "ranges.json", U16).out / "model.onnx")
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    found = {node.input[0]: values[node.input[1]].item() for node in made.graph.node if node.op_type == "QuantizeLinear"}
    assert sorted(found.values())[:2] == [1 / 65536, 1 / 32768]


def test_the_parts_of_gelu_become_one_operator(run_stage: RunStage, tmp_path: Path) -> None:
    weights = {name: np.array(value, np.float32) for name, value in (("root2", 2**0.5), ("one", 1), ("half", 0.5))}
    text = "d = Div(x, root2)\n e = Erf(d)\n a = Add(e, one)\n m = Mul(x, a)\n y = Mul(m, half)"
    model = models.graph(f"(float[1,16] x) => (float[1,16] y) {{ {text} }}", weights=weights)
    path = models.write(model, tmp_path / "m.onnx")
    spec = npz(tmp_path / "data", x=np.random.default_rng(0).standard_normal((8, 16)).astype(np.float32))
    entry = {"name": "x", "dtype": "float32", "shape": [1, 16], "range": None}
    ranges = run_stage("calibrate", "tools", {"model": path, "data": tmp_path / "data"}, calibration(spec, entry)).out
    run = quantised(run_stage, path, ranges / "ranges.json", U8)
    assert run.facts
    assert run.facts["repairs"] == ["5 nodes fused into 1 Gelu"]
    made = run.out / "model.onnx"
    assert Counter(node.op_type for node in onnx.load(made).graph.node)["Gelu"] == 1
    facts = engine(run_stage, made, written(tmp_path / "s.npz", {"x": [1, 16]})).facts
    assert facts
    assert facts["on_cpu"] == {}
    assert lowest_snr(facts["emulator"]["cpu"]) > 25


def test_nodes_of_other_domains_and_casts_stay_as_they_are(run_stage: RunStage, tmp_path: Path) -> None:
    function = '<domain: "own", opset_import: ["": 17]> Relu (a) => (b) { b = Neg(a) }'
    text = "(float[1,4] x) => (int32[1,4] y) { r = own.Relu(x)\n s = Abs(r)\n y = Cast<to=6>(s) }"
    path = models.write(models.graph(text, functions=function, own=1), tmp_path / "m.onnx")
    ranges = tmp_path / "ranges.json"
    ranges.write_text('{"method": "minmax", "tensors": {"x": [-1.0, 1.0], "r": [-1.0, 1.0], "s": [0.0, 1.0]}}')
    run = quantised(run_stage, path, ranges, U8)
    assert run.facts
    assert list(run.facts["left_in_float"].values()) == ["no operator of ONNX"]
    nodes = {node.op_type: node for node in onnx.load(run.out / "model.onnx").graph.node}
    assert (nodes["Relu"].input[0], nodes["Relu"].domain) == ("x", "own")
    assert nodes["Abs"].input[0] != "r"


# --- the engine --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "how", "snr"), [("mnist_cntk", U8, 25), ("ultraface_rfb320", U8, 35), ("ultraface_rfb320", U16, 60)]
)
def test_a_real_model_becomes_one_context(
    run_stage: RunStage, tmp_path: Path, shared_data: Path, name: str, how: dict[str, Any], snr: float
) -> None:
    model, ranges = real(run_stage, tmp_path, shared_data, name)
    low = quantised(run_stage, model, ranges, how).out / "model.onnx"
    samples = written(tmp_path / "samples.npz", REAL[name])
    runs = [engine(run_stage, low, samples, "SM8750") for _ in range(2)]
    facts = runs[0].facts
    assert facts, runs[0]
    assert facts["asked"] == facts["found"] == {"soc": "SM8750", "htp_arch": "79"}
    assert (facts["partitions"], facts["on_cpu"], facts["signature"]) == (1, {}, [])
    assert facts["emulator"]["runs"]
    assert lowest_snr(facts["emulator"]["cpu"]) > snr
    first, second = (run.out / "model_ctx.onnx" for run in runs)
    assert first.read_bytes() == second.read_bytes()
    assert facts["bytes"] == first.stat().st_size
    assert facts["reproducible"]
    verdicts = probe(run_stage, low, samples)[1]
    assert {verdict.level for verdict in verdicts} == {evidence.RUNS}


@pytest.mark.slow
def test_what_qnn_does_not_take_stays_in_the_engine_for_the_cpu(run_stage: RunStage, tmp_path: Path, shared_data: Path) -> None:
    name = "gtcrn_simple"
    model, ranges = real(run_stage, tmp_path, shared_data, name)
    low = quantised(run_stage, model, ranges, U16).out / "model.onnx"
    samples = written(tmp_path / "samples.npz", REAL[name])
    run = engine(run_stage, low, samples)
    assert run.facts, run
    assert run.facts["reproducible"]
    assert (
        engine(run_stage, low, samples).out.joinpath("model_ctx.onnx").read_bytes() == (run.out / "model_ctx.onnx").read_bytes()
    )
    assert run.facts["partitions"] > 1
    assert run.facts["on_cpu"]["ConvTranspose"] == 2
    assert run.facts["signature"] == []
    assert run.facts["emulator"]["runs"]
    assert lowest_snr(run.facts["emulator"]["cpu"]) > 20
    found = Counter(verdict.why for verdict in probe(run_stage, model, samples)[1] if verdict.level == evidence.UNSUPPORTED)
    assert any("6 axes" in why for why in found)
    assert found["QNN EP: QNN's TransposeConv2d operator only supports default dilation values of 1."] == 2


@pytest.mark.slow
def test_an_engine_whose_bytes_differ_each_time_says_so(run_stage: RunStage, tmp_path: Path, shared_data: Path) -> None:
    normal = run_stage("normalise", "tools", {"model": shared_data / "onnx" / "gtcrn_simple.onnx"}, {"opset": 17}).out
    facts = engine(run_stage, normal / "model.onnx", written(tmp_path / "samples.npz", REAL["gtcrn_simple"])).facts
    assert facts
    assert not facts["reproducible"]
    assert facts["noise"] == {"compilations": [1] * 5}


COMMON = ["SM8550", "SM8650", "SM8750", "SM8850"]
OTHERS = [pytest.param(soc, marks=pytest.mark.slow) for soc in sorted(SOCS) if soc not in COMMON]


@pytest.mark.parametrize("soc", [*COMMON, *OTHERS])
def test_each_known_soc_is_what_the_context_names(run_stage: RunStage, tmp_path: Path, soc: str) -> None:
    path = odd(tmp_path, "(float[2,4] x) => (float[2,4] y) { y = Relu(x) }")
    run = engine(run_stage, path, written(tmp_path / "s.npz", {"x": [2, 4]}), soc)
    assert run.facts, run
    assert run.facts["found"] == {"soc": soc, "htp_arch": str(SOCS[soc].arch)}
    assert run.facts["compatibility"].split(":")[4:6] == [str(SOCS[soc].arch), str(SOCS[soc].model)]


def test_float_runs_in_half_precision(run_stage: RunStage, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    model = convolutions(tmp_path / "source" / "m.onnx", batch=1)
    samples = written(tmp_path / "samples.npz", {"image": [1, 1, 8, 8]})
    expected = run_stage(
        "reference_onnx", "tools", {"model": model.parent, "samples": samples}, {"file": "m.onnx", "inline": models.LARGE}
    )
    inputs = {"model": model, "samples": samples, "expected": expected.out / "outputs.npz"}
    facts = run_stage("engine_qnn", RUNTIME, inputs, {"soc": "SM8550", "options": {}}).facts
    assert facts
    assert facts["on_cpu"] == {}
    for against in ("cpu", "expected"):
        assert 50 < lowest_snr(facts["emulator"][against]) < 100  # half precision resolves about 66 dB, single 144


def test_metadata_of_the_build_and_of_the_provider_stays(run_stage: RunStage, convnet: Prepared) -> None:
    low, samples = convnet(U8)
    stamped = run_stage("stamp", "tools", {"model": low}, {"metadata": {"ortolan.tag": "a-tag"}}).out / "model.onnx"
    made = onnx.load(engine(run_stage, stamped, samples).out / "model_ctx.onnx")
    found = {entry.key: entry.value for entry in made.metadata_props}
    assert found.pop("ortolan.tag") == "a-tag"
    assert [*found] == ["ep_compatibility_info.QNNExecutionProvider"]
    assert made.ir_version == 8  # older runtimes open it: the compiler itself writes its own newest


# --- what QNN does not say ---------------------------------------------------------------------------------------


def test_an_unknown_soc_is_refused_with_the_known_ones(run_stage: RunStage, convnet: Prepared) -> None:
    run = engine(run_stage, *convnet(U8), "SM9999")
    assert run.refused
    assert "SM9999" in run.refused["what"]
    assert "SM8650" in run.refused["hint"]


@pytest.mark.parametrize(
    ("options", "built"), [({"htp_arch": "99"}, "SM8650 with HTP 75"), ({"soc_model": "43"}, "SM8550 with HTP 73")]
)
def test_options_that_do_not_take_are_noticed(
    run_stage: RunStage, convnet: Prepared, options: dict[str, Any], built: str
) -> None:
    run = engine(run_stage, *convnet(U8), **options)
    assert run.refused, run
    assert run.refused["what"].startswith(f"QNN compiled for {built}, asked for SM8650 with HTP")


def test_a_soc_that_qnn_does_not_start_for_is_refused(run_stage: RunStage, convnet: Prepared) -> None:
    run = engine(run_stage, *convnet(U8), soc_model="999")
    assert run.refused
    assert run.refused["what"] == "QNN does not start"
    assert "QNN_DEVICE_ERROR" in run.refused["why"]
    found = probe(run_stage, *convnet(U8), soc_model="999")[0]
    assert found.refused
    assert "999" in found.refused["what"]


def test_a_dynamic_axis_is_refused_by_name(run_stage: RunStage, tmp_path: Path) -> None:
    model = convolutions(tmp_path / "m.onnx")
    samples = written(tmp_path / "samples.npz", {"image": [1, 1, 8, 8]})
    run = engine(run_stage, model, samples)
    assert run.refused
    assert run.refused["what"] == "axis 'batch' of input 'image' is dynamic"
    verdicts = probe(run_stage, model, samples)[1]
    assert {verdict.level for verdict in verdicts} == {evidence.UNSUPPORTED}
    assert any("axis 'batch'" in verdict.why and "[shapes]" in verdict.fix for verdict in verdicts)
    whole = fixed(run_stage, model, {"batch": 2})
    assert {verdict.level for verdict in probe(run_stage, whole, written(samples, {"image": [2, 1, 8, 8]}))[1]} == {evidence.RUNS}


def test_a_context_of_an_earlier_build_does_not_survive_a_failing_one(run_stage: RunStage, tmp_path: Path) -> None:
    model = models.write(models.graph("(double[2] x) => (double[2] y) { y = Relu(x) }"), tmp_path / "m.onnx")
    samples = tmp_path / "s.npz"
    tensors.write_samples(samples, [{"x": np.zeros(2)}])
    stale = tmp_path / "out" / "model_ctx.onnx"
    stale.parent.mkdir()
    stale.write_bytes(b"an earlier build's")
    code = (
        "import sys\nfrom pathlib import Path\nfrom stages import engine_qnn\n"
        "model, samples, out = map(Path, sys.argv[1:])\n"
        "engine_qnn.run({'model': model, 'samples': samples}, {'soc': 'SM8650', 'options': {}}, out)\n"
    )
    made = runtime.ensure(runtime.find(RUNTIME, [ROOT / "runtimes"]), user_cache().runtimes)
    command = [str(part) for part in (made.interpreter, "-c", code, model, samples, stale.parent)]
    done = subprocess.run(command, cwd=ROOT / "src" / "ortolan", capture_output=True, text=True, check=False)
    assert "QNN took no node of this model" in done.stderr
    assert not stale.exists()
    assert engine(run_stage, model, samples).refused


# --- evidence ----------------------------------------------------------------------------------------------------


LOOP = """(float[2,4] x) => (float[2,4] y) {
    y = Loop(n, c, x) <body = b(int64 i, bool ci, float[2,4] v) => (bool co, float[2,4] o) { co = Identity(ci) o = Relu(v) }>
}"""


@pytest.mark.parametrize(("text", "more", "levels", "why"), [
    ("(float[2,4] x) => (float[2,4] y) { a = own.Foo(x)\n y = Relu(a) }", {"own": 1}, ["unsupported"] * 2, "own:Foo"),
    ("(float[0,4] x) => (float[0,4] y) { y = Relu(x) }", {}, ["unsupported"], "signal 8 (SIGFPE)"),
    ("(float[2,4] x) => (int64[2,n] y) { a = Relu(x)\n y = NonZero(a) }", {}, ["runs", "unsupported"], "only when the"),
    ("(float[2,2,2,2,2,2] x) => (float[2,2,2,2,2,2] y) { y = Relu(x) }", {}, ["unsupported"], "6 axes"),
    ("(float[2,4] x) => (float[2,4] y) { s = SequenceConstruct(x, x)\n y = SequenceAt(s, i) }", {"weights": {"i": np.array(0)}},
     ["unsupported"] * 2, "no operator for SequenceAt"),
    (LOOP, {"weights": {"n": np.array(3), "c": np.array(True)}},
     ["unsupported"], "no operator for Loop"),
])  # fmt: skip
def test_what_qnn_does_not_take_is_told(
    run_stage: RunStage, tmp_path: Path, text: str, more: dict[str, Any], levels: list[str], why: str
) -> None:
    path = odd(tmp_path, text, **more)
    shape = [dim.dim_value for dim in onnx.load(path).graph.input[0].type.tensor_type.shape.dim]
    run, verdicts = probe(run_stage, path, written(tmp_path / "s.npz", {"x": shape}))
    assert [verdict.level for verdict in verdicts] == levels, run
    assert any(why in verdict.why for verdict in verdicts), verdicts


def test_types_that_qnn_lacks_are_named(run_stage: RunStage, tmp_path: Path) -> None:
    path = odd(tmp_path, "(double[2] x) => (double[2] y) { y = Relu(x) }")
    tensors.write_samples(tmp_path / "s.npz", [{"x": np.zeros(2)}])
    verdict = probe(run_stage, path, tmp_path / "s.npz")[1][0]
    assert (verdict.level, verdict.fix) == (evidence.UNSUPPORTED, "cast it to float32")
    assert verdict.why.startswith("'x' is float64: HTP's own check refuses it")


def test_a_session_that_does_not_open_is_told_for_all(run_stage: RunStage, tmp_path: Path) -> None:
    path = odd(tmp_path, "(double[2] x) => (float[2] y) { a = Relu(x)\n b = Cast<to=1>(a)\n y = Neg(b) }")
    tensors.write_samples(tmp_path / "s.npz", [{"x": np.zeros(2)}])
    verdicts = probe(run_stage, path, tmp_path / "s.npz")[1]
    assert {verdict.level for verdict in verdicts} == {evidence.UNSUPPORTED}
    assert all("FP64 data type in graph IO" in verdict.why for verdict in verdicts)


def test_a_graph_that_is_compiled_but_does_not_run_is_built(run_stage: RunStage, tmp_path: Path) -> None:
    path = odd(tmp_path, "(float[2,4] x) => (float[2,4] y) { y = Relu(x) }")
    run, verdicts = probe(run_stage, path, written(tmp_path / "s.npz", {"x": [2, 5]}))
    assert run.facts
    assert not run.facts["ran"]
    assert verdicts[0].level == evidence.BUILT
    assert "not run" in verdicts[0].why


OWN = '<domain: "own", opset_import: ["": 17]> {} {{ {} }}'
SINH = "d = Sinh(a)\n b = {}"  # QNN has no Sinh


@pytest.mark.parametrize(("domain", "level"), [("", evidence.RUNS), ("own.", evidence.UNSUPPORTED)])
def test_what_is_folded_costs_nothing_and_counts_as_its_reader(
    run_stage: RunStage, tmp_path: Path, domain: str, level: str
) -> None:
    sizes = "s = Shape(x)\n b = Gather(s, zero)\n u = Unsqueeze(b, ax)\n t = Concat<axis=0>(u, rest)"
    name = f"{domain}reshape" if domain else "Reshape"
    text = f"(float[2,4,4] x) => (float[2,16] y) {{ {sizes}\n y = {name}(x, t) }}"
    function = OWN.format("reshape (a, s) => (b)", SINH.format("Reshape(d, s)"))
    weights = {"zero": np.array(0), "ax": np.array([0]), "rest": np.array([-1])}
    path = odd(tmp_path, text, weights=weights, functions=function, own=1)
    verdicts = probe(run_stage, path, written(tmp_path / "s.npz", {"x": [2, 4, 4]}))[1]
    assert [verdict.level for verdict in verdicts] == [level] * 5, verdicts


@pytest.mark.parametrize(
    ("body", "level"), [("t = Relu(a)\n b = Sigmoid(t)", evidence.RUNS), (SINH.format("Neg(d)"), evidence.UNSUPPORTED)]
)
def test_a_local_function_runs_where_all_of_it_does(run_stage: RunStage, tmp_path: Path, body: str, level: str) -> None:
    text = "(float[2,4] x) => (float[2,4] y) { a = own.f(x)\n y = Relu(a) }"
    path = odd(tmp_path, text, functions=OWN.format("f (a) => (b)", body), own=1)
    verdicts = probe(run_stage, path, written(tmp_path / "s.npz", {"x": [2, 4]}))[1]
    assert [verdict.level for verdict in verdicts] == [level, evidence.RUNS], verdicts


def test_a_function_that_qnn_takes_for_an_operator_is_noticed(run_stage: RunStage, tmp_path: Path) -> None:
    path = odd(
        tmp_path,
        "(float[2,4] x) => (float[2,4] y) { y = own.Relu(x) }",
        functions=OWN.format("Relu (a) => (b)", "b = Neg(a)"),
        own=1,
    )
    samples = written(tmp_path / "s.npz", {"x": [2, 4]})
    verdict = probe(run_stage, path, samples)[1][0]
    assert (verdict.level, verdict.why) == (evidence.UNSUPPORTED, "QNN takes it for ONNX's own Relu and computes that")
    run = engine(run_stage, path, samples)
    assert run.refused
    assert run.refused["what"] == "QNN would take own:Relu '-> y' for ONNX's own Relu"


def test_nodes_without_names_and_without_nodes(run_stage: RunStage, tmp_path: Path) -> None:
    samples = written(tmp_path / "s.npz", {"x": [2, 4]})
    nameless = models.stripped_of_names(models.graph("(float[2,4] x) => (float[2,4] y) { a = Relu(x)\n y = Neg(a) }"))
    assert [v.level for v in probe(run_stage, models.write(nameless, tmp_path / "n.onnx"), samples)[1]] == [evidence.RUNS] * 2
    info = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4])
    empty = helper.make_model(
        helper.make_graph([], "g", [info], [info]), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    run, verdicts = probe(run_stage, models.write(empty, tmp_path / "e.onnx"), samples)
    assert run.facts, run
    assert verdicts == []


def test_a_thousand_nodes(run_stage: RunStage, tmp_path: Path) -> None:
    text = "\n".join(f"c{i} = Conv<pads=[1,1,1,1]>(t{i}, w)\n t{i + 1} = Relu(c{i})" for i in range(500))
    weights = {"w": np.full((4, 4, 3, 3), 0.02, np.float32)}
    path = odd(tmp_path, f"(float[1,4,8,8] t0) => (float[1,4,8,8] t500) {{ {text} }}", weights=weights)
    run, verdicts = probe(run_stage, path, written(tmp_path / "s.npz", {"t0": [1, 4, 8, 8]}))
    assert run.facts, run
    assert run.facts["levels"] == {"runs": 1000}
    assert run.facts["partitions"] == 1
    assert len(verdicts) == 1000

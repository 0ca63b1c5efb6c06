"""Real sessions say which nodes a provider runs; what looked like the provider and was not it is noticed every time."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, SparseTensorProto, TensorProto, helper, numpy_helper

import models
from conftest import ROOT, RunStage
from ortolan import runtime
from ortolan.cache import user_cache
from ortolan.stages.lib import evidence, tensors
from ortolan.stages.lib.evidence import Verdict

CPU, OPENVINO = "CPUExecutionProvider", "OpenVINOExecutionProvider"
WITH_OPENVINO = "onnxruntime-openvino-1.24.1"
F2 = {"x": np.array([1, 2], np.float32)}
IMAGE = {"image": np.full((2, 1, 8, 8), 0.25, np.float32)}
Facts = dict[str, Any]


def ask(
    run_stage: RunStage, folder: Path, model: ModelProto, feeds: dict[str, Any] | list[dict[str, Any]], *,
    name: str = CPU, where: str = WITH_OPENVINO, options: dict[str, Any] | None = None, config: dict[str, str] | None = None,
) -> tuple[list[Verdict], Facts]:  # fmt: skip
    """The verdicts on the model's nodes, one each, and the facts."""
    path = models.write(model, folder / "m.onnx")
    tensors.write_samples(folder / "samples.npz", feeds if isinstance(feeds, list) else [feeds])
    params = {
        "provider": {"name": name, "options": options or {}}, "version": "1.20.1",
        "session": models.SESSION | {"config": config or {}},
    }  # fmt: skip
    done = run_stage("evidence_session", where, {"model": path, "samples": folder / "samples.npz"}, params)
    assert done.facts is not None, done.refused or done.log
    found = evidence.read(done.out / "evidence.json")
    assert found.provider == name
    assert len(found.nodes) == len(model.graph.node)
    assert sum(done.facts["levels"].values()) == len(found.nodes)
    return list(found.nodes), done.facts


def levels(found: list[Verdict]) -> list[str]:
    return [one.level for one in found]


def pinned(version: str) -> str:
    return f"onnxruntime-{version}"


# --- the CPU, in every version -----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", models.VERSIONS)
def test_the_cpu_runs_a_good_model(run_stage: RunStage, tmp_path: Path, version: str) -> None:
    found, facts = ask(run_stage, tmp_path, models.convnet(), IMAGE, where=pinned(version))
    assert found == [Verdict("runs")] * 5
    assert (facts["opens"], facts["runs"], facts["error"], facts["providers"]) == (True, True, "", [CPU])
    assert f"onnxruntime {version} on {CPU}" in facts["source"]
    assert ("the fleet's oldest is 1.20.1" in facts["source"]) == (version != "1.20.1")


BROKEN = """(bfloat16[2,2] h, float[2] x) => (bfloat16[2,2] p, float[2] y, float[2] w) {
    [half] p = MatMul(h, h)
    [good] y = Relu(x)
    [foo] q = my.thing.Foo(x)
    [after] w = Relu(q)
    [also_good] v = Sin(y)
}"""


@pytest.mark.parametrize("version", models.VERSIONS)
def test_of_a_model_that_does_not_open_only_the_guilty_nodes_are_unsupported(
    run_stage: RunStage, tmp_path: Path, version: str
) -> None:
    model = models.graph(BROKEN, 13, my_thing=1)
    found, facts = ask(run_stage, tmp_path, model, F2, where=pinned(version))
    half, good, foo, after, also_good = found
    assert levels(found) == ["unsupported", "registered", "unsupported", "unsupported", "registered"]
    assert half.why == "Could not find an implementation for MatMul(13)"
    assert half.fix
    assert "my.thing:Foo(-1) is not a registered function/op" in foo.why
    assert foo.fix
    assert after.why == "cannot be asked: the type of its input 'q' is not known"
    assert good.why.startswith("it has a kernel, but the session does not open because of MatMul 'half', my.thing:Foo 'foo': ")
    assert good == also_good
    assert not facts["opens"]
    assert "Foo" in facts["error"]


def test_types_decide_whether_a_kernel_is_there(run_stage: RunStage, tmp_path: Path) -> None:
    text = "(double[2] d, int32[2] i) => (double[2] y, int32[2] z) { [real] y = Erf(d)\n [whole] z = Erf(i) }"
    found, _ = ask(run_stage, tmp_path, models.graph(text), {"d": np.ones(2), "i": np.ones(2, np.int32)}, where=pinned("1.31.1"))
    assert levels(found) == ["unsupported", "unsupported"]
    text = "(double[2] d, double[3,3] m) => (double[2] y, double y2) { [real] y = Relu(d)\n [det] y2 = Det(m)\n }"
    found, _ = ask(run_stage, tmp_path, models.graph(text), {"d": np.ones(2), "m": np.eye(3)}, where=pinned("1.31.1"))
    assert found[0].level == "registered"
    assert "Det(11)" in found[1].why


@pytest.mark.parametrize("version", models.VERSIONS)
def test_an_opset_or_ir_that_is_too_new_leaves_nothing(run_stage: RunStage, tmp_path: Path, version: str) -> None:
    found, facts = ask(run_stage, tmp_path, models.convnet(28), IMAGE, where=pinned(version))
    assert set(levels(found)) == {"unsupported"}
    assert f"opset 28 of ai.onnx; onnxruntime {version} takes at most" in found[0].why
    assert "opset" in found[0].fix
    assert not facts["opens"]
    model = models.convnet()
    model.ir_version = 14
    assert "IR version 14" in ask(run_stage, tmp_path, model, IMAGE, where=pinned(version))[0][0].why


@pytest.mark.parametrize("samples", [[], [{"image": np.zeros((1, 1, 9, 8), np.float32)}]])
@pytest.mark.parametrize("name", [CPU, OPENVINO])
def test_nothing_runs_where_nothing_ran(run_stage: RunStage, tmp_path: Path, name: str, samples: list[dict[str, Any]]) -> None:
    found, facts = ask(run_stage, tmp_path, models.convnet(), samples, name=name)
    assert set(levels(found)) == {"registered"}
    assert found[0].why.startswith(
        "the session opens, but does not run: " + ("Got invalid" if samples else "there are no samples")
    )
    assert (facts["opens"], facts["runs"]) == (True, False)


# --- a provider that is not what it seems ------------------------------------------------------------------------


@pytest.mark.parametrize("where", [pinned("1.17.3"), pinned("1.31.1"), WITH_OPENVINO])
def test_a_provider_that_the_runtime_lacks(run_stage: RunStage, tmp_path: Path, where: str) -> None:
    found, facts = ask(run_stage, tmp_path, models.convnet(), IMAGE, name="XnnpackExecutionProvider", where=where)
    assert set(levels(found)) == {"unsupported"}
    assert found[0].why == f"this onnxruntime {where.rpartition('-')[2]} has no such provider"
    assert not facts["opens"]


@pytest.mark.parametrize("version", models.VERSIONS)
def test_a_provider_that_is_listed_without_a_node(run_stage: RunStage, tmp_path: Path, version: str) -> None:
    """Every wheel lists this one, which takes nodes of its own domain only."""
    azure = "AzureExecutionProvider"
    found, facts = ask(run_stage, tmp_path, models.convnet(), IMAGE, name=azure, where=pinned(version))
    assert facts["providers"] == [azure, CPU]
    assert facts["runs"]
    assert set(levels(found)) == {"unsupported"}
    assert found[0].why == f"the session lists the provider, which took no node: all ran on {CPU}"


@pytest.mark.parametrize(("options", "said"), [
    ({"enable_qdq_optimizer": "1"}, "enable_qdq_optimizer should be a boolean"),
    ({"device_type": "GPU"}, "Device GPU is not available"),
    ({"precision": "INT4"}, "Unsupported inference precision"),
    ({"load_config": "{"}, "JSON parsing error"),
])  # fmt: skip
def test_a_provider_that_onnx_runtime_drops(run_stage: RunStage, tmp_path: Path, options: dict[str, str], said: str) -> None:
    found, facts = ask(run_stage, tmp_path, models.convnet(), IMAGE, name=OPENVINO, options=options)
    assert (facts["opens"], facts["runs"], facts["providers"]) == (True, True, [CPU])
    assert set(levels(found)) == {"unsupported"}
    assert found[0].why.startswith("ONNX Runtime dropped the provider: ")
    assert said in found[0].why
    assert "/" not in found[0].why
    assert any(said in line for line in facts["said"])


RETRIES = """
import sys, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["OpenVINOExecutionProvider", "CPUExecutionProvider"],
                                       provider_options=[{"device_typ": "CPU"}, {}])
print(session.get_providers())
"""


def test_the_retry_on_the_cpu_does_not_happen_here(run_stage: RunStage, tmp_path: Path) -> None:
    """ONNX Runtime answers a misspelt option by a session without the provider."""
    made = runtime.ensure(runtime.find(WITH_OPENVINO, [ROOT / "runtimes"]), user_cache().runtimes)
    model = models.write(models.convnet(), tmp_path / "plain.onnx")
    command = [str(made.interpreter), "-c", RETRIES, str(model)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"['{CPU}']"
    found, facts = ask(run_stage, tmp_path, models.convnet(), IMAGE, name=OPENVINO, options={"device_typ": "CPU"})
    assert not facts["opens"]
    assert set(levels(found)) == {"unsupported"}
    assert "Invalid OpenVINO EP option: device_typ" in found[0].why


def test_a_provider_that_throws_leaves_nothing_and_the_loop_is_named(
    run_stage: RunStage, tmp_path: Path, shared_data: Path
) -> None:
    model = onnx.load(shared_data / "odd" / "loop.onnx")
    feeds = {"input_0": np.array([1], np.int32)}
    assert set(levels(ask(run_stage, tmp_path, model, feeds)[0])) == {"runs"}
    found, facts = ask(run_stage, tmp_path, model, feeds, name=OPENVINO)
    assert (facts["opens"], facts["providers"]) == (False, [])
    assert set(levels(found)) == {"unsupported"}
    for node, verdict in zip(model.graph.node, found, strict=True):
        blamed = "because of Loop 'while_loop':" in verdict.why
        assert blamed == (node.op_type != "Loop")
        assert "OpenVINO does not support the following ONNX operations" in verdict.why


def test_a_recipe_that_forbids_the_cpu_is_asked_all_the_same(run_stage: RunStage, tmp_path: Path) -> None:
    model = models.graph("(float[2,2] x) => (float y) { [relu] r = Relu(x)\n [det] y = Det(r) }")
    config = {"session.disable_cpu_ep_fallback": "1", "ep.context_enable": "1"}
    found, _ = ask(run_stage, tmp_path, model, {"x": np.eye(2, dtype=np.float32)}, name=OPENVINO, config=config)
    assert found == [Verdict("runs"), Verdict("unsupported", f"went to {CPU}")]


# --- OpenVINO ----------------------------------------------------------------------------------------------------

REAL: dict[str, dict[str, tuple[int, ...]]] = {
    "gtcrn_simple": {
        "mix": (1, 257, 1, 2), "conv_cache": (2, 1, 16, 16, 33), "tra_cache": (2, 3, 1, 1, 16), "inter_cache": (2, 1, 33, 16),
    },
    "mnist_cntk": {"Input3": (1, 1, 28, 28)},
    "ultraface_rfb320": {"input": (1, 3, 240, 320)},
}  # fmt: skip


@pytest.mark.parametrize("name", [CPU, OPENVINO])
@pytest.mark.parametrize("real", REAL)
def test_real_models_run_wholly(run_stage: RunStage, tmp_path: Path, shared_data: Path, real: str, name: str) -> None:
    draw = np.random.default_rng(0)
    feeds = {key: draw.random(shape, np.float32) for key, shape in REAL[real].items()}
    model = onnx.load(shared_data / "onnx" / f"{real}.onnx")
    found, facts = ask(run_stage, tmp_path, model, feeds, name=name)
    assert set(levels(found)) == {"runs"}, facts
    assert facts["providers"][0] == name


SCAN = """v, w = Scan<num_scan_inputs=1, body = b (float[2] p, float[2] q) => (float[2] r, float[2] t) {
        [relu] r = Add(p, q)
        t = Identity(r)
    }>(i, u)"""
SCANNED = {"i": np.ones(2, np.float32), "u": np.ones((3, 2), np.float32)}


def test_nodes_inside_a_scan_do_not_speak_for_it_or_for_their_namesakes(run_stage: RunStage, tmp_path: Path) -> None:
    model = models.graph(f"(float[2] i, float[3,2] u) => (float[2] v, float[3,2] y) {{ [scan] {SCAN}\n [relu] y = Relu(w) }}")
    found, _ = ask(run_stage, tmp_path, model, SCANNED, name=OPENVINO)
    assert found == [Verdict("unsupported", f"went to {CPU}; nodes inside it to {OPENVINO}"), Verdict("runs")]
    assert set(levels(ask(run_stage, tmp_path, model, SCANNED)[0])) == {"runs"}


@pytest.mark.parametrize("names", ["none", "one"])
def test_nodes_without_a_name_of_their_own_are_told_apart(run_stage: RunStage, tmp_path: Path, names: str) -> None:
    model = models.graph("(float[2,2] x) => (float y) { a = Relu(x)\n b = Sin(a)\n y = Det(b) }")
    for node in model.graph.node:
        node.name = "" if names == "none" else "same"
    found, _ = ask(run_stage, tmp_path, model, {"x": np.eye(2, dtype=np.float32)}, name=OPENVINO)
    assert levels(found) == ["runs", "runs", "unsupported"]


FUNCTIONS = """
<domain: "own", opset_import: ["": 17, "own": 1]> good (x) => (y) { [relu] t = Sin(x)  y = Abs(t) }
<domain: "own", opset_import: ["": 17, "own": 1]> bad (x) => (y) { t = own.good(x)  y = Det(t) }
"""


def test_the_call_of_a_function_runs_where_all_its_nodes_do(run_stage: RunStage, tmp_path: Path) -> None:
    text = "(float[2,2] x) => (float y) { [relu] a = own.good(x)\n [b] b = own.good(a)\n c = Relu(b)\n [d] y = own.bad(c) }"
    model = models.graph(text, functions=FUNCTIONS, own=1)
    feeds = {"x": np.eye(2, dtype=np.float32)}
    found, _ = ask(run_stage, tmp_path, model, feeds, name=OPENVINO)
    assert levels(found) == ["runs", "runs", "runs", "unsupported"]
    assert found[-1].why == f"went to {CPU}, {OPENVINO}"
    for version in models.VERSIONS:
        assert set(levels(ask(run_stage, tmp_path, model, feeds, where=pinned(version))[0])) == {"runs"}


def test_an_operator_that_is_replaced_by_its_definition(run_stage: RunStage, tmp_path: Path) -> None:
    """No provider here has a GroupNormalization of its own: ONNX Runtime puts two dozen nodes without names in its place."""
    inputs = "float[1,4,4,4] x, float[4] s, float[4] b"
    feeds = {"x": np.ones((1, 4, 4, 4), np.float32), "s": np.ones(4, np.float32), "b": np.ones(4, np.float32)}
    body = "[gn] y = GroupNormalization<num_groups=2>(x, s, b)"
    alone = models.graph(f"({inputs}) => (float[1,4,4,4] y) {{ {body} }}", 21, ir=10)
    for name in (CPU, OPENVINO):
        assert levels(ask(run_stage, tmp_path, alone, feeds, name=name)[0]) == ["runs"]
    both = f"({inputs}, float[2,2] z) => (float[1,4,4,4] y, float d) {{ {body}\n [det] d = Det(z) }}"
    feeds["z"] = np.eye(2, dtype=np.float32)
    found, _ = ask(run_stage, tmp_path, models.graph(both, 21, ir=10), feeds, name=OPENVINO)
    assert levels(found) == ["runs", "unsupported"]


@pytest.mark.parametrize("name", [CPU, OPENVINO])
def test_half_precision_runs(run_stage: RunStage, tmp_path: Path, name: str) -> None:
    """The CPU computes it in float32 between casts, and ONNX Runtime reports these nodes for no provider."""
    model = models.graph("(float16[1,4,4,4] x) => (float16[1,4,4,4] y) { [c] r = Relu(x)\n [s] y = Sin(r) }")
    found, _ = ask(run_stage, tmp_path, model, {"x": np.ones((1, 4, 4, 4), np.float16)}, name=name)
    assert levels(found) == ["runs", "runs"]


def test_half_precision_left_to_the_cpu_is_not_claimed(run_stage: RunStage, tmp_path: Path) -> None:
    text = "(float16[2,2] x) => (float16[2,2] y, float16[2,2] z) { y = Relu(x)\n [u] z = CumSum(x, a)\n [bern] w = Bernoulli(x) }"
    model = models.graph(text, weights={"a": np.array(0, np.int64)})
    found, _ = ask(run_stage, tmp_path, model, {"x": np.ones((2, 2), np.float16)}, name=OPENVINO)
    assert found[0].level == "runs"
    assert found[2].level == "unsupported"


# --- odd models --------------------------------------------------------------------------------------------------


def sparse() -> ModelProto:
    values = numpy_helper.from_array(np.array([2, 3], np.float32), "weights")
    indices = numpy_helper.from_array(np.array([0, 3], np.int64), "")
    tensor = SparseTensorProto(values=values, indices=indices, dims=[4])
    model = models.graph("(float[4] x) => (float[4] y) { [add] a = Add(x, weights)\n [relu] y = Relu(a) }", 13)
    model.graph.sparse_initializer.append(tensor)
    return model


ODD: dict[str, tuple[ModelProto, dict[str, Any]]] = {
    "if": (
        models.graph("(bool c, float[2] x) => (float[2] y) { z = Relu(x)\n" + models.branches("t = Sin(z)", "e = Cos(z)") + "}"),
        F2 | {"c": np.array(True)},
    ),
    "sparse": (sparse(), {"x": np.ones(4, np.float32)}),
    "nonzero": (models.graph("(float[2] x) => (int64[1,n] y) { a = Relu(x)\n y = NonZero(a) }"), F2),
    "constant": (
        models.graph("(float[2] x) => (float[2] y) { k = Constant<value = float[2] {1.0, 2.0}>()\n y = Add(x, k) }"), F2,
    ),
    "no inputs": (models.graph("() => (float[2] y) { k = Constant<value = float[2] {1.0, 2.0}>()\n y = Relu(k) }"), {}),
    "passed through": (models.graph("(float[2] x) => (float[2] y) { y = Identity(x) }"), F2),
}  # fmt: skip


@pytest.mark.parametrize("where", [*map(pinned, models.VERSIONS), WITH_OPENVINO])
@pytest.mark.parametrize("odd", sorted(ODD.keys() - {"if"}))
def test_odd_models_run_on_the_cpu(run_stage: RunStage, tmp_path: Path, odd: str, where: str) -> None:
    model, feeds = ODD[odd]
    assert set(levels(ask(run_stage, tmp_path, model, feeds, where=where)[0])) == {"runs"}


@pytest.mark.parametrize("odd", ODD)
def test_odd_models_on_openvino_claim_nothing_that_was_not_seen(run_stage: RunStage, tmp_path: Path, odd: str) -> None:
    model, feeds = ODD[odd]
    found, facts = ask(run_stage, tmp_path, model, feeds, name=OPENVINO)
    if "runs" in levels(found):
        assert facts["runs"]
        assert facts["providers"] == [OPENVINO, CPU]
    else:
        assert all(one.why for one in found)


def test_a_model_without_nodes_has_no_verdicts(run_stage: RunStage, tmp_path: Path, shared_data: Path) -> None:
    found, facts = ask(run_stage, tmp_path, onnx.load(shared_data / "odd" / "empty.onnx"), {})
    assert (found, facts["levels"]) == ([], {})


@pytest.mark.parametrize("odd", ["capability", "custom_op_node", "matmul.bf16", "scan", "nonzero", "qdq_conv", "weightless.conv"])
@pytest.mark.parametrize("name", [CPU, OPENVINO])
def test_the_odd_real_models_are_survived(run_stage: RunStage, tmp_path: Path, shared_data: Path, odd: str, name: str) -> None:
    model = onnx.load(shared_data / "odd" / f"{odd}.onnx", load_external_data=False)
    feeds = {value.name: zeros(value) for value in model.graph.input if value.name not in weights(model)}
    found, facts = ask(run_stage, tmp_path, model, feeds, name=name)
    assert facts["runs"] or "runs" not in levels(found)
    assert all(one.why for one in found if one.level != "runs")


def weights(model: ModelProto) -> set[str]:
    return {tensor.name for tensor in model.graph.initializer}


def zeros(value: Any) -> Any:
    kind = value.type.tensor_type
    shape = [dim.dim_value or 2 for dim in kind.shape.dim]
    return np.zeros(
        shape, np.float32 if kind.elem_type == TensorProto.BFLOAT16 else helper.tensor_dtype_to_np_dtype(kind.elem_type)
    )


# --- speed and sameness ------------------------------------------------------------------------------------------


def thousand(extra: str = "") -> ModelProto:
    kinds = ("Relu", "Sin", "Abs", "Neg")
    chain = "\n".join(f"t{i + 1} = {kinds[i % 4]}(t{i})" for i in range(1000))
    outputs = "float[1,8] t1000" + (", float[1,8] z" if extra else "")
    return models.graph(f"(float[1,8] t0) => ({outputs}) {{ {chain}\n{extra} }}", my_thing=1)


@pytest.mark.parametrize("name", [CPU, OPENVINO])
@pytest.mark.parametrize(("extra", "level"), [("", "runs"), ("z = my.thing.Foo(t0)", "registered")])
def test_a_thousand_nodes(run_stage: RunStage, tmp_path: Path, name: str, extra: str, level: str) -> None:
    begun = time.perf_counter()
    found, _ = ask(run_stage, tmp_path, thousand(extra), {"t0": np.ones((1, 8), np.float32)}, name=name)
    print(  # noqa: T201  a time to look at; other work on the machine would spoil a limit
        f"{name}, {level}: {time.perf_counter() - begun:.1f} s with the start of the process"
    )
    assert set(levels(found[:1000])) == {level if name == CPU or not extra else "unsupported"}


@pytest.mark.parametrize("name", [CPU, OPENVINO])
def test_equal_inputs_give_equal_bytes(run_stage: RunStage, tmp_path: Path, name: str) -> None:
    model = models.graph(BROKEN, 13, my_thing=1)
    path = models.write(model, tmp_path / "m.onnx")
    tensors.write_samples(tmp_path / "s.npz", [F2])
    params = {"provider": {"name": name, "options": {}}, "version": "1.20.1", "session": models.SESSION}
    runs = [run_stage("evidence_session", WITH_OPENVINO, {"model": path, "samples": tmp_path / "s.npz"}, params) for _ in "ab"]
    assert runs[0].facts == runs[1].facts is not None
    assert (runs[0].out / "evidence.json").read_bytes() == (runs[1].out / "evidence.json").read_bytes()
    assert str(runs[0].out.parent) not in (runs[0].out / "evidence.json").read_text()

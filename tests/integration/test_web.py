"""onnxruntime-web for real: packages, runs in Node and in headless Chromium, evidence per node, and the bundle that lies."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import models
from conftest import ROOT, RunStage, StageRun
from ortolan import runtime
from ortolan.cache import user_cache
from ortolan.errors import StepError
from ortolan.place import Local, environment
from ortolan.runtime import Runtime
from ortolan.sandbox import copy_from, prepare
from ortolan.stages.lib import evidence, tensors
from quantise_models import QUANTIZE, calibration, convolutions, images, npz

WEBGPU, WASM = "WebGpuExecutionProvider", "CPUExecutionProvider"
PROVIDERS = [{"name": WEBGPU, "options": {}}, {"name": WASM, "options": {}}]
VERSION = "1.30.0"
RUN: dict[str, Any] = {
    "where": "node-wasm", "bundle": "ort.node.min.mjs", "threads": 1, "options": {}, "session": models.SESSION,
    "rtol": 1e-3, "atol": 1e-5,
}  # fmt: skip
PACKAGE: dict[str, Any] = {
    "tag": "net-0123456789ab", "format": "both", "bundle": "ort.webgpu.min.js", "providers": PROVIDERS, "threads": 1,
    "session": models.SESSION,
}  # fmt: skip
GPU: dict[str, Any] = {"where": "chromium-webgpu", "bundle": "ort.webgpu.min.js"}
CPU_PAGE: dict[str, Any] = {"where": "chromium-wasm", "bundle": "ort.webgpu.min.js"}
SAMPLES = [{"image": np.full((2, 1, 8, 8), value, np.float32)} for value in (0.25, -1.0)]


@pytest.fixture
def chromium() -> None:
    if not shutil.which("chromium", path="/usr/bin:/bin"):
        pytest.skip("Chromium is not installed")


def samples(folder: Path, content: Sequence[dict[str, Any]]) -> Path:
    tensors.write_samples(folder / "samples.npz", content)
    return folder / "samples.npz"


def expected(run_stage: RunStage, model: Path, given: Path) -> Path:
    """What ONNX Runtime itself computes."""
    done = run_stage(
        "reference_onnx", "tools", {"model": model.parent, "samples": given}, {"file": model.name, "inline": models.LARGE}
    )
    assert done.facts, done.refused or done.error
    return done.out / "outputs.npz"


def facts(done: StageRun) -> dict[str, Any]:
    assert done.facts is not None, done.refused or f"{done.error}\n{done.log}"
    return done.facts


def ran(run_stage: RunStage, model: Path, given: Path, wanted: Path | None = None, **params: Any) -> dict[str, Any]:
    inputs = {"model": model, "samples": given} | ({"expected": wanted} if wanted else {})
    return facts(run_stage("web_run", "web", inputs, RUN | params))


def packaged(run_stage: RunStage, model: Path, **params: Any) -> StageRun:
    return run_stage("web_package", "web", {"model": model}, PACKAGE | params)


def int8(run_stage: RunStage, folder: Path) -> Path:
    """Convolutions with all their attributes written out, quantised per channel: activations uint8, weights int8."""
    model = onnx.load(convolutions(folder / "float.onnx"))
    for node in model.graph.node:
        if node.op_type == "Conv":
            written = {"dilations": [1, 1], "strides": [1, 1], "kernel_shape": [3, 3]}
            node.attribute.extend(helper.make_attribute(name, value) for name, value in written.items())
    path = models.write(model, folder / "float.onnx")
    inputs = {"model": path, "data": folder / "data"}
    measured = run_stage("calibrate", "tools", inputs, calibration(npz(folder / "data", image=images(16))))
    made = run_stage("quantise", "tools", {"model": path, "ranges": measured.out / "ranges.json"}, QUANTIZE)
    assert facts(made)["macs_share"] == 1
    return made.out / "model.onnx"


# --- runs ----------------------------------------------------------------------------------------------------------


def test_in_node_a_good_model_agrees_and_another_does_not(run_stage: RunStage, tmp_path: Path) -> None:
    given = samples(tmp_path, SAMPLES)
    wanted = expected(run_stage, models.write(models.convnet(), tmp_path / "good" / "m.onnx"), given)
    found = ran(run_stage, tmp_path / "good" / "m.onnx", given, wanted)
    assert (found["ran"], found["opens"], found["runs"], found["error"], found["close"]) == (True, True, True, "", True)
    assert found["inputs"] == [{"name": "image", "dtype": "float32", "shape": ["batch", 1, 8, 8]}]
    assert found["results"] == [{"name": "scores", "dtype": "float32", "shape": ["batch", 3]}]
    assert found["versions"]["onnxruntime-web"] == VERSION
    assert found["versions"]["node"].startswith("24.")
    other = ran(run_stage, models.write(models.convnet(seed=1), tmp_path / "m.onnx"), given, wanted)
    assert not other["close"]
    assert "beyond tolerance" in other["outputs"]["scores"]["reason"]


TYPES = [
    "float32", "float64", "float16", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool", "str",
]  # fmt: skip


def test_every_type_of_tensor_comes_back_as_it_went(run_stage: RunStage, tmp_path: Path) -> None:
    spelt = {name: {"float32": "float", "float64": "double", "str": "string"}.get(name, name) for name in TYPES}
    ends = [", ".join(f"{spelt[name]}[2] {end}_{name}" for name in TYPES) for end in ("x", "y")]
    model = models.graph(f"({ends[0]}) => ({ends[1]}) {{ " + "\n".join(f"y_{n} = Identity(x_{n})" for n in TYPES) + " }")
    given = {name: np.array(["ä", ""] if name == "str" else [1, 0], "U1" if name == "str" else name) for name in TYPES}
    inputs = samples(tmp_path, [{f"x_{name}": array for name, array in given.items()}])
    tensors.write_samples(tmp_path / "expected.npz", [{f"y_{name}": array for name, array in given.items()}])
    found = ran(run_stage, models.write(model, tmp_path / "m.onnx"), inputs, tmp_path / "expected.npz")
    assert found["error"] == ""
    assert [name for name, output in found["outputs"].items() if not output["close"]] == []
    assert len(found["outputs"]) == len(TYPES)


def test_what_does_not_open_and_what_does_not_run_are_facts(run_stage: RunStage, tmp_path: Path) -> None:
    unknown = models.graph("(float[2] x) => (float[2] y) { [odd] y = com.example.Odd(x) }", com_example=1)
    given = samples(tmp_path, [{"x": np.zeros(2, np.float32)}])
    found = ran(run_stage, models.write(unknown, tmp_path / "m.onnx"), given)
    assert (found["opens"], found["runs"], found["close"]) == (False, False, False)
    assert "com.example:Odd(-1) is not a registered function/op" in found["error"]
    found = ran(run_stage, models.write(models.convnet(), tmp_path / "n.onnx"), given)
    assert (found["opens"], found["runs"], found["close"]) == (True, False, False)
    assert "image" in found["error"]


@pytest.mark.slow
@pytest.mark.usefixtures("chromium")
def test_a_package_runs_in_a_page_with_the_files_that_it_names(run_stage: RunStage, tmp_path: Path) -> None:
    model, given = models.write(models.convnet(), tmp_path / "model" / "m.onnx"), samples(tmp_path, SAMPLES)
    made, wanted = packaged(run_stage, model, threads=2), expected(run_stage, model, given)
    found = ran(run_stage, made.out / "model.web.ort", given, wanted, **CPU_PAGE, threads=2)
    assert found["close"]
    assert (found["threads"], found["isolated"], found["placed"]) == (2, True, {WASM: 5})
    assert found["fetched"] == sorted(file["name"] for file in facts(made)["files"])
    found = ran(run_stage, made.out / "model.web.ort", given, wanted, **GPU)
    assert found["close"]
    assert set(found["placed"]) == {WEBGPU}
    assert found["adapter"]["architecture"] == "swiftshader"
    assert (found["threads"], found["isolated"]) == (1, False)


@pytest.mark.slow
@pytest.mark.usefixtures("chromium")
def test_the_wrong_bundle_is_noticed(run_stage: RunStage, tmp_path: Path) -> None:
    """ort.all.min.js runs Q/DQ INT8 on WebGPU without a complaint, and what it gives is noise."""
    model, given = int8(run_stage, tmp_path), samples(tmp_path, [{"image": images(2, seed=9)}])
    wanted = expected(run_stage, model, given)
    assert ran(run_stage, model, given, wanted)["close"]
    good = ran(run_stage, model, given, wanted, **GPU)
    assert good["close"]
    assert good["placed"][WEBGPU] > good["placed"][WASM] > 0, "QuantizeLinear has no kernel there"
    bad = ran(run_stage, model, given, wanted, **GPU | {"bundle": "ort.all.min.js"})
    assert (bad["opens"], bad["runs"], bad["error"], bad["close"]) == (True, True, "", False)
    assert bad["outputs"]["logits"]["snr_db"] < 0
    assert "JsExecutionProvider" in bad["placed"]
    ort = ran(run_stage, packaged(run_stage, model).out / "model.web.ort", given, wanted, **GPU)
    assert (ort["runs"], ort["close"]) == (False, False), "an .ort gets no copies between WebGPU and WebAssembly"
    assert "WebGPU buffers" in ort["error"]


@pytest.mark.slow
@pytest.mark.usefixtures("chromium")
def test_a_model_that_webgpu_gets_wrong_is_noticed(run_stage: RunStage, tmp_path: Path, shared_data: Path) -> None:
    """GTCRN, a network for speech, is right on WebAssembly; on WebGPU with channels last onnxruntime-web 1.30.0 gets it wrong."""
    model = shared_data / "onnx" / "gtcrn_simple.onnx"
    given = samples(tmp_path, [drawn(onnx.load(model))])
    wanted = expected(run_stage, model, given)
    assert ran(run_stage, model, given, wanted)["close"]
    wrong = ran(run_stage, model, given, wanted, **GPU)
    assert (wrong["runs"], wrong["close"]) == (True, False)
    assert wrong["outputs"]["conv_cache_out"]["snr_db"] < 40
    assert ran(run_stage, model, given, wanted, **GPU, options={"preferredLayout": "NCHW"})["close"]


@pytest.mark.slow
@pytest.mark.usefixtures("chromium")
def test_a_real_model_on_webgpu(run_stage: RunStage, tmp_path: Path, shared_data: Path) -> None:
    model = shared_data / "onnx" / "mnist_cntk.onnx"
    given = samples(tmp_path, [drawn(onnx.load(model))])
    found = ran(run_stage, model, given, expected(run_stage, model, given), **GPU)
    assert (found["close"], list(found["placed"])) == (True, [WEBGPU])


def drawn(model: onnx.ModelProto) -> dict[str, Any]:
    draw, constant = np.random.Generator(np.random.PCG64(0)), {tensor.name for tensor in model.graph.initializer}
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.input if v.name not in constant}
    return {name: draw.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


MIXED = """(float[2,3] x, int64[2] k) => (float[2,3] y, int64[2] z) {
    [a] a = Relu(x)
    [f] b = local.twice(a)
    [h] h = Hardmax(b)
    [i] z = Add(k, k)
    [c] c = Constant<value = bool {1}>()
    [if] y = If(c)<
        then_branch = t() => (float[2,3] p) { [same] p = Sigmoid(h) },
        else_branch = e() => (float[2,3] q) { [same] q = Hardmax(h) }>
}"""
TWICE = '<domain: "local", opset_import: ["": 17]> twice (p) => (q) { s = Sigmoid(p) q = Add(s, p) }'


@pytest.fixture
def mixed(tmp_path: Path) -> dict[str, Path]:
    """A model that WebGPU takes in part, as inputs of a stage."""
    model = models.write(models.graph(MIXED, functions=TWICE, local=1), tmp_path / "m.onnx")
    return {"model": model, "samples": samples(tmp_path, [{"x": np.ones((2, 3), np.float32), "k": np.arange(2)}])}


@pytest.mark.usefixtures("chromium")
def test_options_that_did_not_arrive_are_named(run_stage: RunStage, mixed: Mapping[str, Path]) -> None:
    asked = {"enableInt64": True, "preferredLayout": "NCHW", "powerPreference": "low-power"}
    found = ran(run_stage, mixed["model"], mixed["samples"], **GPU, options=asked)
    assert found["runs"], found["error"]
    assert found["options"] == {"taken": ["preferredLayout"], "ignored": ["enableInt64"], "unseen": ["powerPreference"]}


# --- evidence ------------------------------------------------------------------------------------------------------


def asked(provider: str, version: str = VERSION) -> dict[str, Any]:
    return {"provider": {"name": provider, "options": {}}, "version": version, "session": models.SESSION}


@pytest.mark.usefixtures("chromium")
def test_each_node_is_told_where_it_ran_on_webgpu(run_stage: RunStage, mixed: Mapping[str, Path]) -> None:
    done = run_stage("evidence_web", "web", mixed, asked(WEBGPU))
    assert facts(done)["runs"], done.facts
    found = evidence.read(done.out / "evidence.json")
    assert [verdict.level for verdict in found.nodes] == ["runs", "runs", "unsupported", "unsupported", "runs", "unsupported"]
    assert found.nodes[2].why == "went to WebAssembly: WebGPU has no kernel for Hardmax of this opset and these types"
    assert "int64" in found.nodes[3].fix
    assert found.nodes[5].why == "nodes inside it went to WebAssembly: Hardmax"
    assert found.source.startswith("a session on WebGPU's software adapter: onnxruntime-web 1.30.0, chromium Chromium ")


def test_webassembly_runs_all_nodes_or_none(run_stage: RunStage, tmp_path: Path, mixed: Mapping[str, Path]) -> None:
    done = run_stage("evidence_web", "web", mixed, asked(WASM, "1.22.0"))
    assert facts(done)["levels"] == {"runs": 6}
    assert facts(done)["source"].endswith("(the fleet's oldest is 1.22.0)")
    unknown = models.graph("(float[2] x) => (float[2] y) { a = Relu(x) y = com.example.Odd(a) }", com_example=1)
    inputs = {"model": models.write(unknown, tmp_path / "u.onnx"), "samples": samples(tmp_path, [{"x": np.zeros(2, np.float32)}])}
    done = run_stage("evidence_web", "web", inputs, asked(WASM))
    assert facts(done)["levels"] == {"unsupported": 2}
    whys = [verdict.why for verdict in evidence.read(done.out / "evidence.json").nodes]
    assert all("com.example:Odd(-1) is not a registered function/op" in why for why in whys), whys
    done = run_stage("evidence_web", "web", inputs, asked("WebNNExecutionProvider"))
    assert evidence.read(done.out / "evidence.json").nodes[0].why == "not seen: onnxruntime-web has no WebNNExecutionProvider"


@pytest.mark.usefixtures("chromium")
def test_nodes_whose_layout_changes_keep_their_verdicts(run_stage: RunStage, tmp_path: Path) -> None:
    """WebGPU wants channels last: ONNX Runtime puts transposes around convolutions, which are nobody's nodes."""
    model = models.convnet(batch=2)
    model.graph.node[1].op_type = "Hardmax"
    inputs = {"model": models.write(model, tmp_path / "m.onnx"), "samples": samples(tmp_path, SAMPLES)}
    done = run_stage("evidence_web", "web", inputs, asked(WEBGPU))
    assert facts(done)["levels"] == {"runs": 4, "unsupported": 1}
    assert evidence.read(done.out / "evidence.json").nodes[1].level == "unsupported"


@pytest.mark.usefixtures("chromium")
def test_nodes_that_were_replaced_get_the_verdict_of_what_replaced_them(
    run_stage: RunStage, tmp_path: Path, shared_data: Path
) -> None:
    model = shared_data / "odd" / "qdq_conv.onnx"
    done = run_stage(
        "evidence_web", "web", {"model": model, "samples": samples(tmp_path, [drawn(onnx.load(model))])}, asked(WEBGPU)
    )
    assert facts(done)["levels"] == {"runs": 2, "unsupported": 1}
    first = evidence.read(done.out / "evidence.json").nodes[0]
    assert first.why == "went to WebAssembly: WebGPU has no kernel for QuantizeLinear of this opset and these types"


@pytest.mark.usefixtures("chromium")
def test_a_thousand_nodes_are_told_at_once(run_stage: RunStage, tmp_path: Path) -> None:
    lines = ["a0 = Relu(x)", *(f"a{i} = Add(a{i - 1}, x)" for i in range(1, 999)), "y = Identity(a998)"]
    model = models.write(models.graph(f"(float[2] x) => (float[2] y) {{ {' '.join(lines)} }}"), tmp_path / "m.onnx")
    inputs = {"model": model, "samples": samples(tmp_path, [{"x": np.ones(2, np.float32)}])}
    start = time.monotonic()
    assert facts(run_stage("evidence_web", "web", inputs, asked(WEBGPU)))["levels"] == {"runs": 1000}
    assert time.monotonic() - start < 30


# --- packages ------------------------------------------------------------------------------------------------------


def test_equal_models_give_equal_packages_which_name_what_is_installed(run_stage: RunStage, tmp_path: Path) -> None:
    made = [packaged(run_stage, models.write(models.convnet(), tmp_path / name / "m.onnx")) for name in ("a", "somewhere/else")]
    names = ["model.web.onnx", "model.web.ort", "web.json"]
    assert [[(one.out / name).read_bytes() for name in names] for one in made[:1]] == [
        [(one.out / name).read_bytes() for name in names] for one in made[1:]
    ]
    found = facts(made[0])
    assert json.loads((made[0].out / "web.json").read_text()) == found
    dist = web_runtime().interpreter.parents[1] / "node_modules" / "onnxruntime-web" / "dist"
    assert [file["name"] for file in found["files"]] == [
        "ort.webgpu.min.js", "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm",
    ]  # fmt: skip
    assert all(file["digest"] == digest(dist / file["name"]) for file in found["files"])
    assert all(file["digest"] == digest(made[0].out / file["name"]) for file in found["models"])
    assert found["session_options"]["graphOptimizationLevel"] == "all"
    assert found["session_options"]["executionProviders"] == [{"name": "webgpu"}, {"name": "wasm"}]
    assert found["features"] == {"simd": True, "threads": True, "waits": "asyncify"}
    assert found["headers"] == {}


def digest(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


@pytest.mark.parametrize(
    ("params", "what", "hint"),
    [
        ({"bundle": "ort.webgpu.js.map"}, "onnxruntime-web 1.30.0 has no ort.webgpu.js.map", ""),
        ({"bundle": "../package.json"}, "onnxruntime-web 1.30.0 has no ../package.json", ""),
        ({"bundle": "ort.wasm.min.js"}, "ort.wasm.min.js has no WebGPU", 'set bundle = "ort.webgpu.min.js"'),
        (
            {"providers": [{"name": "WebNNExecutionProvider", "options": {}}]},
            "onnxruntime-web has no WebNNExecutionProvider",
            "use ",
        ),
    ],
)
def test_a_package_that_cannot_be_is_refused(
    run_stage: RunStage, tmp_path: Path, params: dict[str, Any], what: str, hint: str
) -> None:
    done = packaged(run_stage, models.write(models.convnet(), tmp_path / "m.onnx"), format="onnx", **params)
    assert done.refused, done.error or done.facts
    assert done.refused["what"] == what
    assert done.refused["hint"].startswith(hint)


# --- the browser ---------------------------------------------------------------------------------------------------


def web_runtime() -> Runtime:
    return runtime.ensure(runtime.find("web", [ROOT / "runtimes"]), user_cache().runtimes)


def prepared(folder: Path, stage: str, params: Mapping[str, Any]) -> Path:
    """The folder of a step, ready to run."""
    inputs = {"model": models.write(models.convnet(), folder / "m.onnx"), "samples": samples(folder, SAMPLES)}
    paths = {name: f"in/{name}/{path.name}" for name, path in inputs.items()}
    step = folder / "step"
    step.mkdir()
    prepare(step, stage, paths, {paths[name]: copy_from(path) for name, path in inputs.items()}, params)
    return step


@pytest.mark.parametrize(("stage", "params"), [("web_run", RUN | GPU), ("evidence_web", asked(WEBGPU))])
def test_without_chromium_nothing_is_claimed(tmp_path: Path, stage: str, params: dict[str, Any]) -> None:
    step = prepared(tmp_path, stage, params)
    (tmp_path / "empty").mkdir()
    env = environment(step) | {"PATH": str(tmp_path / "empty")}
    done = subprocess.run([web_runtime().interpreter, "-s", "-m", "stages.lib.worker"], cwd=step, env=env, check=False)
    assert done.returncode == 0
    found = json.loads((step / "result.json").read_text())["facts"]
    assert found["ran"] is False
    assert (found["why"], found["hint"]) == ("chromium is not installed", "apt-get install chromium")
    if stage == "evidence_web":
        nodes = evidence.read(step / "out" / "evidence.json").nodes
        assert {(node.level, node.why) for node in nodes} == {("unsupported", "not seen: chromium is not installed")}


WHOLE = 5
"""Processes of a browser that shows a page: itself, two to start others, one for the GPU, one for the network."""


def browsers(step: Path) -> int:
    """How many processes a step's browser consists of: they share the step's home."""
    found = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            program = str((process / "exe").readlink())
            words = (process / "cmdline").read_text(errors="replace") + (process / "environ").read_text(errors="replace")
        except OSError:
            continue
        found += program.startswith("/usr/lib/chromium/") and f"{step}/" in words
    return found


def waited(least: int, step: Path, limit: float = 15) -> bool:
    """Whether the browser comes to have so many processes; for 0, whether all of them end."""
    end = time.monotonic() + limit
    while not (good := browsers(step) >= least if least else not browsers(step)) and time.monotonic() < end:
        time.sleep(0.02)
    return good


@pytest.mark.usefixtures("chromium")
def test_a_step_that_is_ended_takes_its_browser_along(tmp_path: Path) -> None:
    step, place = prepared(tmp_path, "web_run", RUN | GPU), Local()
    with ThreadPoolExecutor() as pool:
        running = pool.submit(place.run, step, web_runtime().interpreter, 60)
        assert waited(WHOLE, step)
        place.stop()
        with pytest.raises(StepError, match="was stopped"):
            running.result()
    assert waited(0, step)


@pytest.mark.usefixtures("chromium")
def test_a_browser_does_not_outlive_the_process_that_started_it(tmp_path: Path) -> None:
    step = prepared(tmp_path, "web_run", RUN | GPU)
    worker = subprocess.Popen([web_runtime().interpreter, "-s", "-m", "stages.lib.worker"], cwd=step, env=environment(step))
    assert waited(WHOLE, step)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    assert waited(0, step)

"""What devices add to a build: gates of facts, names of engines, and what is read of ONNX without its package."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from conftest import ROOT
from ortolan.artifact import FP32, Gate, Outcome
from ortolan.errors import StepError
from ortolan.execute import Result
from ortolan.gates import device as judge
from ortolan.ondevice.devices import Absent, Device
from ortolan.ondevice.engines import Engine, _mark
from ortolan.ondevice.there import There, Visit, Visits, _failed
from ortolan.place import Host, HostError
from ortolan.plan import Shipment
from ortolan.recipe.fleet import NamedDevice
from ortolan.recipe.project import Project
from ortolan.sources import Job, job
from ortolan.stages.lib import onnx_head
from ortolan.stages.lib.kit import build_engine
from ortolan.store import Action, Output

PASS, FAIL, NOT_RUN = Outcome.PASS, Outcome.FAIL, Outcome.NOT_RUN
FACTS: dict[str, Any] = {
    "limits": [], "offered": ["CPUExecutionProvider"], "registered": ["CPUExecutionProvider"], "placed": None, "ort": None,
    "onnx": {"opens": True, "runs": True, "error": "", "close": True, "outputs": {"y": {"max_abs": 0.0, "close": True}}},
}  # fmt: skip


NOBODY: Host = SimpleNamespace()  # type: ignore[assignment]  # nothing is asked of it
PI = Device(NamedDevice("pi5", "pi@pi5"), NOBODY, {})


@pytest.fixture(scope="module")
def pi() -> Job:
    project = Project(ROOT)
    return job(project.model("digits-mlp"), project.target("raspberry-pi-5"))


def result(facts: Mapping[str, Any] | None = None, *, outputs: Mapping[str, Output] = {}, **more: Any) -> Result:
    action = Action("key:0", {}, dict(outputs), dict(facts), None) if facts is not None else None
    return Result(SimpleNamespace(label="step"), action, **more)  # type: ignore[arg-type]


def outcomes(gates: list[Gate]) -> dict[str, Outcome]:
    return {gate.name: gate.outcome for gate in gates}


# --- gates ---------------------------------------------------------------------------------------------------------------


def checked(pi: Job, facts: Mapping[str, Any], precision: Any = FP32) -> dict[str, Gate]:
    return {
        gate.name.partition("@")[0]: gate
        for gate in judge.checked("pi5", "Raspberry Pi 5", pi, "1.31.1", result(facts), precision)
    }


def test_what_runs_there_as_here_passes(pi: Job) -> None:
    found = checked(
        pi,
        FACTS
        | {
            "offered": ["XnnpackExecutionProvider", "CPUExecutionProvider"],
            "registered": ["XnnpackExecutionProvider", "CPUExecutionProvider"],
            "placed": {"XnnpackExecutionProvider": 3, "CPUExecutionProvider": 4},
        },
    )
    assert {name: gate.outcome for name, gate in found.items()} == {"load": PASS, "golden": PASS, "providers": PASS}
    assert found["load"].name == "load@1.31.1 pi5"
    assert found["load"].measured == "runs on Raspberry Pi 5"


def test_what_does_not_open_there_fails_with_its_words(pi: Job) -> None:
    found = checked(
        pi,
        FACTS
        | {"onnx": {"opens": False, "runs": False, "error": "no such operator", "close": False, "outputs": {}}, "registered": []},
    )
    assert (found["load"].outcome, found["load"].why) == (FAIL, "no such operator")
    assert found["golden"].outcome is NOT_RUN
    assert found["providers"].outcome is NOT_RUN
    assert found["providers"].why.startswith("the model does not open there; XnnpackExecutionProvider: not in the device's")


def test_a_runtime_that_does_not_tell_where_nodes_run_shows_nothing_of_a_provider(pi: Job) -> None:
    """As ONNX Runtime before 1.24; the processor alone needs no telling, and ``on-device`` is about the results."""
    both = {"offered": (names := ["XnnpackExecutionProvider", "CPUExecutionProvider"]), "registered": names}
    found = judge.checked("pi5", "a Pi", pi, "1.20.1", result(FACTS | both), FP32)
    assert outcomes(found) == {"load@1.20.1 pi5": PASS, "golden@1.20.1 pi5": PASS, "providers@1.20.1 pi5": NOT_RUN}
    assert found[-1].why == "XnnpackExecutionProvider: onnxruntime 1.20.1 does not tell which nodes it took"
    assert not _failed(found, PI)
    project = Project(ROOT)
    alone = job(project.model("digits-mlp"), project.target("x86-cpu"))
    assert judge.checked("pc", "a PC", alone, "1.20.1", result(FACTS), FP32)[-1].outcome is PASS


def test_a_provider_that_is_not_there_is_named_and_one_that_does_not_start_fails(pi: Job) -> None:
    absent = checked(pi, FACTS)["providers"]
    assert absent.outcome is NOT_RUN
    assert "XnnpackExecutionProvider: not in the device's ONNX Runtime: every node runs on the CPU" in absent.why
    dead = checked(pi, FACTS | {"offered": ["XnnpackExecutionProvider", "CPUExecutionProvider"]})["providers"]
    assert dead.outcome is FAIL
    assert "does not start" in dead.why
    both = ["XnnpackExecutionProvider", "CPUExecutionProvider"]
    idle = checked(pi, FACTS | {"offered": both, "registered": both, "placed": {"CPUExecutionProvider": 7}})["providers"]
    assert (idle.outcome, idle.why) == (NOT_RUN, "XnnpackExecutionProvider: is there, and took no node")


@pytest.mark.parametrize(("precision", "provider", "decibels", "outcome"), [
    (FP32, "CPUExecutionProvider", 60.0, FAIL), (FP32, "CUDAExecutionProvider", 60.0, PASS),
    ("int8", "CPUExecutionProvider", 60.0, PASS), ("int8", "CPUExecutionProvider", 12.0, FAIL),
    (FP32, "CUDAExecutionProvider", None, FAIL),
])  # fmt: skip
def test_only_fewer_bits_and_accelerators_may_round(
    pi: Job, precision: Any, provider: str, decibels: float, outcome: Outcome
) -> None:
    far = {"max_abs": 0.1, "snr_db": decibels, "close": False, "reason": "1 of 2 values beyond tolerance"}
    onnx_facts = FACTS["onnx"] | {"close": False, "outputs": {"y": far}}
    assert checked(pi, FACTS | {"onnx": onnx_facts, "registered": [provider]}, precision)["golden"].outcome is outcome


def test_an_ort_file_that_differs_there_fails(pi: Job) -> None:
    far = {"max_abs": 9.0, "snr_db": 1.0, "close": False, "reason": "differs"}
    ort = {"runs": True, "close": False, "outputs": {"y": far}, "against": "optimised", "error": ""}
    assert checked(pi, FACTS | {"ort": ort})["ort"].outcome is FAIL
    assert checked(pi, FACTS | {"ort": ort | {"close": True}})["ort"].outcome is PASS
    assert checked(pi, FACTS | {"ort": ort | {"runs": False, "error": "verification failed"}})["ort"].why == "verification failed"


def test_a_step_without_a_result_says_why_and_what_to_do(pi: Job) -> None:
    lost = HostError("the connection was lost", where="pi@pi5", why="Connection reset", hint="run it again")
    for error, why in (
        (lost, "the connection was lost; Connection reset; run it again"),
        (StepError("killed", why="a\nlog"), "killed"),
    ):
        (gate,) = judge.checked("pi5", "a Pi", pi, "1.31.1", result(error=error), FP32)
        assert (gate.name, gate.outcome, gate.why) == ("load@1.31.1 pi5", FAIL, why)


def test_on_device_passes_only_where_a_device_ran_it_all() -> None:
    gates = [Gate("size", "shipped", PASS), Gate("on-device", "shipped", NOT_RUN, "emulated: 1.20.1", why="not seen")]
    assert judge.summed_up(gates, []) == gates
    told = judge.summed_up(gates, ["Raspberry Pi 5 (pi5, onnxruntime 1.31.1)"])[-1]
    assert (told.outcome, told.measured) == (PASS, "ran on Raspberry Pi 5 (pi5, onnxruntime 1.31.1); emulated: 1.20.1")


def test_an_emulated_machine_is_no_device(pi: Job) -> None:
    """It is visited as one, and shows results; ``on-device`` stays what it was."""
    about = {
        "board": "",
        "system": "Debian",
        "kernel": "Linux 6",
        "machine": "aarch64",
        "bits": 64,
        "python": {"version": "3.11.2", "path": ""},
    }
    there: Host = SimpleNamespace()  # type: ignore[assignment]  # nothing is asked of it
    ran = {"onnxruntime": {"version": "1.31.1", "why": ""}, "packages": {}}
    gates = [Gate("on-device", "shipped", NOT_RUN, why="not seen")]
    for host, outcome in (("pi@pi5", PASS), ("emulated", NOT_RUN)):
        visit = Visit(Device(NamedDevice("one", host), there, about | ran), (), None)
        assert Visits([visit], []).judged(pi, gates, {}, FP32)[-1].outcome is outcome


def test_a_device_of_another_target_is_said_to_be_one(pi: Job) -> None:
    """As ``--host all`` names it; nothing is done there, and ``on-device`` stays what it was."""
    about = {"machine": "aarch64", "bits": 64, "kernel": "Linux 6", "onnxruntime": {"version": "1.31.1", "why": ""}}
    orin = Device(NamedDevice("orin", "nvidia@orin", target="jetson-orin"), NOBODY, about)
    gates = [Gate("size", "shipped", PASS), Gate("on-device", "shipped", NOT_RUN, why="not seen")]
    ship: Shipment = SimpleNamespace(verify={}, made=[None] * len(pi.target.recipe.outputs.tables()))  # type: ignore[assignment]  # no device is there for it
    visits = There([orin]).plan(pi, ship, "tag")
    assert visits.steps() == []
    found = visits.judged(pi, gates, {}, FP32)
    assert [gate.name for gate in found] == ["size", "device orin", "on-device"]
    assert (found[1].outcome, found[2]) == (NOT_RUN, gates[1])
    assert found[1].why == "is a jetson-orin (recipes/fleet.toml), not raspberry-pi-5: nothing was sent there"


def test_one_of_several_that_does_not_answer_fails_and_stops_no_other(pi: Job) -> None:
    lost = HostError("it does not answer", where="pi@pi5", why="timed out", hint="is the device on?")
    there = There([Absent(NamedDevice("gone", "pi@pi5"), lost), Absent(NamedDevice("orin", "o", target="jetson-orin"), lost)])
    ship: Shipment = SimpleNamespace(verify={}, made=[None] * len(pi.target.recipe.outputs.tables()))  # type: ignore[assignment]  # no device is there for it
    gates = [Gate("engine", "shipped", NOT_RUN), Gate("on-device", "shipped", NOT_RUN, why="not seen")]
    found = {gate.name: gate for gate in there.plan(pi, ship, "tag").judged(pi, gates, {}, FP32)}
    assert found["device gone"].outcome is FAIL
    assert found["device gone"].why == "it does not answer; timed out; is the device on?"
    assert found["device orin"].outcome is NOT_RUN, "of another target, it has nothing to answer"
    assert found["engine"].why == "gone did not answer: see its gate"
    assert found["on-device"] == gates[-1]
    assert there.mark(pi) == ""


def test_what_identifies_a_device_is_all_that_it_says() -> None:
    about = ORIN | {"machine": "aarch64", "processor": "", "python": {"path": "/a/python", "version": "3.10"}, "packages": {}}
    told = about | {"onnxruntime": {"version": "1.20.1"}, "board": "", "system": "", "kernel": "Linux 6", "unit": "1"}
    there: Host = SimpleNamespace()  # type: ignore[assignment]  # nothing is asked of it
    other: list[dict[str, Any]] = [
        {},
        {"python": {"path": "/b", "version": "3.10"}},
        {"unit": "2"},
        {"kernel": "Linux 7"},
        {"gpu": {}},
        {"driver": "NVRM version: 570"},
    ]
    keys = [Device(NamedDevice("one", "one"), there, told | more).runtime.fingerprint for more in other]
    assert len(set(keys)) == len(keys)


# --- engines -------------------------------------------------------------------------------------------------------------

ORIN: dict[str, Any] = {
    "libraries": {"tensorrt": {"version": "10.3.0.30", "by": "python", "why": ""}, "tensorrt_rtx": {"version": "1.7.1.116"}},
    "gpu": {"gpu": "Orin (nvgpu)", "compute_capability": "8.7", "multiprocessors": 16, "cuda": "12.6", "why": ""},
    "jetson": {"linux": "36.4.3", "jetpack": "6.2-b77"},
}  # fmt: skip


@pytest.fixture
def orin() -> Device:
    host: Host = SimpleNamespace()  # type: ignore[assignment]  # nothing is asked of it
    return Device(NamedDevice("orin", "nvidia@orin"), host, ORIN)


def test_a_jetsons_engine_bears_gpu_capability_tensorrt_cuda_and_jetpack(orin: Device) -> None:
    mark = "orin-nvgpu-sm87-16sms-trt10.3.0-cuda12.6-jp6.2"
    assert _mark(orin, "tensorrt", "") == mark
    one = Engine(orin, "tensorrt", "TensorrtExecutionProvider", "", mark, None)
    assert one.file == f"model-{mark}.engine"
    assert one.about == {
        "tensorrt": "10.3.0", "compute_capability": "8.7", "gpu": "orin-nvgpu-sm87-16sms", "cuda": "12.6",
        "jetson_linux": "36.4.3", "jetpack": "6.2",
    }  # fmt: skip
    assert one.wanted == {"TensorRT": "10.3.0", "device": "orin-nvgpu-sm87-16sms"}
    assert _mark(orin, "tensorrt_rtx", "sm86") == "sm86-trtrtx1.7.1.116"


def engine(**more: Any) -> Result:
    facts = {
        "engine": {"sha256": "ab", "size": 3}, "tensorrt": "10.3.0.30", "device_text": "orin-nvgpu-sm87-16sms",
        "built_by": "trtexec",
    }  # fmt: skip
    return result(facts | more, outputs={"model.engine": Output("sha256:ab", 3)})


def test_an_engine_is_what_its_record_says_or_fails(orin: Device) -> None:
    wanted = Engine(orin, "tensorrt", "", "", "", None).wanted
    assert judge.built("engine orin", "Orin", wanted, engine()).outcome is PASS
    for more, why in (
        ({"engine": {"sha256": "cd", "size": 3}}, "its record is of another file"),
        ({"engine": {"sha256": "ab", "size": 4}}, "its record is of another file"),
        ({"tensorrt": "10.7.0"}, "TensorRT is 10.7.0, and was 10.3.0 when the build began"),
        ({"device_text": "orin-nvgpu-sm87-8sms"}, "device is orin-nvgpu-sm87-8sms"),
    ):
        gate = judge.built("engine orin", "Orin", wanted, engine(**more))
        assert gate.outcome is FAIL
        assert why in gate.why


def test_timings_of_another_device_are_refused(tmp_path: Path) -> None:
    """As TensorRT documents it: ``set_timing_cache`` says False where the cache is of another TensorRT or GPU."""
    path = tmp_path / "timing.cache"
    path.write_bytes(b"of another")
    for cache, taken in ((None, True), (object(), False)):
        config = SimpleNamespace(
            create_timing_cache=lambda _, cache=cache: cache, set_timing_cache=lambda *_, taken=taken, **__: taken
        )
        with pytest.raises(
            build_engine.BuildError, match=r"does not take timing.cache: timings hold for one TensorRT on one GPU"
        ):
            build_engine._timings(config, path)


# --- ONNX without onnx ---------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["ai.onnx", "ai.onnx.ml", "com.microsoft", "an.other"])


@given(ir=st.integers(1, 2**31), opsets=st.dictionaries(NAMES, st.integers(0, 2**40), min_size=1))
def test_a_model_of_one_node_is_what_onnx_reads(
    tmp_path_factory: pytest.TempPathFactory, ir: int, opsets: dict[str, int]
) -> None:
    data = onnx_head.relu(ir, opsets)
    model = onnx.load(io.BytesIO(data))
    assert model.ir_version == ir
    assert {entry.domain or "ai.onnx": entry.version for entry in model.opset_import} == opsets
    assert [node.op_type for node in model.graph.node] == ["Relu"]
    path = tmp_path_factory.mktemp("models") / "m.onnx"
    path.write_bytes(data)
    assert onnx_head.versions(path) == (ir, dict(sorted(opsets.items())))


@pytest.mark.parametrize("name", ["digits-mlp.onnx"])
def test_a_real_models_versions_are_those_that_onnx_reads(name: str) -> None:
    path = ROOT / "recipes" / "models" / name
    model = onnx.load(path)
    assert onnx_head.versions(path) == (
        model.ir_version,
        {entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
    )


@given(st.binary(max_size=60))
@example(b"\x42\x80\x80\x80\x80\x5f")  # an opset of 25 GB
@example(b"\x3a" + b"\x80" * 9 + b"\x01")  # a graph of 2**63 bytes
def test_what_is_no_model_is_a_value_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("bytes") / "m.onnx"
    path.write_bytes(data)
    try:
        _, opsets = onnx_head.versions(path)
    except ValueError:
        return
    assert opsets

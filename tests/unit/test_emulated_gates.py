"""The gates of the emulated ARM, each seen good and bad, from facts as ``verify`` leaves them."""

from __future__ import annotations

from typing import Any

import pytest

import fakes
from conftest import ROOT
from ortolan import emulation
from ortolan.artifact import SHIPPED, Gate, Outcome
from ortolan.emulation import Emulation
from ortolan.errors import StepError
from ortolan.execute import Result
from ortolan.gates.emulated import emulated
from ortolan.platforms import host_platform
from ortolan.recipe.project import Project
from ortolan.sources import Job, job
from ortolan.store import Action

PASS, FAIL, NOT_RUN = Outcome.PASS, Outcome.FAIL, Outcome.NOT_RUN
CLOSE = {"max_abs": 1e-7, "max_rel": 1e-6, "snr_db": 120.0, "nan": 0, "close": True, "reason": ""}
ROUNDED = CLOSE | {"max_abs": 0.01, "snr_db": 38.0, "close": False, "reason": "3 of 10 values beyond tolerance"}
WRONG = ROUNDED | {"max_abs": 4.0, "snr_db": 3.0}
RUNS: dict[str, Any] = {"opens": True, "runs": True, "error": "", "outputs": {"y": CLOSE}, "close": True}
REFUSED: dict[str, Any] = {"opens": False, "runs": False, "error": "no kernel for Sin(7)", "outputs": {}, "close": False}
ORT = RUNS | {"against": "optimised"}
FACTS: dict[str, Any] = {
    "runtime": "1.20.1", "arch": "aarch64", "limits": [], "offered": ["AzureExecutionProvider", "CPUExecutionProvider"],
    "providers": {"available": ["CPUExecutionProvider"], "missing": []}, "placed": None, "onnx": RUNS, "ort": ORT,
}  # fmt: skip
STEP = fakes.write("x")


def outputs(output: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Facts of a file that ran and gave this."""
    return RUNS | {"outputs": {"y": output}, "close": output["close"]} | more


def for_target(name: str) -> Job:
    """The model that needs least, for a target."""
    project = Project(ROOT)
    return job(project.model("digits-mlp"), project.target(name))


def judged(result: Result, target: str = "arm64-cpu", precision: str = "fp32") -> dict[str, Gate]:
    """The gates of version 1.20.1, by the part of the name before it."""
    return {gate.name.partition("@")[0]: gate for gate in emulated(for_target(target), "1.20.1", result, precision)}


def of(facts: dict[str, Any]) -> Result:
    """A step that left facts."""
    return Result(STEP, Action("key:0", {}, {}, FACTS | facts, None))


def test_what_is_well_passes() -> None:
    found = judged(of({}))
    assert {name: gate.outcome for name, gate in found.items()} == dict.fromkeys(("load", "golden", "ort", "providers"), PASS)
    assert {gate.name for gate in found.values()} == {f"{name}@1.20.1 arm64" for name in found}
    assert {gate.subject for gate in found.values()} == {SHIPPED}
    assert found["providers"].measured == "the wheel offers Azure, CPU"


@pytest.mark.parametrize(
    ("name", "precision", "facts", "outcome", "words"),
    [
        ("load", "fp32", {"onnx": REFUSED}, FAIL, "no kernel for Sin(7)"),
        ("load", "fp32", {"onnx": REFUSED, "limits": ["opset 24 is above 21"]}, FAIL, "opset 24 is above 21; no kernel"),
        ("golden", "fp32", {"onnx": REFUSED}, NOT_RUN, "the model did not run"),
        ("golden", "fp32", {"onnx": outputs(WRONG)}, FAIL, "y: 3 of 10 values beyond tolerance"),
        ("golden", "fp32", {"onnx": outputs(ROUNDED)}, FAIL, "beyond tolerance"),
        ("golden", "int8", {"onnx": outputs(ROUNDED)}, PASS, ""),
        ("golden", "int8", {"onnx": outputs(WRONG)}, FAIL, "beyond tolerance"),
        ("ort", "fp32", {"ort": REFUSED | {"against": "optimised"}}, FAIL, "no kernel for Sin(7)"),
        ("ort", "fp32", {"ort": outputs(ROUNDED, against="optimised")}, FAIL, "beyond tolerance"),
        ("ort", "int8", {"ort": outputs(ROUNDED, against="optimised")}, PASS, ""),
        ("ort", "int8", {"ort": outputs(WRONG, against="optimised")}, FAIL, "beyond tolerance"),
    ],
)
def test_what_is_not_well_is_said(name: str, precision: str, facts: dict[str, Any], outcome: Outcome, words: str) -> None:
    gate = judged(of(facts), precision=precision)[name]
    assert gate.outcome is outcome
    assert words in gate.why


def test_without_an_ort_file_nothing_is_said_of_one() -> None:
    assert "ort" not in judged(of({"ort": None}))


def test_a_provider_that_the_wheel_lacks_is_no_silent_fall_to_the_cpu() -> None:
    gate = judged(of({}), "raspberry-pi-5")["providers"]
    assert gate.outcome is NOT_RUN
    assert "no XnnpackExecutionProvider in the aarch64 wheel of onnxruntime 1.20.1" in gate.why
    assert "every node runs on the CPU on the device" in gate.why
    assert '"--use_xnnpack"] } gives the script that builds' in gate.why


def test_a_wheel_that_has_it_passes() -> None:
    assert (
        judged(of({"offered": ["XnnpackExecutionProvider", "CPUExecutionProvider"]}), "raspberry-pi-5")["providers"].outcome
        is PASS
    )


@pytest.mark.parametrize(
    ("target", "words"),
    [("arm-acl", "build_onnxruntime.sh of this build"), ("jetson-orin", "the target's package is onnxruntime-gpu")],
)
def test_what_to_do_depends_on_what_the_recipe_says_already(target: str, words: str) -> None:
    assert words in judged(of({}), target)["providers"].why


def test_a_model_that_takes_too_long_was_not_seen() -> None:
    late = StepError("the step's process was still running after its time limit of 300 s and was ended")
    (gate,) = judged(Result(STEP, error=late)).values()
    assert (gate.outcome, gate.measured) == (NOT_RUN, "")
    assert "takes too long under emulation" in gate.why


@pytest.mark.parametrize(
    "result",
    [
        Result(STEP, error=StepError("the step's process died of signal 11 (SIGSEGV)", why="it printed nothing")),
        Result(STEP, Action("key:0", {}, {}, {}, {"what": "no", "why": "", "hint": ""})),
        Result(STEP, skipped=STEP),
    ],
)
def test_a_crash_there_fails(result: Result) -> None:
    (gate,) = judged(result).values()
    assert (gate.name, gate.outcome) == ("load@1.20.1 arm64", FAIL)
    assert gate.why


# --- what became of emulation as a whole ------------------------------------------------------------------------------

DEVICE = Gate("on-device", SHIPPED, NOT_RUN, why="all of this was seen on linux/amd64, not on linux/arm64")
SIZE = Gate("size", SHIPPED, PASS)
elsewhere = pytest.mark.skipif(host_platform() == emulation.PLATFORM, reason="no emulated ARM here: this is one")


@elsewhere
def test_the_device_gate_tells_what_was_emulated_and_what_not() -> None:
    found = Emulation(missing={"onnxruntime-1.31.1@arm64": "uv failed: no wheel"}).judged(
        for_target("arm64-cpu"), [SIZE, DEVICE], {"1.20.1": STEP}, {STEP.id: of({})}, "fp32"
    )
    assert [gate.name for gate in found][-2:] == ["load@1.31.1 arm64", "on-device"]
    assert (found[-2].outcome, found[-2].why) == (NOT_RUN, "uv failed: no wheel")
    assert (found[-1].outcome, found[-1].measured) == (NOT_RUN, "emulated: 1.20.1")
    assert "speed" in found[-1].why


LATE = Result(STEP, error=StepError("the step's process was still running after its time limit of 300 s and was ended"))
CRASH = Result(STEP, error=StepError("the step's process died of signal 11 (SIGSEGV)"))


@elsewhere
@pytest.mark.parametrize(
    ("older", "newer", "measured", "why"),
    [
        (of({}), LATE, "emulated: 1.20.1", "speed, memory"),
        (CRASH, of({}), "emulated: 1.31.1", "speed, memory"),
        (LATE, LATE, "", "not on linux/arm64; the model takes too long under emulation"),
        (CRASH, CRASH, "", "not on linux/arm64; see load@1.20.1 arm64"),
    ],
)
def test_a_version_whose_check_was_given_up_was_not_emulated(older: Result, newer: Result, measured: str, why: str) -> None:
    later = fakes.write("y")
    checks, results = {"1.20.1": STEP, "1.31.1": later}, {STEP.id: older, later.id: newer}
    found = Emulation().judged(for_target("arm64-cpu"), [SIZE, DEVICE], checks, results, "fp32")
    assert (found[-1].name, found[-1].outcome, found[-1].measured) == ("on-device", NOT_RUN, measured)
    assert why in found[-1].why


@elsewhere
def test_where_nothing_could_be_emulated_the_device_gate_says_why() -> None:
    lacking = dict.fromkeys(("onnxruntime-1.20.1@arm64", "onnxruntime-1.31.1@arm64"), "no qemu; apt-get install qemu-user-static")
    found = Emulation(missing=lacking).judged(for_target("arm64-cpu"), [SIZE, DEVICE], {}, {}, "fp32")
    assert found[:-1] == [SIZE]
    assert found[-1].why == f"{DEVICE.why}; no qemu; apt-get install qemu-user-static"
    assert not emulation.unreached(found)


def test_switched_off_nothing_is_added() -> None:
    assert Emulation().judged(for_target("arm64-cpu"), [SIZE, DEVICE], {}, {}, "fp32") == [SIZE, DEVICE]


def test_what_could_not_be_fetched_may_be_had_next_time() -> None:
    assert emulation.unreached([Gate("on-device", SHIPPED, NOT_RUN, why="x; apt-get failed: no network")])


@pytest.mark.parametrize("target", ["x86-cpu", "android-arm64", "web"])
def test_other_platforms_are_not_emulated(target: str) -> None:
    assert not emulation.wanted(for_target(target))

"""The gates of what a C program saw of a reduced runtime, and the runtime that a build takes in or refuses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ortolan import carried, plan
from ortolan.artifact import SHIPPED, Gate, Outcome
from ortolan.errors import OrtolanError, StepError
from ortolan.execute import Result
from ortolan.gates import carried as gates
from ortolan.outputs.reduced_library import FUSIONS, PROVIDERS, Wanted, asked_by, fits, judged, newest
from ortolan.recipe.outputs import Outputs, ReducedRuntime
from ortolan.recipe.project import Project
from ortolan.reduced.check import misfits
from ortolan.sources import Job, job
from ortolan.step import Step, tree
from ortolan.store import Action
from reduced_results import facts, put

PROJECT = Project(Path(__file__).parents[2])
PASS, FAIL, NOT_RUN = Outcome.PASS, Outcome.FAIL, Outcome.NOT_RUN
STEP = Step("reduced_outside", "here", {"operator": "Cos", "opset": 17}, {}, "run")  # stands for the one that ran
READ = dict.fromkeys(("program", "model", "golden", "library"), tree({"it": Path(__file__)}, single=True))
BESIDE = Step("reduced_beside", "here", {"max_session": 0.6, "max_latency": 1.1, "slack_us": 10.0}, READ, "run")
HEAD = "ONNX Runtime 1.21.0 with CPUExecutionProvider, golden samples of 1.20.1\n"
SAID = HEAD + "sample 0, run 1\n  y: equal\nsample 0, run 2\n  y: near, largest error 2e-07\nall golden samples agree"
GOOD = {"code": 0, "said": SAID, "errors": ""}
SIN = "cannot load the model: Could not find an implementation for Sin(7) node with name 'outside'"
REFUSED = {"code": 1, "said": "FAILED", "errors": SIN}
NOISE = {
    "session": 0.54, "session_stock": 0.50, "session_reduced": 0.27, "latency": 1.02, "latency_stock": 80.0,
    "latency_reduced": 81.6, "pairs": 7,
}  # fmt: skip
"""What a real library of 1.21.0 was seen to do beside the stock one, and less."""


def result(told: Mapping[str, Any]) -> Result:
    return Result(STEP, Action("key:0", {}, {}, told, None))


def of_run(golden: Mapping[str, Any] = GOOD, outside: Mapping[str, Any] | None = REFUSED) -> dict[str, Gate]:
    found = gates.ran({STEP.id: result({"golden": golden, "outside": outside})}, STEP, "Sin", " on emulated linux/arm64")
    return {one.name: one for one in found}


def test_samples_that_agree_are_counted_with_their_largest_error() -> None:
    gate = of_run()[gates.GOLDEN]
    assert gate.outcome is PASS
    assert gate.measured == "2 outputs, largest error 2e-07, ONNX Runtime 1.21.0 beside 1.20.1 on emulated linux/arm64"


@pytest.mark.parametrize(
    ("told", "measured", "why"),
    [
        ({"code": 1, "said": "FAILED", "errors": SIN}, "failed", "Could not find an implementation for Sin(7)"),
        (
            {"code": 1, "said": HEAD + "  y: DIFFERS, largest error 0.5\nFAILED", "errors": ""},
            "samples differ",
            "y: DIFFERS, largest error 0.5",
        ),
        ({"code": -6, "said": "", "errors": "terminate called"}, "died of SIGABRT", "terminate called"),
        ({"code": -11, "said": "", "errors": ""}, "died of SIGSEGV", ""),
        ({"code": None, "said": "", "errors": "still running after 240 s"}, "was ended", "still running"),
        ({"code": 0, "said": "all golden samples agree", "errors": ""}, "ran", ""),
        ({"code": 0, "said": HEAD + "all golden samples agree", "errors": ""}, "0 outputs", "did not say"),
        ({"code": 0, "said": HEAD + "sample 0, run 1\n  y: equal\n", "errors": ""}, "1 outputs", "did not say"),
    ],
)
def test_samples_that_do_not_agree_fail_with_the_programs_words(told: Mapping[str, Any], measured: str, why: str) -> None:
    gate = of_run(golden=told)[gates.GOLDEN]
    assert (gate.outcome, gate.measured) == (FAIL, measured)
    assert why in gate.why


def test_a_model_outside_is_refused_in_the_runtimes_own_words() -> None:
    gate = of_run()[gates.REFUSES]
    assert (gate.outcome, gate.measured) == (PASS, "Could not find an implementation for Sin(7) node with name 'outside'")


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"code": 1, "said": "FAILED", "errors": "this file is not the model: it has 'x' for 'image'"}, "not the model"),
        ({"code": 0, "said": "all golden samples agree", "errors": ""}, "a model with Sin was taken"),
        ({"code": -6, "said": "", "errors": f"terminate called; {SIN}"}, "terminate called"),
        ({"code": 1, "said": "FAILED", "errors": "cannot load the model: out of memory"}, "out of memory"),
    ],
)
def test_a_model_outside_that_is_taken_or_ends_the_program_fails(told: Mapping[str, Any], words: str) -> None:
    gate = of_run(outside=told)[gates.REFUSES]
    assert gate.outcome is FAIL
    assert words in gate.why


def test_a_library_that_holds_every_operator_has_none_to_refuse() -> None:
    assert of_run(outside=None)[gates.REFUSES].outcome is NOT_RUN


def test_without_a_compiler_nothing_was_seen_and_a_broken_step_is_a_failure() -> None:
    refused = {"what": "there is no gcc here", "why": "", "hint": "apt-get install gcc"}
    culprit = Step("reduced_outside", "here", {"operator": "Sin", "opset": 17}, {}, "outside")
    missing = {
        STEP.id: Result(STEP, skipped=culprit),
        culprit.id: Result(culprit, Action("key:1", {}, {}, {}, refused)),
    }
    assert {one.outcome for one in gates.ran(missing, STEP, "Sin", "")} == {NOT_RUN}
    assert all("apt-get install gcc" in one.why for one in gates.ran(missing, STEP, "Sin", ""))
    assert "there is no gcc here" in gates.timed(missing | {BESIDE.id: missing[STEP.id]}, BESIDE).why
    broken = {STEP.id: Result(STEP, error=StepError("was killed", why="no memory"))}
    assert {one.outcome for one in gates.ran(broken, STEP, "Sin", "")} == {FAIL}
    assert {one.outcome for one in gates.unrun("no qemu", "no speed")} == {NOT_RUN}


@pytest.mark.parametrize(("slow", "outcome"), [((), PASS), (("session",), FAIL), (("latency",), FAIL)])
def test_a_library_is_timed_beside_the_stock_one(slow: tuple[str, ...], outcome: Outcome) -> None:
    within = {name: name not in slow for name in ("session", "latency")}
    gate = gates.timed({BESIDE.id: result({"stock": "1.31.1", **within, "noise": NOISE})}, BESIDE)
    assert (gate.outcome, gate.varies) == (outcome, True)
    assert gate.limit == "session ≤ 0.6×, run ≤ 1.1× or 10 µs more than the stock library"
    assert gate.measured == "session 0.54× (0.50 → 0.27 ms), run 1.02× (80.0 → 81.6 µs) of onnxruntime 1.31.1"
    assert bool(gate.why) == bool(slow)


# --- the file ------------------------------------------------------------------------------------------------------


def needs(glibc: str = "2.36", **other: Any) -> Gate:
    table = ReducedRuntime(glibc=glibc, static_cxx=True)
    return next(one for one in judged(facts(**other), Wanted(table, "linux/amd64", "1.17.3")) if one.name == "reduced-needs")


def test_symbols_that_are_too_new_are_named() -> None:
    versions, symbols = {"libm.so.6": ["GLIBC_2.38"]}, {"GLIBC_2.38": ["fmod", "fmodf"]}
    gate = needs(versions=versions, symbols=symbols)
    assert (gate.outcome, gate.why) == (FAIL, "needs GLIBC_2.38 (fmod, fmodf), the target has 2.36")
    assert needs("2.38", versions=versions, symbols=symbols).outcome is PASS


@pytest.mark.parametrize(
    ("glibc", "version", "outcome"),
    [
        ("2.27", "3.4.25", PASS),
        ("2.31", "3.4.28", PASS),
        ("2.31", "3.4.29", FAIL),
        ("2.36", "3.4.30", PASS),
        ("2.36", "3.4.31", FAIL),
    ],
)
def test_the_cxx_runtime_is_that_of_the_systems_with_this_libc(glibc: str, version: str, outcome: Outcome) -> None:
    assert needs(glibc, versions={"libstdc++.so.6": [f"GLIBCXX_{version}"]}).outcome is outcome


@pytest.mark.parametrize(
    ("glibc", "library", "version", "outcome"),
    [
        ("2.36", "libc.so.6", "GLIBC_ABI_DT_RELR", PASS),
        ("2.35", "libc.so.6", "GLIBC_ABI_DT_RELR", FAIL),
        ("2.36", "libgcc_s.so.1", "GCC_4.3.0", PASS),
        ("2.36", "libgcc_s.so.1", "GCC_12.0.0", PASS),
        ("2.36", "libgcc_s.so.1", "GCC_14.0.0", FAIL),
        ("2.39", "libgcc_s.so.1", "GCC_14.0.0", PASS),
    ],
)
def test_features_and_gccs_own_library_are_those_of_the_systems_with_this_libc(
    glibc: str, library: str, version: str, outcome: Outcome
) -> None:
    assert needs(glibc, versions={library: [version]}).outcome is outcome


@pytest.mark.parametrize("name", ["GLIBC_PRIVATE", "GLIBC_ABI_GNU_TLS", "GLIBC_2.x", "CXXABI_FLOAT128", "OTHER_1.0", ""])
def test_a_version_that_nobody_knows_is_a_problem(name: str) -> None:
    gate = needs(versions={"libc.so.6": ["GLIBC_2.34", name]})
    assert (gate.outcome, gate.why) == (FAIL, f"needs {name} of libc.so.6, and which systems have that is not known")


def test_versions_are_compared_as_numbers() -> None:
    assert newest({"libc.so.6": ["GLIBC_2.9", "GLIBC_2.17", "GLIBC_PRIVATE"]}) == {"GLIBC": (2, 17)}


def test_a_shared_cxx_runtime_is_for_recipes_that_say_so() -> None:
    given = facts(needed=["libstdc++.so.6", "libgcc_s.so.1"])
    found = judged(given, Wanted(ReducedRuntime(), "linux/amd64", "1.17.3"))
    assert {one.name: one.outcome for one in found}["reduced-needs"] is PASS
    assert {one.name: one.outcome for one in found}["reduced-runtime"] is FAIL, "it was built with static_cxx = true"


def test_what_an_ort_leaves_to_the_device_asks_for_an_extended_build() -> None:
    table = ReducedRuntime(static_cxx=True)
    wanted = Wanted(table, "linux/amd64", "1.17.3", fusing=True)
    told = {one.name: one for one in judged(facts(), wanted)}
    assert (told["reduced-runtime"].outcome, told[FUSIONS].outcome) == (PASS, NOT_RUN)
    assert "say extended = true" in told[FUSIONS].why
    assert FUSIONS not in {one.name for one in judged(facts(), replace(wanted, fusing=False))}
    extended = judged(facts(), replace(wanted, table=ReducedRuntime(static_cxx=True, extended=True)))
    assert FUSIONS not in {one.name for one in extended}
    assert (extended[0].outcome, "was built with extended = false" in extended[0].why) == (FAIL, True)


def test_a_provider_that_the_library_lacks_is_told() -> None:
    wanted = Wanted(ReducedRuntime(), "linux/arm64", "1.20.1", providers=["XnnpackExecutionProvider", "CPUExecutionProvider"])
    (told,) = [one for one in judged(facts(), wanted) if one.name == PROVIDERS]
    assert (told.outcome, "runs on the CPU: xnnpack = true, where your sources have it" in told.why) == (NOT_RUN, True)
    plain = replace(wanted, providers=["CPUExecutionProvider"])
    assert PROVIDERS not in {one.name for one in judged(facts(), plain)}


@pytest.mark.parametrize(("name", "fusing"), [("raspberry-pi-5", True), ("arm64-cpu", False)])
def test_the_style_of_the_ort_says_what_is_left_to_the_device(name: str, fusing: bool) -> None:
    assert asked_by(PROJECT.target(name).recipe, ReducedRuntime()).fusing is fusing


def test_a_budget_is_kept_or_not() -> None:
    for most, outcome in ((1_284_264, PASS), (1_284_263, FAIL)):
        found = judged(facts(), Wanted(ReducedRuntime(max_size=most), "linux/amd64", "1.17.3"))
        assert {one.name: one.outcome for one in found}["reduced-size"] is outcome


def test_what_is_missing_is_named() -> None:
    assert fits([]).outcome is PASS
    assert fits(None).outcome is NOT_RUN
    assert (fits(["Sin"]).outcome, fits(["Sin"]).why) == (FAIL, "Sin")
    assert misfits(b"", "ai.onnx;13;Relu\n", "ai.onnx;13;Relu,Sin\n") == []
    with pytest.raises(OrtolanError, match="not a line of a configuration"):
        misfits(b"", "Relu\n", "ai.onnx;13;Relu\n")


# --- which runtime a build takes in ----------------------------------------------------------------------------------


def wanting(name: str = "x86-cpu") -> Job:
    """A job whose target wants a reduced runtime."""
    target = PROJECT.target(name)
    outputs = target.recipe.outputs.model_dump() | {"reduced_runtime": ReducedRuntime().model_dump(), "docker": None}
    recipe = target.recipe.model_copy(update={"outputs": Outputs.model_validate(outputs)})
    return job(PROJECT.model("digits-mlp"), replace(target, recipe=recipe))


def test_a_library_enters_by_digest_and_marks_the_tag(tmp_path: Path) -> None:
    one = wanting()
    assert carried.take(one, tmp_path).library is None
    put(tmp_path / "x86-cpu", b"library", "ai.onnx;13;Relu\n", "1.21.0")
    taken = carried.take(one, tmp_path)
    assert taken.library
    assert taken.library.files["libonnxruntime.so"].startswith("sha256:")
    assert "build.log" not in taken.library.files
    plain, marked = (plan.tag_of(each, "sha256:" + "a" * 64) for each in (one, taken))
    assert marked == f"{plain}-rt{taken.library.files['libonnxruntime.so'][7:15]}"
    put(tmp_path / "x86-cpu", b"another", "ai.onnx;13;Relu\n", "1.21.0")
    assert plan.tag_of(carried.take(one, tmp_path), "sha256:" + "a" * 64) not in {plain, marked}
    assert carried.without(taken).library is None


def test_a_target_that_wants_none_takes_none(tmp_path: Path) -> None:
    put(tmp_path / "x86-cpu", b"library", "", "1.21.0")
    one = wanting()
    assert carried.take(one, tmp_path).library
    outputs = one.target.recipe.outputs.model_copy(update={"reduced_runtime": None})
    recipe = one.target.recipe.model_copy(update={"outputs": outputs})
    assert carried.take(replace(one, target=replace(one.target, recipe=recipe)), tmp_path).library is None


def test_a_damaged_library_is_refused_with_what_to_do(tmp_path: Path) -> None:
    folder = put(tmp_path / "x86-cpu", b"library", "", "1.21.0")
    (folder / "libonnxruntime.so").write_bytes(b"librarY")
    with pytest.raises(OrtolanError, match="the reduced runtime is damaged") as caught:
        carried.take(wanting(), tmp_path)
    assert caught.value.hint == "./inv runtime-build --target x86-cpu"
    (folder / "runtime.json").unlink()
    with pytest.raises(OrtolanError, match="the reduced runtime is damaged"):
        carried.take(wanting(), tmp_path)


def test_a_configuration_that_is_not_the_one_of_the_record_is_refused(tmp_path: Path) -> None:
    """Wider than what was compiled in, it would let every model fit."""
    folder = put(tmp_path / "x86-cpu", b"library", "ai.onnx;13;Relu\n", "1.21.0")
    (folder / carried.CONFIG).write_text("ai.onnx;13;Relu,Sin\n")
    with pytest.raises(OrtolanError, match="the reduced runtime is damaged") as caught:
        carried.take(wanting(), tmp_path)
    assert f"{carried.CONFIG} has the digest sha256:" in caught.value.why
    record = json.loads((folder / "runtime.json").read_text())
    (folder / "runtime.json").write_text(json.dumps({key: told for key, told in record.items() if key != "config"}))
    with pytest.raises(OrtolanError, match="the reduced runtime is damaged"):
        carried.take(wanting(), tmp_path)


@pytest.mark.parametrize(
    "name", ["key", "onnxruntime", "platform", "sources", "flags", "patches", "toolchain", "knobs", "library"]
)
@pytest.mark.parametrize("other", [None, 1])
def test_a_record_that_does_not_tell_all_is_refused(tmp_path: Path, name: str, other: int | None) -> None:
    path = put(tmp_path / "x86-cpu", b"library", "ai.onnx;13;Relu\n", "1.21.0") / "runtime.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: other}))
    with pytest.raises(OrtolanError, match="the reduced runtime is damaged") as caught:
        carried.take(wanting(), tmp_path)
    assert f"runtime.json does not tell {name}" in caught.value.why
    path.write_text("[]")
    with pytest.raises(OrtolanError, match="the reduced runtime is damaged"):
        carried.take(wanting(), tmp_path)


@pytest.mark.parametrize("missing", [None, ()])
def test_what_nobody_compared_does_not_pass(missing: tuple[str, ...] | None) -> None:
    given = [Gate(name, SHIPPED, PASS) for name in ("reduced-runtime", "reduced-size", "reduced-needs", "size")]
    found = carried.judged(wanting(), given, carried.Checks(unrun="no compiler", untimed="no compiler"), {}, missing)
    assert {one.name: one.outcome for one in found}["reduced-fits"] is (NOT_RUN if missing is None else PASS)
    assert found[-1].name == "size"


@pytest.mark.parametrize("text", ["", "[]", '{"key": "1"}', "{"])
def test_a_pointer_that_says_nothing_is_refused(tmp_path: Path, text: str) -> None:
    put(tmp_path / "x86-cpu", b"library", "", "1.21.0")
    (tmp_path / "x86-cpu" / "runtime" / "current.json").write_text(text)
    with pytest.raises(OrtolanError, match="which reduced runtime is in use"):
        carried.take(wanting(), tmp_path)


def test_what_the_library_lacks_is_told_in_place_of_its_gate() -> None:
    none = Gate("reduced-runtime", SHIPPED, NOT_RUN, why="none was built")
    size = Gate("size", SHIPPED, PASS)
    (told, left) = carried.judged(wanting(), [none, size], None, {}, ["ai.onnx;17;Sin (float): sin_1"])
    assert left == size
    assert told.outcome is NOT_RUN
    assert "lacks ai.onnx;17;Sin (float): sin_1: ./inv runtime-config --target x86-cpu" in told.why
    assert carried.judged(wanting(), [none, size], None, {}, []) == [none, size]


def test_the_record_of_a_build_names_the_library(tmp_path: Path) -> None:
    folder = put(tmp_path / "x86-cpu", b"library", "", "1.21.0", platform="linux/arm64")
    assert json.loads((folder / "runtime.json").read_text())["platform"] == "linux/arm64"
    found = judged(
        {**facts(), "record": json.loads((folder / "runtime.json").read_text())},
        Wanted(ReducedRuntime(), "linux/amd64", "1.20.1"),
    )
    assert "was built for linux/arm64" in found[0].why

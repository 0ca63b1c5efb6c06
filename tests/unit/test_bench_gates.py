"""What benches say of a build: limits of the recipe, ratios of rounds, waivers, and what stops a bundle."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ortolan.devices
from conftest import ROOT
from device_programs import module
from ortolan.artifact import Gate, Outcome
from ortolan.devices import limits
from ortolan.devices.bench import Subject, comparisons
from ortolan.errors import GateError, OrtolanError
from ortolan.gates.bench import on_device, unmeasured
from ortolan.manifest import Manifest
from ortolan.recipe.project import Project
from ortolan.recipe.schema import Target

TARGET = Project(ROOT).target("raspberry-pi-5").recipe
LIMITS: dict[str, Any] = {"max_latency_ms": 10.0, "min_fps": 50.0, "min_sustained": 0.8}


def recipe(quantize: dict[str, Any] | None = None, **gates: Any) -> Target:
    """The Pi's, with these limits."""
    told = TARGET.model_dump(exclude_unset=True)
    return Target.model_validate({**told, "gates": gates, **({"quantize": quantize} if quantize else {})})


def timed(file: str = "model.onnx", precision: str = "int8", *, ships: bool = True, p95: float = 8.0, rate: float = 100.0,
          of_burst: float = 1.0, ended: str = "steady") -> dict[str, Any]:  # fmt: skip
    late = {"p95_ms": p95, "late_per_second": rate, "of_burst": of_burst, "ended": ended, "seconds": 12.0}
    return {"file": file, "precision": precision, "digest": f"sha256:{file}", "ships": ships, "lacking": [], "sustained": late}


def bench(*results: dict[str, Any], speedup: float | None = 1.6, found: str = "linux/arm64", **device: str) -> dict[str, Any]:
    """A document as the verb keeps it."""
    ratio = {"than": "fp32", "precision": "int8", "median": speedup, "low": 1.5, "high": 1.7}
    return {
        "bench_version": 3, "platform": {"wanted": "linux/arm64", "found": found}, "device": {"name": "kitchen", **device},
        "session": "sha256:session.json", "seconds": 10.0,
        "results": list(results) or [timed()], "comparisons": [ratio] if speedup else [],
    }  # fmt: skip


def judged(document: dict[str, Any], wanted: Target | None = None) -> dict[str, Gate]:
    found = on_device(wanted or recipe(**LIMITS), document)
    assert all(one.varies and one.subject == "kitchen" for one in found)
    return {one.name: one for one in found}


# --- limits -------------------------------------------------------------------------------------------------------------


def test_within_its_limits_a_model_passes() -> None:
    found = judged(bench())
    assert {name: one.outcome for name, one in found.items()} == dict.fromkeys(
        ("latency", "throughput", "sustained", "int8-faster"), Outcome.PASS
    )
    assert found["latency"].measured == "p95 8 ms (model.onnx)"
    assert found["latency"].limit == "p95 ≤ 10 ms"
    assert found["sustained"].why == "steady after 12 s"
    assert found["int8-faster"].measured == "1.60× (1.50 to 1.70)"


@pytest.mark.parametrize(
    ("gate", "result", "measured"),
    [
        ("latency", timed(p95=10.1), "p95 10.1 ms (model.onnx)"),
        ("throughput", timed(rate=49), "49 runs/s (model.onnx)"),
        ("sustained", timed(of_burst=1.5), "67% of the burst (model.onnx)"),
    ],
)
def test_each_limit_can_fail_alone(gate: str, result: dict[str, Any], measured: str) -> None:
    found = judged(bench(result))
    assert [name for name, one in found.items() if one.outcome is Outcome.FAIL] == [gate]
    assert found[gate].measured == measured


def test_a_run_that_the_time_ended_does_not_say_what_is_kept() -> None:
    """It may get slower still; what is too slow by then has failed."""
    found = judged(bench(timed(), timed("model.ort", ended="time")))
    assert {name: one.outcome for name, one in found.items() if one.outcome is not Outcome.PASS} == {"sustained": Outcome.NOT_RUN}
    assert "neither steady nor throttled" in found["sustained"].why
    assert found["sustained"].why.endswith("--seconds 30 or more")
    longer = judged(bench(timed(ended="time")) | {"seconds": 120.0})["sustained"]
    assert longer.why.endswith("--seconds 240 or more")
    assert judged(bench(timed(ended="throttled")))["sustained"].outcome is Outcome.PASS
    assert judged(bench(timed(ended="time", of_burst=1.5)))["sustained"].outcome is Outcome.FAIL


def test_the_slowest_file_that_ships_counts_and_others_do_not() -> None:
    found = judged(bench(timed(), timed("model.ort", p95=12), timed("fp32.onnx", "fp32", ships=False, p95=99)))
    assert found["latency"].outcome is Outcome.FAIL
    assert found["latency"].measured == "p95 12 ms (model.ort)"


def test_int8_that_is_not_faster_there_fails() -> None:
    found = judged(bench(speedup=1.05))
    assert found["int8-faster"].outcome is Outcome.FAIL
    assert "INT8 ran at 1.05× the speed of fp32 there" in found["int8-faster"].why
    assert judged(bench(speedup=None))["int8-faster"].outcome is Outcome.NOT_RUN
    assert "int8-faster" not in judged(bench(timed(precision="fp32")))


def test_a_scheme_that_is_for_size_is_told_its_speed_and_not_judged() -> None:
    weights = {"scheme": "weight-only", "bits": 4}
    document = bench(timed(precision="int4-weights"), speedup=0.9)
    document["comparisons"][0]["precision"] = "int4-weights"
    assert judged(document, recipe(weights))["int4-weights-faster"].outcome is Outcome.NOT_RUN
    assert judged(document, recipe(weights, min_speedup=1.0))["int4-weights-faster"].outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (bench(emulated="cortex-a76 by qemu"), "emulated: says nothing of speed"),
        (bench(found="linux/amd64"), "linux/amd64 is not the target's platform, linux/arm64"),
    ],
)
def test_what_is_no_such_device_judges_nothing(document: dict[str, Any], why: str) -> None:
    assert {(one.outcome, one.why) for one in judged(document).values()} == {(Outcome.NOT_RUN, why)}


def test_a_file_that_did_not_run_is_no_measurement() -> None:
    broken = {key: value for key, value in timed("model.ort").items() if key != "sustained"} | {"error": "out of memory"}
    found = judged(bench(timed(), broken))
    assert found["latency"].outcome is Outcome.NOT_RUN
    assert found["latency"].why == "model.ort: out of memory"


def test_without_limits_or_a_bench() -> None:
    assert set(judged(bench(), recipe())) == {"int8-faster"}
    assert unmeasured(recipe(), "int8", "./inv bench") == []
    found = unmeasured(recipe(**LIMITS, min_speedup=1.2), "int8", "./inv bench")
    assert [(one.name, one.outcome, one.why) for one in found] == [
        (name, Outcome.NOT_RUN, "./inv bench") for name in ("latency", "throughput", "sustained", "int8-faster")
    ]
    assert len(unmeasured(recipe(**LIMITS, min_speedup=1.2), "fp32", "")) == 3


# --- ratios -------------------------------------------------------------------------------------------------------------


def subjects(*names: str) -> list[Subject]:
    words = {"fp32.onnx": "fp32", "fp16.onnx": "fp16"}
    return [Subject(name, words.get(name, "int8"), "", Path(name), name.startswith("model")) for name in names]


def test_ratios_are_those_of_each_round() -> None:
    """A machine that gets three times as slow half-way changes no ratio."""
    rounds = {"model.onnx": [1.0, 1.0, 3.0, 3.0], "model.ort": [2.0, 2.0, 6.0, 6.0], "fp32.onnx": [4.0, 4.0, 12.0, 12.0]}
    found = list(comparisons(subjects("model.onnx", "model.ort", "fp32.onnx"), rounds))
    assert [(one["file"], one["than"], one["against"], one["rounds"]) for one in found] == [
        ("model.onnx", "fp32", "fp32.onnx", 4), ("model.ort", "onnx", "model.onnx", 4),
    ]  # fmt: skip
    assert [(one["low"], one["median"], one["high"]) for one in found] == [(4, 4, 4), (0.5, 0.5, 0.5)]


@given(st.lists(st.tuples(st.floats(0.01, 100), st.floats(0.01, 100)), min_size=2, max_size=20))
def test_the_spread_is_around_the_median_and_holds_half_of_the_rounds(times: list[tuple[float, float]]) -> None:
    rounds = {"model.onnx": [one for one, _ in times], "fp32.onnx": [one for _, one in times]}
    (one,) = comparisons(subjects("model.onnx", "fp32.onnx"), rounds)
    ratios, near = [theirs / ours for ours, theirs in times], 1e-9
    low, middle, high = one["low"], one["median"], one["high"]
    assert min(ratios) * (1 - near) <= low <= middle * (1 + near)
    assert middle * (1 - near) <= high <= max(ratios) * (1 + near)
    assert 2 * sum(low * (1 - near) <= ratio <= high * (1 + near) for ratio in ratios) >= len(ratios) - 2


@pytest.mark.parametrize("rounds", [{}, {"model.onnx": [], "fp32.onnx": []}, {"model.onnx": [1.0, 1.0]}])
def test_what_did_not_take_turns_is_not_compared(rounds: dict[str, list[float]]) -> None:
    assert list(comparisons(subjects("model.onnx", "fp32.onnx"), rounds)) == []


@pytest.mark.parametrize("count", [2, 3, 4])
def test_all_are_first_and_last_equally_often_and_before_each_other(count: int) -> None:
    turns = module(Path(ortolan.devices.__file__).parent / "remote" / "turns.py")
    names = [f"m{number}" for number in range(count)]
    orders = [turns.order(names, number) for number in range(turns.ROUNDS)]
    assert all(sorted(one) == names for one in orders)
    assert {name: sum(one[0] == name for one in orders) for name in names} == dict.fromkeys(names, turns.ROUNDS // count)
    for one, other in [(a, b) for a in names for b in names if a != b]:
        before = sum(order.index(one) < order.index(other) for order in orders)
        assert before == turns.ROUNDS / 2 or count > 2, orders
        assert 0 < before < turns.ROUNDS


# --- what stands --------------------------------------------------------------------------------------------------------

HASH = "sha256:" + "a" * 64


def made(**digests: str) -> Manifest:
    """A manifest, as far as it is asked."""
    digests = {"session_json": "sha256:session.json", **digests}
    artifacts = [SimpleNamespace(name=name.replace("_", "."), digest=hashed) for name, hashed in digests.items()]
    model = SimpleNamespace(name="digits", hash=HASH)
    told = SimpleNamespace(
        target=SimpleNamespace(name="board"), tag="digits-1", precision="int8", model=model, artifacts=artifacts
    )
    return cast("Manifest", told)


MADE = made(model_onnx="sha256:model.onnx")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one target that has a limit."""
    folder = tmp_path / "recipes" / "targets"
    folder.mkdir(parents=True)
    text = (ROOT / "recipes" / "targets" / "raspberry-pi-5.toml").read_text()
    (folder / "board.toml").write_text(text.replace("[gates]", "[gates]\nmax_latency_ms = 10", 1))
    return tmp_path


def keep(root: Path, document: Any, device: str = "kitchen") -> Path:
    path = limits.kept_at(root, "board", "digits-1") / f"{device}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def outcomes(root: Path, build: Manifest = MADE) -> dict[str, Outcome]:
    return {one.name: one.outcome for one in limits.standing(root, build)}


def test_a_limit_without_a_bench_is_not_run_and_stops_nothing(project: Path) -> None:
    (one,) = limits.check(project, MADE)
    assert (one.name, one.outcome) == ("latency", Outcome.NOT_RUN)
    assert one.why == "./inv bench --target board --model digits --host ..."


def test_the_bench_of_other_files_and_of_an_older_form_is_none(project: Path) -> None:
    keep(project, bench(timed(p95=99)))
    assert outcomes(project)["latency"] is Outcome.FAIL
    assert outcomes(project, made(model_onnx="sha256:another"))["latency"] is Outcome.NOT_RUN
    keep(project, bench(timed(p95=99)) | {"bench_version": 2})
    assert outcomes(project)["latency"] is Outcome.NOT_RUN


@pytest.mark.parametrize(
    "build",
    [
        made(model_onnx="sha256:model.onnx", session_json="sha256:other threads"),
        made(model_onnx="sha256:model.onnx", model_ort="sha256:model.ort"),
    ],
    ids=["another session.json", "a model more"],
)
def test_a_bench_of_other_settings_or_of_fewer_models_is_none(project: Path, build: Manifest) -> None:
    keep(project, bench())
    assert outcomes(project)["latency"] is Outcome.PASS
    assert outcomes(project, build)["latency"] is Outcome.NOT_RUN
    keep(project, bench(timed(), timed("model.ort")))
    assert outcomes(project)["latency"] is Outcome.NOT_RUN, "one that ships no more was timed, too"


def test_one_slow_device_of_several_stops_and_a_newer_bench_counts(project: Path) -> None:
    keep(project, bench())
    slow = keep(project, bench(timed(p95=99)) | {"device": {"name": "attic"}}, "attic")
    with pytest.raises(GateError, match="digits-1 is too slow for board") as raised:
        limits.check(project, MADE)
    assert "latency on attic: p95 99 ms (model.onnx), limit p95 ≤ 10 ms" in raised.value.why
    keep(project, bench() | {"device": {"name": "attic"}}, "attic")
    assert {one.subject for one in limits.check(project, MADE)} == {"kitchen", "attic"}
    slow.unlink()
    assert {one.subject for one in limits.check(project, MADE)} == {"kitchen"}


@pytest.mark.parametrize("text", ["{", "[]", '{"bench_version": 3}', '{"bench_version": 3, "results": [{"ships": true}]}'])
def test_what_no_bench_has_written_is_an_error(project: Path, text: str) -> None:
    path = keep(project, text)
    with pytest.raises(OrtolanError, match="not the result of a bench") as raised:
        limits.standing(project, MADE)
    assert raised.value.where == str(path)


@pytest.mark.parametrize(("days", "outcome"), [(1, Outcome.WAIVED), (-1, Outcome.FAIL)])
@pytest.mark.parametrize("subject", ["", 'subject = "kitchen"\n'])
def test_a_waiver_counts_until_it_expires(project: Path, days: int, outcome: Outcome, subject: str) -> None:
    keep(project, bench(timed(p95=99)))
    day = datetime.now(UTC).date() + timedelta(days=days)
    (project / "waivers").mkdir()
    words = f'gate = "latency"\ntarget = "board"\nmodel_hash = "{HASH}"\nreason = "r"\nwho = "w"\nexpires = {day}\n{subject}'
    (project / "waivers" / "one.toml").write_text(words)
    assert outcomes(project)["latency"] is outcome
    (project / "waivers" / "one.toml").write_text(words.replace("a" * 64, "b" * 64))
    assert outcomes(project)["latency"] is Outcome.FAIL


def test_a_target_that_is_gone_limits_nothing(project: Path) -> None:
    keep(project, bench(timed(p95=99)))
    (project / "recipes" / "targets" / "board.toml").unlink()
    assert limits.check(project, MADE) == []

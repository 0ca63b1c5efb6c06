"""The search for session settings, against simulated machines: what noise can do to it, what it finds, and when it ends."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import ANY

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ortolan.devices
from conftest import ROOT
from ortolan.devices.tune import Tuned, _settings
from ortolan.devices.tune_batch import Batch, Outcome, Plan, Ran
from ortolan.devices.tune_errand import Subject
from ortolan.devices.tune_recipe import advice, opens, session_lines
from ortolan.devices.tune_search import COMBINE, CONFIDENCE, CONFIRM, SCREEN, Search
from ortolan.devices.tune_settings import (
    DEFAULTS,
    OPTIMISED,
    OPTIMISED_SESSION,
    SPINNING,
    Candidate,
    Change,
    Machine,
    defaults,
    opening,
    recipe,
    singles,
)
from ortolan.devices.tune_statistics import DEFAULT, Trial, interval, judged, pairs_needed, ratios
from ortolan.recipe.schema import Session
from ortolan.stages import session_json

REMOTE = Path(ortolan.devices.__file__).parent / "remote"
CPU, XNNPACK = "CPUExecutionProvider", "XnnpackExecutionProvider"
SESSION: Mapping[str, Any] = {
    "providers": [{"name": CPU, "options": {}}], "session_options": dict(DEFAULTS), "config_entries": {},
}  # fmt: skip
PI = Machine(processors=4, cores=4, name="aarch64")
EVERY = list(singles(PI, SESSION, ["model.onnx", "model.ort"]))
BY_NAME = {one.name: one for one in EVERY}
TWO, ARENA, SPIN = (BY_NAME[name] for name in ("2 threads", "no arena", "no spinning"))


@dataclass
class Simulated:
    """A machine where a candidate takes the product of its changes' ``true`` ratios, with noise, spikes and drift.

    Each trial costs ``cost`` seconds; changes in ``hangs`` cost their limit, those in ``crashes`` fail at once.
    """

    seed: int
    true: Mapping[str, float] = field(default_factory=dict)
    noise: float = 0.05
    cost: float = 0.25
    hangs: frozenset[str] = frozenset()
    crashes: frozenset[str] = frozenset()
    differ: frozenset[str] = frozenset()
    batches: list[Batch] = field(default_factory=list)
    clock: float = 0.0

    def __call__(self, batch: Batch, known: Mapping[str, Candidate]) -> Ran:
        self.batches.append(batch)
        numbers, spent = random.Random(f"{self.seed} {len(self.batches)}"), 0.0
        trials: list[Mapping[str, Any]] = []
        for _, _, name in batch.places:
            labels = {*known[name].labels}
            took = batch.limit if labels & self.hangs else 0.01 if labels & self.crashes else self.cost
            if spent + took > batch.seconds:
                spent = batch.seconds
                break
            spent += took
            trials.append(self._trial(labels, numbers, spent))
        self.clock += spent
        differ = [name for name in batch.check if known[name].labels & self.differ]
        return Ran(trials, dict.fromkeys(differ, "sample 0"), spent)

    def _trial(self, labels: set[str], numbers: random.Random, spent: float) -> dict[str, Any]:
        if labels & self.hangs:
            return {"error": "it was not over after 5 s"}
        if labels & self.crashes:
            return {"error": "its process ended with signal 11"}
        drift = 1 + 0.3 * ((self.clock + spent) % 20) / 20
        ms = numbers.lognormvariate(0, self.noise) * (3 if numbers.random() < 0.05 else 1) * drift
        for one in labels:
            ms *= self.true.get(one, 1)
        return {"p50_ms": ms, "open_ms": 3.0, "peak_bytes": 1000, "runs": 9}


def searched(machine: Simulated, seconds: float = 60, always: Candidate | None = None) -> Outcome:
    plan = Plan(seconds, machine.seed, 0.1, 5.0, machine.cost)
    return Search(plan, machine).run(EVERY, always)


# --- what noise can do ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.01, 0.3])
def test_noise_alone_does_not_choose(noise: float) -> None:
    """Each search may be wrong once in two hundred; of so many none is expected above this bound."""
    taken = [searched(Simulated(seed, noise=noise)).chosen.name for seed in range(150)]
    assert sum(name != DEFAULT for name in taken) <= 3


@given(st.integers(0, 2**32), st.floats(0.01, 0.3), st.dictionaries(st.sampled_from([c.name for c in EVERY]), st.floats(1, 3)))
def test_what_is_taken_was_faster_in_the_last_turns_and_nothing_else_is(seed: int, noise: float, true: dict[str, float]) -> None:
    machine = Simulated(seed, true, noise)
    found = searched(machine)
    last = [one for one in found.trials if one.stage == CONFIRM]
    better = found.chosen.name != DEFAULT
    assert better == (not found.why)
    if better:
        ratio = found.ratios[found.chosen.name]
        assert ratio.high is not None
        assert ratio.median <= ratio.high < 1
        assert ratio.median == median(ratios(last, found.chosen.name))
        assert ratio.pairs >= pairs_needed(CONFIDENCE)


def test_what_is_faster_is_found() -> None:
    found = [searched(Simulated(seed, {"2 threads": 1 / 1.3}, 0.1)) for seed in range(40)]
    assert sum("2 threads" in one.chosen.name for one in found) >= 39
    held = [r.low <= 1 / 1.3 <= r.high for one in found if (r := one.ratios[one.chosen.name]).low and r.high]
    assert sum(held) >= 0.9 * len(held)


def test_changes_that_each_help_are_taken_together() -> None:
    found = [searched(Simulated(seed, {"2 threads": 0.8, "no arena": 0.85}, 0.03)).chosen for seed in range(10)]
    assert sum(each.labels >= {"2 threads", "no arena"} for each in found) >= 9


def test_of_what_cannot_be_told_apart_the_simplest_is_taken() -> None:
    found = [searched(Simulated(seed, {"1 thread": 0.7, "no arena": 0.9999}, 0.02)).chosen.name for seed in range(10)]
    assert found.count("1 thread") >= 8


# --- what goes wrong --------------------------------------------------------------------------------------------------------


def test_what_hangs_or_crashes_is_dropped_and_named_and_the_best_is_found_all_the_same() -> None:
    machine = Simulated(1, {"2 threads": 1 / 1.3}, hangs=frozenset({"no spinning"}), crashes=frozenset({"model.ort"}))
    found = searched(machine, 90)
    assert found.out == {"no spinning": "it was not over after 5 s", "model.ort": "its process ended with signal 11"}
    assert "2 threads" in found.chosen.name
    for name in found.out:
        tried = [batch for batch in machine.batches if any(one == name for _, _, one in batch.places)]
        assert len(tried) == 1, "after its first batch nobody asks again"


def test_other_outputs_are_never_taken_however_fast() -> None:
    found = searched(Simulated(1, {"basic optimisation": 0.2, "2 threads": 0.8}, differ=frozenset({"basic optimisation"})))
    assert found.out == {"basic optimisation": "outputs differ: sample 0"}
    assert "basic" not in found.chosen.name
    assert "2 threads" in found.chosen.name


def test_outputs_that_differ_only_in_the_last_turns_count() -> None:
    machine = Simulated(1, {"2 threads": 0.7})

    def last(batch: Batch, known: Mapping[str, Candidate]) -> Ran:
        ran = machine(batch, known)
        return Ran(ran.trials, dict.fromkeys(batch.check, "sample 3"), ran.seconds) if batch.stage == CONFIRM else ran

    found = Search(Plan(60, 1, 0.1, 5.0, 0.25), last).run(EVERY)
    assert found.chosen.name == DEFAULT
    assert {*found.finalists} <= found.out.keys()


def test_a_machine_where_everything_else_fails_keeps_the_defaults() -> None:
    found = searched(Simulated(1, crashes=frozenset(one.name for one in EVERY)))
    assert found.chosen.name == DEFAULT
    assert found.why
    assert len(found.out) == len(EVERY)


# --- time and order ---------------------------------------------------------------------------------------------------------


@given(st.floats(1, 400), st.floats(0.02, 3), st.integers(0, 99), st.sampled_from(["", "no spinning", "2 threads"]))
def test_the_time_is_kept(seconds: float, cost: float, seed: int, hangs: str) -> None:
    machine = Simulated(seed, {"2 threads": 0.5}, cost=cost, hangs=frozenset({hangs}))
    found = searched(machine, seconds)
    assert found.seconds == pytest.approx(machine.clock)
    assert machine.clock <= seconds * 1.0001
    assert all(0 < batch.seconds <= seconds for batch in machine.batches)
    if found.chosen.name != DEFAULT:
        assert found.ratios[found.chosen.name].pairs >= pairs_needed(CONFIDENCE)


def test_a_short_time_is_told_and_changes_nothing() -> None:
    found = searched(Simulated(1, {"2 threads": 0.5}, cost=2.0), 10)
    assert found.chosen.name == DEFAULT
    assert "no time to confirm" in found.why
    assert "--seconds" in found.why
    assert "the time was too short to try it" in found.out.values()
    wanted = float(found.why.split("--seconds ")[1].split()[0])
    assert searched(Simulated(1, {"2 threads": 0.5}, cost=2.0), wanted).why != found.why


@given(st.floats(0.02, 1.36))
def test_a_time_that_is_enough_for_a_confirmation_is_used(cost: float) -> None:
    """Also where one turn of all takes most of what a stage has."""
    machine = Simulated(1, {"2 threads": 0.5}, noise=0.01, cost=cost)
    found = searched(machine, 60)
    assert machine.batches
    assert "no time to confirm" not in found.why


def test_turns_are_interleaved_and_blocks_hold_the_defaults() -> None:
    machine = Simulated(1, {"2 threads": 0.8})
    searched(machine)
    stages = [batch.stage for batch in machine.batches]
    assert stages == sorted(stages, key=[SCREEN, COMBINE, CONFIRM].index)
    assert {batch.stage for batch in machine.batches} == {SCREEN, COMBINE, CONFIRM}
    for batch in machine.batches:
        for turn in batch.turns:
            assert all(block.count(DEFAULT) == 1 and len(block) <= 4 for block in turn)
            names = [name for block in turn for name in block if name != DEFAULT]
            assert len(names) == len(set(names))
        kinds = [{name for block in turn for name in block} for turn in batch.turns]
        assert all(one == kinds[0] for one in kinds), "every turn has every candidate"
        if len(batch.turns) > 9:
            assert len(set(batch.turns)) > 1, "in other orders"


def test_a_seed_is_an_order() -> None:
    def order(seed: int) -> list[str]:
        machine = Simulated(7)
        Search(Plan(60, seed, 0.1, 5.0, 0.25), machine).run(EVERY)
        return [name for _, _, name in machine.batches[0].places]

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_the_recipes_own_settings_are_confirmed_whatever_their_rank() -> None:
    own = recipe({**SESSION, "session_options": {**DEFAULTS, "intra_op_num_threads": 3}})
    assert own is not None
    found = searched(Simulated(1, {"the recipe's": 2.0, "2 threads": 0.8}), always=own)
    assert "the recipe's" in found.finalists
    assert "2 threads" in found.chosen.name
    assert found.ratios["the recipe's"].median > 1.5


def test_the_record_begins_with_what_was_taken_and_tells_why_of_all_others() -> None:
    plan = Plan(60, 1, 0.1, 5.0, 0.25)
    build = Subject(Path(), ANY, ("model.onnx", "model.ort"), SESSION)
    found = searched(Simulated(1, {"1 thread": 0.7, "2 threads": 0.8}, 0.02, crashes=frozenset({"no arena"})))
    told = list(_settings(Tuned(build, {}, found, plan, 60)))
    assert told[0]["name"] == found.chosen.name != DEFAULT
    assert [one["outcome"] for one in told].count("taken") == 1
    assert {one["name"] for one in told[: len(found.finalists)]} == {*found.finalists}
    assert next(one for one in told if one["name"] == "no arena")["outcome"] == "its process ended with signal 11"
    assert {"dropped by its first turns"} <= {one["outcome"] for one in told}


# --- statistics -------------------------------------------------------------------------------------------------------------


def test_ratios_are_of_one_block() -> None:
    trials = [
        Trial(SCREEN, 0, 0, DEFAULT, 2.0), Trial(SCREEN, 0, 0, "a", 1.0), Trial(SCREEN, 0, 1, "a", 9.0),
        Trial(SCREEN, 1, 0, "a", 3.0), Trial(SCREEN, 1, 0, DEFAULT, 4.0), Trial(SCREEN, 1, 1, DEFAULT, None, "gone"),
    ]  # fmt: skip
    assert ratios(trials, "a") == [0.5, 0.75]
    assert judged([], 0.99) is None


def test_an_interval_is_of_order_statistics() -> None:
    assert interval(range(1, 8), 0.99) is None
    assert interval(range(1, 9), 0.99) == (1, 8)
    assert interval(range(1, 21), 0.95) == (6, 15), "the table of the sign test for 20"
    assert pairs_needed(0.99) == 8
    assert pairs_needed(0.95) == 6


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=40), st.floats(0.5, 0.999), st.floats(0.5, 2))
def test_an_interval_holds_the_median_and_scales(values: list[float], confidence: float, scale: float) -> None:
    found = interval(values, confidence)
    assert (found is None) == (len(values) < pairs_needed(confidence))
    if found:
        assert found[0] <= median(values) <= found[1]
        assert interval([one * scale for one in reversed(values)], confidence) == (found[0] * scale, found[1] * scale)


def test_an_interval_covers_as_often_as_it_says() -> None:
    numbers = random.Random(1)
    found = [interval([numbers.paretovariate(2) for _ in range(15)], 0.9) for _ in range(600)]
    assert sum(one is not None and one[0] <= 2**0.5 <= one[1] for one in found) >= 0.9 * len(found) * 0.97


# --- settings ---------------------------------------------------------------------------------------------------------------


def test_what_is_tried_comes_from_the_machine() -> None:
    names = [one.name for one in EVERY]
    assert names[:4] == ["4 threads", "2 threads", "1 thread", "no spinning"]
    assert {"2 nodes at a time", "model.ort", "basic optimisation", "no arena", "no memory pattern"} <= {*names}
    assert OPTIMISED not in names, "x86 alone"
    single = [one.name for one in singles(Machine(1, 1, "x86_64"), SESSION, ["model.onnx"])]
    assert OPTIMISED in single
    assert "no spinning" not in single
    wide = [one.name for one in singles(Machine(16, 8, "x86_64"), SESSION, ["model.onnx"])]
    assert {"16 threads", "8 threads", "4 threads", "4 nodes at a time"} <= {*wide}


def test_providers_that_take_nothing_are_in_no_order() -> None:
    own = [{"name": XNNPACK, "options": {"intra_op_num_threads": "4"}}, {"name": CPU, "options": {}}]
    session = {**SESSION, "providers": own}
    assert not any("Xnnpack" in one.name for one in singles(PI, session, ["model.onnx"]))
    taking = Machine(4, 4, "aarch64", (XNNPACK, "ACLExecutionProvider"))
    orders = [one for one in singles(taking, session, ["model.onnx"]) if ">" in one.name or one.name == "CPU"]
    assert [one.name for one in orders] == ["Xnnpack > ACL > CPU", "ACL > Xnnpack > CPU", "ACL > CPU", "CPU"]
    made = opening(defaults(session, "model.onnx"), orders[0])
    assert made["providers"][0] == {"name": XNNPACK, "options": {"intra_op_num_threads": "4"}}
    lines = advice(made, defaults(session, "model.onnx"), {XNNPACK: {"intra_op_num_threads": 4}})
    assert tomllib.loads("\n".join(lines))["provider"] == [
        {"name": XNNPACK, "options": {"intra_op_num_threads": 4}}, {"name": "ACLExecutionProvider"}, {"name": CPU},
    ]  # fmt: skip


def test_changes_of_the_same_thing_exclude_each_other() -> None:
    one, two = (Candidate((Change(name, frozenset({"threads"})),)) for name in "ab")
    assert one.joined(two) is None
    both = TWO.joined(ARENA)
    assert both is not None
    assert both.name == "2 threads, no arena"
    made = opening(defaults(SESSION, "model.onnx"), both)["session_options"]
    assert made == {**DEFAULTS, "intra_op_num_threads": 2, "enable_cpu_mem_arena": False}


def test_a_recipe_that_comes_to_the_defaults_is_no_candidate() -> None:
    assert recipe(SESSION) is None
    assert recipe({**SESSION, "session_options": {**DEFAULTS, "inter_op_num_threads": 1}}) is None, "of no effect by itself"
    assert recipe({**SESSION, "config_entries": {SPINNING: "1"}}) is None
    assert recipe({**SESSION, "config_entries": {SPINNING: "0"}}) is not None


def test_what_is_not_varied_stays_as_the_recipe_says() -> None:
    session = {**SESSION, "config_entries": {SPINNING: "0", "session.set_denormal_as_zero": "1"}}
    base = defaults(session, "model.onnx")
    assert base["config_entries"] == {"session.set_denormal_as_zero": "1"}
    assert opening(base, SPIN)["config_entries"] == {SPINNING: "0", "session.set_denormal_as_zero": "1"}


@pytest.mark.parametrize("one", EVERY, ids=lambda one: one.name)
def test_the_lines_of_a_recipe_are_the_settings(one: Candidate) -> None:
    made = opening(defaults(SESSION, "model.onnx"), one)
    written = Session.model_validate(tomllib.loads("\n".join(session_lines(made)))["session"])
    assert session_json._options(written.model_dump()) == made["session_options"]
    assert written.config == made["config_entries"]
    assert bool(opens(made, ["model.onnx"])) == (made["file"] != "model.onnx")


@pytest.mark.parametrize("more", ["", "1 thread"])
def test_the_level_of_a_file_optimised_there_stays_out_of_what_ships(more: str) -> None:
    """As on an x86 machine, where such a file is tried: with its level the model that ships would run unoptimised."""
    known = {one.name: one for one in singles(Machine(4, 4, "x86_64"), SESSION, ["model.onnx"])}
    taken = known[OPTIMISED].joined(known[more]) if more else known[OPTIMISED]
    assert taken is not None
    found = tuned(taken)
    assert found.settings["file"] == OPTIMISED
    assert found.optimised is not None
    assert found.optimised["session_options"] == found.settings["session_options"]
    assert found.optimised["session_options"]["graph_optimization_level"] == "ORT_DISABLE_ALL"
    threads = {"intra_op_num_threads": 1} if more else {}
    assert found.session["session_options"] == {**DEFAULTS, **threads}
    assert found.news == bool(more)
    assert "graph_optimization_level" not in " ".join(advice(found.shipped, found.build.base, {}))
    assert OPTIMISED_SESSION in opens(found.settings, ["model.onnx"])


def test_a_file_that_ships_has_no_session_of_its_own() -> None:
    found = tuned(TWO)
    assert found.optimised is None
    assert found.session["session_options"] == found.settings["session_options"]
    assert found.news


def tuned(taken: Candidate) -> Tuned:
    """A search that took these settings."""
    build = Subject(Path(), ANY, ("model.onnx",), SESSION)
    return Tuned(build, {}, Outcome(taken, "", {}, [], [], {}, [], 0.0), Plan(60, 1, 0.1, 5.0, 0.25), 60)


# --- on the device ----------------------------------------------------------------------------------------------------------

_APART = """
import os, signal, sys, time
import tune
def say(work, limit=30, end=60):
    try:
        print(tune.apart(work, limit, time.monotonic() + end))
    except tune.Late:
        print("late")
say(lambda: "x" * 200000 and 7)
say(lambda: os.kill(os.getpid(), signal.SIGSEGV))
say(lambda: sys.exit("left"))
say(lambda: 1 / 0)
say(lambda: os._exit(3))
say(lambda: time.sleep(60), 0.1)
say(lambda: time.sleep(60), 30, 0.1)
say(lambda: print("libraries print") or 8)
try:
    os.waitpid(-1, 0)
except ChildProcessError:
    print("no child is left")
"""


def program(script: str) -> Sequence[str]:
    """What a script prints that imports the programs for devices."""
    path = os.pathsep.join([str(REMOTE), str(ROOT / "templates" / "device")])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.splitlines()


def test_a_trial_that_crashes_or_hangs_is_ended_and_says_so() -> None:
    assert program(_APART) == [
        "{'value': 7}",
        "{'error': 'its process ended with signal 11'}",
        "{'error': 'left'}",
        "{'error': 'division by zero'}",
        "{'error': 'its process ended with code 3'}",
        "{'error': 'it was not over after 0.1 s'}",
        "late",
        "{'value': 8}",
        "no child is left",
    ]


def test_cores_are_told_from_processors(tmp_path: Path) -> None:
    for number in range(4):
        about = tmp_path / f"devices/system/cpu/cpu{number}/topology"
        about.mkdir(parents=True)
        (about / "physical_package_id").write_text("0\n")
        (about / "core_id").write_text(f"{number // 2}\n")
    ask = f"print(*(tune.cores(one, Path({str(tmp_path)!r})) for one in ([0, 1, 2, 3], [0, 2], [7])))"
    assert program(f"import tune; from pathlib import Path; {ask}") == ["2 2 1"]

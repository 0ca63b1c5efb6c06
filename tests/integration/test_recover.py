"""``policy = "recover"`` and ``sensitivity``, on a network of 20 convolutions of which one is sabotaged."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from invoke.exceptions import Exit

from conftest import Workspace
from ortolan import plan
from ortolan.artifact import Outcome
from ortolan.build import Built, executor_for
from ortolan.execute import Results
from ortolan.manifest import read
from ortolan.platforms import host_platform
from ortolan.recover import EVALUATIONS, settle
from ortolan.sources import Job
from ortolan.verbs.sensitivity import run as sensitivity
from ortolan.verbs.why import run as why
from scheme_models import trained

pytestmark = pytest.mark.slow

TARGET = """
description = "A board"
platform = "linux/amd64"
[runtime]
versions = ["1.31.1"]
opset = 17
[shapes]
batch = 1
[quantize]
policy = "recover"
activations = "uint8"
[gates]
min_speedup = 0.001
min_agreement = 0.75
"""
MODEL = """
[source]
kind = "onnx"
file = "deep.onnx"
[[input]]
name = "image"
shape = ["batch", 1, 8, 8]
range = [0, 1]
[data]
calibration = { npz = "deep.npz", limit = 16 }
evaluation = { npz = "deep.npz", labels = "label" }
[accuracy]
max_drop = 0.25
"""


@pytest.fixture
def project(workspace: Workspace) -> Workspace:
    """A target that recovers, and the network with its data."""
    workspace.add("targets/board.toml", TARGET)
    workspace.add("models/deep.toml", MODEL)
    folder = workspace.root / "recipes" / "models"
    np.savez(folder / "deep.npz", **trained(folder / "deep.onnx", layers=20, sabotaged=[13]))  # type: ignore[arg-type]  # numpy's stub knows a keyword of its own
    return workspace


def built(project: Workspace) -> Built:
    (one,) = project.build("board", "deep")
    return one


def gate(one: Built, name: str, subject: str = "int8") -> Any:
    (found,) = [found for found in one.gates if (found.name, found.subject) == (name, subject)]
    return found


def test_the_sabotaged_layer_is_found_and_left_in_float(project: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    one = built(project)
    assert one.folder is not None, one.errors
    assert one.precision == "int8"
    assert gate(one, "recovered").measured == "1 of 40 layers in float: conv13"
    assert gate(one, "recovered").why == "2 evaluations"
    assert gate(one, "accuracy").outcome is Outcome.PASS
    made = read(one.folder / "manifest.json")
    assert made.precision_reason.endswith("with 1 of 40 layers in float: conv13")
    assert [step.params["exclude"] for step in made.steps if step.stage == "quantise"] == [["conv13"]]
    assert json.loads((one.folder / "coverage.json").read_text())["left_in_float"] == ["conv13"]
    why(project.root, ["board"], ["deep"], project.cache, as_json=False, emulation=True)
    assert "nothing changed since the last build" in capsys.readouterr().out


def test_a_second_build_searches_nothing_anew(project: Workspace) -> None:
    assert built(project).ok
    assert built(project).ok
    assert not [label for label in project.ran() if "in float" in label or "sensitivity" in label]


def test_without_the_search_fp32_ships_and_nothing_is_ranked(project: Workspace) -> None:
    project.edit("targets/board.toml", '"recover"', '"prefer"')
    one = built(project)
    assert one.precision == "fp32"
    assert gate(one, "accuracy").outcome is Outcome.FAIL
    assert "sensitivity" not in " ".join(one.steps)


def test_a_drop_that_cannot_be_brought_back_ships_fp32_with_the_reason(project: Workspace) -> None:
    project.edit("targets/board.toml", "min_agreement = 0.75", "min_agreement = 0.75\nmin_quantized_macs = 0.99")
    one = built(project)
    assert one.precision == "fp32"
    assert one.ok
    found = gate(one, "recovered")
    assert (found.outcome, found.measured, found.limit) == (Outcome.FAIL, "no such layers found", "≤ 0, by min_quantized_macs")


def asked(project: Workspace) -> tuple[Job, plan.Candidates, Results, Any]:
    """A job with its candidates' results, and what runs steps."""
    (job,) = project.jobs(["board"], ("deep",))
    executor = executor_for([job], project.options(), project.events.append)
    found = plan.candidates(job, host=host_platform())
    return job, found, executor.run(found.steps()), executor.run


def test_a_search_out_of_time_keeps_the_best_so_far_and_says_so(project: Workspace) -> None:
    project.edit("models/deep.toml", "max_drop = 0.25", "max_drop = 0.0")  # more than one layer has to go back
    project.edit("targets/board.toml", '"recover"', '"recover"\nbudget = "2 min"')
    job, found, results, run = asked(project)
    for ticks, evaluations in (([0.0, 121.0], 1), ([0.0, 1.0, 121.0], 2)):
        clock = iter(ticks)
        settled = settle(job, found, results, run, host_platform(), lambda clock=clock: next(clock))  # type: ignore[misc]
        recovery = settled.found.recovery
        assert recovery is not None
        assert recovery.timed
        assert recovery.evaluations == evaluations
        assert recovery.ended.startswith("the budget of 2 min ended the search")


def test_a_ranking_that_takes_longer_than_the_budget_is_ended(project: Workspace) -> None:
    """A timer ends the step for real: nothing that is done in a hundredth of a second can rank. No other test ranks this."""
    project.edit("targets/board.toml", '"recover"', '"recover"\nexclude = ["conv1"]')
    job, found, results, run = asked(project)
    quantize = job.target.recipe.quantize.model_copy(update={"budget": 0.01})
    recipe = job.target.recipe.model_copy(update={"quantize": quantize})
    hasty = replace(job, target=replace(job.target, recipe=recipe))
    clock = iter([0.0, 0.02])
    settled = settle(hasty, found, results, run, host_platform(), lambda: next(clock))
    recovery = settled.found.recovery
    assert recovery is not None
    assert recovery.timed
    assert recovery.ended.startswith("the layers could not be ranked: the budget of ")
    assert "sensitivity" not in {step.stage for step in settled.found.steps()}


def test_no_search_asks_more_often_than_it_may(project: Workspace) -> None:
    project.edit("models/deep.toml", "max_drop = 0.25", "max_drop = 0.0")
    one = built(project)
    assert one.ok
    assert int(gate(one, "recovered").why.partition(" ")[0]) <= EVALUATIONS


def test_the_ranking_names_the_layer_first(project: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    sensitivity(project.root, ["board"], ["deep"], project.cache, jobs=0, as_json=True)
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["layers"][0]["node"] == "conv13"
    assert told["layers"][0]["snr_db"] < 10 < told["layers"][1]["snr_db"]
    assert told["samples"] == 8
    sensitivity(project.root, ["board"], ["deep"], project.cache, jobs=0, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["deep for board: int8", "  rank  layer   operator  SNR alone  MACs"]
    assert lines[2].split()[:3] == ["1", "conv13", "Conv"]


def test_what_has_no_candidate_has_no_ranking(project: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    project.edit("models/deep.toml", 'calibration = { npz = "deep.npz", limit = 16 }', "")
    with pytest.raises(Exit):
        sensitivity(project.root, ["board"], ["deep"], project.cache, jobs=0, as_json=False)
    assert "the model recipe has no [data] calibration" in capsys.readouterr().err

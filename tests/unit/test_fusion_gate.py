"""The gate of fusion, from the facts of its steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ortolan import plan
from ortolan.artifact import Gate, Outcome
from ortolan.execute import Result, Results
from ortolan.gates.fusion import fusion
from ortolan.platforms import host_platform
from ortolan.recipe.optimise import Optimise
from ortolan.recipe.project import Project
from ortolan.sources import job
from ortolan.step import Step
from ortolan.store import Action

PROJECT = Project(Path(__file__).parents[2])
NODES = {"before": 9, "after": 4}


def done(step: Step, facts: dict[str, Any]) -> Result:
    return Result(step, Action("key:0", {}, facts=facts, refused=None))


def judged(fused: dict[str, int], *, runs: bool = True, targets: str = "*") -> list[Gate]:
    model = PROJECT.model("digits-mlp")
    wanted = Optimise(fusion="bert", heads=4, hidden=32, targets=[targets])
    one = job(replace(model, recipe=model.recipe.model_copy(update={"optimise": wanted})), PROJECT.target("x86-cpu"))
    found = plan.candidates(one, host=host_platform())
    results: Results = {step.id: done(step, {"onnx": {"runs": runs}}) for step in found.verify.values()}
    results[found.fixed.id] = done(found.fixed, {"fused": fused, "nodes": NODES})
    return fusion(one, found, results)


@pytest.mark.parametrize(
    ("fused", "runs", "outcome", "words"),
    [
        ({"Attention": 3}, True, Outcome.PASS, ""),
        ({"BiasGelu": 3}, True, Outcome.PASS, "attention was not recognised"),
        ({}, True, Outcome.FAIL, 'none of the patterns of fusion = "bert" is in the graph'),
        ({"Attention": 3}, False, Outcome.FAIL, "onnxruntime 1.17.3 does not run it, and may lack Attention"),
    ],
)
def test_something_is_fused_and_every_runtime_has_it(fused: dict[str, int], runs: bool, outcome: Outcome, words: str) -> None:
    (gate,) = judged(fused, runs=runs)
    assert gate.outcome is outcome
    assert words in gate.why
    assert bool(words) is bool(gate.why)
    assert gate.measured.endswith("9 → 4 nodes")


def test_a_target_that_is_left_out_is_not_fused() -> None:
    assert judged({}, targets="arm*") == []

"""A model and a target picked for a build, with the digests of all their files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .recipe.project import NamedModel, NamedTarget, model_files
from .step import Source, Step, Tree, tree

TOOLS = "tools"
"""The runtime of the stages that work on graphs."""
_LIMIT = 1800.0  # seconds that a step of ours may take; those on the user's code have the recipe's time_limit


@dataclass(frozen=True)
class Job:
    """One model for one target. ``trees`` holds the model's files by role: source, weights, calibration, evaluation, metric."""

    model: NamedModel
    target: NamedTarget
    trees: Mapping[str, Tree]

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.model.name} for {self.target.name}"

    def limits(self) -> dict[str, Any]:
        """What gates judge by: it is in no key, and decides what ships."""
        target, model = self.target.recipe, self.model.recipe
        wanted = {"gates": target.gates, "parity": model.parity, **({"accuracy": model.accuracy} if model.accuracy else {})}
        return {name: part.model_dump(mode="json") for name, part in wanted.items()} | {"policy": target.quantize.policy}

    def inputs(self, sizes: Mapping[str, int] = {}) -> list[dict[str, Any]]:
        """The recipe's ``[[input]]`` tables as stages take them; axes in ``sizes`` have that size, the others stay dynamic."""
        given = [one.model_dump(mode="json") for one in self.model.recipe.input]
        return [one | {"shape": [sizes.get(axis, axis) for axis in one["shape"]]} for one in given]

    def step(
        self,
        stage: str,
        read: Mapping[str, Source],
        runtime: str = TOOLS,
        limit: float = _LIMIT,
        *,
        note: str = "",
        **params: Any,
    ) -> Step:
        """A step of this job, its label made for people: model, stage, what tells it from its like."""
        detail = " ".join(part for part in (note, runtime.partition("-")[2]) if part)
        label = f"{self.model.name}: {stage.replace('_', ' ')}" + (f" ({detail})" if detail else "")
        return Step(stage, runtime, params, dict(read), label, limit)


def job(model: NamedModel, target: NamedTarget) -> Job:
    """Read the files of a model; a missing one is a RecipeError with its line."""
    files = model_files(model)
    trees = {
        "source": tree(files.code or files.onnx),
        "weights": tree({files.weights.name: files.weights}, single=True) if files.weights else None,
        "calibration": tree(files.calibration) if model.recipe.data.calibration else None,
        "evaluation": tree(files.evaluation) if model.recipe.data.evaluation else None,
        "metric": tree(files.metric) if files.metric else None,
    }
    return Job(model, target, {role: found for role, found in trees.items() if found})

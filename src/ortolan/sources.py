"""A model and a target picked for a build, with the digests of all their files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .recipe.project import NamedModel, NamedTarget, model_files
from .step import Tree, tree


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

"""Which jobs a command line means, and where they are built."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..build import Options
from ..cache import Cache, shipped
from ..errors import RecipeError
from ..recipe.project import NamedModel, Project, admits, model_from_onnx
from ..sources import Job, job


def options(root: Path, cache: Cache, jobs: int = 0) -> Options:
    """The project's own runtimes come before those that Ortolan ships."""
    return Options(cache, root / "build", runtime_folders(root), jobs)


def runtime_folders(root: Path) -> list[Path]:
    """Where runtimes are described, nearest first."""
    return [root / "runtimes", shipped() / "runtimes"]


def jobs(project: Project, targets: Sequence[str], models: Sequence[str]) -> list[Job]:
    """The jobs for the named targets and models; without models all that each target admits. RecipeError when there are none."""
    if not targets:
        raise RecipeError("which target?", why=f"known are {', '.join(project.targets())}", hint="--target raspberry-pi-5")
    found = _models(project, models)
    chosen = [(project.target(name), model) for name in dict.fromkeys(targets) for model in found]
    fitting = [job(model, target) for target, model in chosen if models or admits(target, model)]
    if not fitting:
        raise RecipeError(
            f"no model is for {', '.join(targets)}", hint="give one with --model, or look at `models` in the target"
        )
    return fitting


def _models(project: Project, names: Sequence[str]) -> list[NamedModel]:
    given = [model_from_onnx(Path(name)) if name.endswith(".onnx") else project.model(name) for name in dict.fromkeys(names)]
    return given or [project.model(name) for name in project.models()]

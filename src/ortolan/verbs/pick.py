"""Which jobs a command line means, and where they are built."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from .. import carried
from ..build import Options
from ..cache import Cache, shipped
from ..errors import RecipeError
from ..recipe.project import NamedModel, NamedTarget, Project, admits, model_from_file, takes
from ..recipe.sources import SUFFIXES
from ..recipe.waiver import load_waivers
from ..reduced.check import misfits
from ..sources import Job, job

Loaded = TypeVar("Loaded", NamedTarget, NamedModel)


def options(root: Path, cache: Cache, jobs: int = 0, *, emulation: bool = False) -> Options:
    """The project's own runtimes come before those that Ortolan ships."""
    return Options(cache, root / "build", runtime_folders(root), template_folders(root), jobs, emulation, misfits)


def template_folders(root: Path) -> list[Path]:
    """Where kinds of templates are, nearest first."""
    return [root / "templates", shipped() / "templates"]


def runtime_folders(root: Path) -> list[Path]:
    """Where runtimes are described, nearest first."""
    return [root / "runtimes", shipped() / "runtimes"]


def jobs(project: Project, targets: Sequence[str], models: Sequence[str]) -> list[Job]:
    """The jobs for the named targets and models; without models all that each target admits.

    Only what can be meant is read. RecipeError with the mistakes of all recipes that were read, and when there are no jobs.
    """
    if not targets:
        raise RecipeError("which target?", why=f"known are {', '.join(project.targets())}", hint="--target raspberry-pi-5")
    devices, mistakes = _each(project.target, targets)
    names = models or [name for name in project.models() if any(takes(device, name) for device in devices)]
    networks, more = _each(lambda name: _model(project, name), names)
    _complain([*mistakes, *more, *_namesakes(networks)])
    waivers = load_waivers(project.root, datetime.now(UTC).date())
    fitting = [job(model, device, waivers) for device in devices for model in networks if models or admits(device, model)]
    fitting = [carried.take(one, project.root / "build") for one in fitting]
    if not fitting:
        raise RecipeError(
            f"no model is for {', '.join(targets)}", hint="give one with --model, or look at `models` in the target"
        )
    return fitting


def _model(project: Project, name: str) -> NamedModel:
    """A name of the project's, or a path: what bears the suffix of a model, or is there."""
    if name in project.models():
        return project.model(name)
    path = Path(name)
    return model_from_file(path) if path.suffix.lower() in SUFFIXES or path.exists() else project.model(name)


def _each(load: Callable[[str], Loaded], names: Iterable[str]) -> tuple[list[Loaded], list[RecipeError]]:
    """What could be loaded, each once, and the mistakes in the others."""
    loaded: list[Loaded] = []
    mistakes: list[RecipeError] = []
    for name in dict.fromkeys(names):
        try:
            one = load(name)
        except RecipeError as error:
            mistakes.append(error)
        else:
            loaded += [] if one in loaded else [one]
    return loaded, mistakes


def _complain(mistakes: Sequence[RecipeError]) -> None:
    if len(mistakes) > 1:
        raise RecipeError("\n".join(map(str, mistakes)))
    if mistakes:
        raise mistakes[0]


def _namesakes(models: Sequence[NamedModel]) -> Iterator[RecipeError]:
    """Labels, tags and records of builds bear a model's name, so that two of one name could not be told apart."""
    for name, count in Counter(model.name for model in models).items():
        if count > 1:
            paths = [str(path) for model in models if model.name == name for path in _main_file(model)]
            why = f"{' and '.join(paths)} would both be {name} in labels, tags and records"
            yield RecipeError(f"two models are named {name!r}", why=why, hint="rename one of the files")


def _main_file(model: NamedModel) -> list[Path]:
    file = model.files.source.get(model.recipe.source.main)
    return [file or model.folder / f"{model.name}.toml"]

"""A folder with recipes: its targets and models by name, and the files that the models name."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..errors import RecipeError
from .explain import Problem, explain
from .files import SourceFiles, find, references, staged
from .load import complain, load_model, load_target, shown
from .nearest import did_you_mean
from .reference import Reference
from .schema import Model, Target
from .sources import SUFFIXES, Offer, recognise, unknown, whole

_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")


@dataclass(frozen=True)
class NamedTarget:
    """A target's recipe and the name of its file."""

    name: str
    path: Path
    recipe: Target

    @property
    def timings(self) -> Path | None:
        """The file of kernels' timings that engines begin with."""
        kit = self.recipe.outputs.tensorrt
        return self.path.parent / kit.timings if kit and kit.timings else None


@dataclass(frozen=True)
class NamedModel:
    """A model's recipe, its name, the folder that it stands in, and its files; the recipe's paths are the keys of these."""

    name: str
    folder: Path
    recipe: Model
    files: SourceFiles


@dataclass(frozen=True)
class Project:
    """The recipes below ``root``: ``recipes/targets/*.toml`` and ``recipes/models/*.toml``."""

    root: Path

    def targets(self) -> list[str]:
        """Their names, sorted."""
        return _names(self.root / "recipes" / "targets")

    def models(self) -> list[str]:
        """Their names, sorted."""
        return _names(self.root / "recipes" / "models")

    def target(self, name: str) -> NamedTarget:
        """Raises RecipeError for a name that is not there, for every mistake in its recipe, and for a file that it misses."""
        path = _pick("target", name, self.targets(), self.root / "recipes" / "targets")
        target = NamedTarget(name, path, load_target(path))
        if target.timings and not target.timings.is_file():
            near = did_you_mean(target.timings.name, [one.name for one in target.timings.parent.glob("*.cache")])
            raise complain(path, [Problem(("outputs", "tensorrt", "timings"), "no such file", near)])
        return target

    def model(self, name: str) -> NamedModel:
        """Raises RecipeError for a name that is not there, every mistake in its recipe, and every file that it misses."""
        path = _pick("model", name, self.models(), self.root / "recipes" / "models")
        recipe = load_model(path)
        named = list(references(recipe))
        files, problems = find(named, path.parent, self.root)
        if problems:
            raise complain(path, problems)
        return NamedModel(name, path.parent, _staged(recipe, named), files)


def model_from_file(path: Path) -> NamedModel:
    """The model that a file is by itself, of whichever kind it is. RecipeError with what the file does not tell."""
    path = whole(path)
    offer = offered(path)
    if offer.missing:
        lacking = "\n".join(f"{one.why}; a recipe says\n  {one.lines.replace(chr(10), chr(10) + '  ')}" for one in offer.missing)
        what = f"{shown(path)}: {offer.what} cannot be built without a recipe"
        raise RecipeError(what, why=lacking, hint=f"./inv model-add {shown(path)} writes one with what to fill in")
    return named_from(path, offer)


def named_from(path: Path, offer: Offer) -> NamedModel:
    """The model of a file that tells all. RecipeError where a recipe must say more, and where a file that it names is missing."""
    try:
        recipe = Model.model_validate({"source": offer.table})
    except ValidationError as error:
        said = [f"{shown(path)}: {one.text}. {one.hint}".rstrip() for one in explain(error, Model)]
        raise RecipeError("\n".join(said), hint=f"./inv model-add {shown(path)} writes a recipe to add it to") from None
    folder = Path(os.path.abspath(path)).parent  # noqa: PTH100 - resolve() would follow links, beside which no weights are
    files, problems = find(references(recipe), folder, folder)
    if problems:
        raise RecipeError("\n".join(f"{shown(path)}: {problem.text}" for problem in problems))
    return NamedModel(clean(path.stem), folder, recipe, files)


def offered(path: Path) -> Offer:
    """What a file is. RecipeError where there is none, and where no kind of source knows it."""
    if not path.exists():
        names = sorted(other.name for other in path.parent.glob("*") if other.suffix.lower() in SUFFIXES)
        raise RecipeError(f"{shown(path)}: no such file. {did_you_mean(path.name, names)}".rstrip())
    offer = recognise(path)
    if offer is None:
        what = "this is a folder, and no model" if path.is_dir() else "this is no model that Ortolan knows"
        why, hint = unknown(path)
        raise RecipeError(f"{shown(path)}: {what}", why=why, hint=hint)
    return offer


def model_files(model: NamedModel) -> SourceFiles:
    """The files of a model by role."""
    return model.files


def takes(target: NamedTarget, name: str) -> bool:
    """Whether the target takes a model of this name."""
    return _matches(name, target.recipe.models)


def admits(target: NamedTarget, model: NamedModel) -> bool:
    """Whether the target takes the model and the model is for the target."""
    return takes(target, model.name) and _matches(target.name, model.recipe.targets)


def _names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.toml") if not path.name.startswith("."))


def _pick(kind: str, name: str, known: list[str], folder: Path) -> Path:
    if name not in known:
        near = did_you_mean(name.removesuffix(".toml"), known) or f"There are: {', '.join(known) or 'none'}."
        raise RecipeError(f"{shown(folder)}: no {kind} is named {name!r}. {near}")
    path = folder / f"{name}.toml"
    if not _NAME.fullmatch(name):
        hint = f"rename the file to {clean(name)}.toml: small letters and digits, with single dots, dashes, underscores between"
        raise RecipeError(f"{shown(path)}: {name!r} cannot be part of a tag", hint=hint)
    return path


def clean(stem: str) -> str:
    """A name for tags, images and folders made of any text; letters lose their accents."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", stem.lower()) if not unicodedata.combining(letter))
    return re.sub(r"[^a-z0-9]*([._-])[^a-z0-9]*|[^a-z0-9]+", lambda m: m[1] or "-", plain).strip("._-") or "model"


def _matches(name: str, globs: Iterable[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


def _staged(recipe: Model, named: list[Reference]) -> Model:
    """The recipe with the paths that stages see."""
    changed = [one for one in named if staged(one.path) != one.path]
    if not changed:
        return recipe
    document = recipe.model_dump(exclude_unset=True)
    for one in changed:
        at: Any = document
        for key in one.keys[:-1]:
            at = at[key]
        at[one.keys[-1]] = staged(one.path) + at[one.keys[-1]].removeprefix(one.path)
    return Model.model_validate(document)

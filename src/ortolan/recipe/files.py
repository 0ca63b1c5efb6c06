"""The files that a model's recipe names: found, or a mistake at the line that names them."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .explain import Problem
from .nearest import did_you_mean
from .reference import Reference, file_of, several
from .schema import CallableData, DataSet, ImageData, Model, NpzData
from .toml_lines import Keys

IMAGES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True)
class SourceFiles:
    """By role, ``{path as a stage sees it: where it is}``. These paths equal the recipe's, see ``staged``.

    ``folders`` are those that the recipe names and all below them: a new name in one of them may be a new file.
    """

    source: Mapping[str, Path] = field(default_factory=dict)
    weights: Path | None = None
    calibration: Mapping[str, Path] = field(default_factory=dict)
    evaluation: Mapping[str, Path] = field(default_factory=dict)
    metric: Mapping[str, Path] = field(default_factory=dict)
    folders: frozenset[Path] = frozenset()


def staged(path: str) -> str:
    """A recipe's path as a stage sees it: normal, and inside the stage's folder even where ``..`` leads out of the recipe's."""
    parts = posixpath.normpath(path).split("/")
    return "/".join(part for part in parts if part != "..")


def references(recipe: Model) -> Iterator[Reference]:
    """Every path in a model's recipe."""
    yield from recipe.source.references()
    for role in ("calibration", "evaluation"):
        data: DataSet | None = getattr(recipe.data, role)
        if data is not None:
            yield from _data(("data", role), role, data)
    if recipe.accuracy and ".py:" in recipe.accuracy.metric:
        yield Reference(("accuracy", "metric"), file_of(recipe.accuracy.metric), "metric")


def find(given: Iterable[Reference], folder: Path, root: Path) -> tuple[SourceFiles, list[Problem]]:
    """Look every path up in the recipe's folder. What is missing, of another kind or outside ``root`` is a problem."""
    found: dict[str, dict[str, Path]] = {}
    problems: list[Problem] = []
    folders: set[Path] = set()
    for one in given:
        role = found.setdefault(one.role, {})
        wrong = _wrong(one, folder, root)
        for name, path in {} if wrong else _below(one, folder).items():
            if role.setdefault(name, path) != path:
                wrong = Problem(one.keys, f"{path} and {role[name]} would both be {name} in the build", "Rename one.")
        problems += [wrong] if wrong else []
        folders |= set() if wrong else {inner for inner, _ in _walk(folder / one.path)}
    weights = next(iter(found.pop("weights", {}).values()), None)
    return SourceFiles(weights=weights, folders=frozenset(folders), **found), problems


def _data(keys: Keys, role: str, data: DataSet) -> Iterator[Reference]:
    if isinstance(data, NpzData):
        yield Reference((*keys, "npz"), data.npz, role)
    elif isinstance(data, ImageData):
        yield Reference((*keys, "images"), data.images, role, "images")
    elif isinstance(data, CallableData):
        yield Reference((*keys, "callable"), file_of(data.callable), role)
        yield from several((*keys, "files"), role, data.files)


def _wrong(one: Reference, folder: Path, root: Path) -> Problem | None:
    """What is wrong with a path, if anything."""
    if Path(one.path).is_absolute():
        return Problem(one.keys, f"{one.path} is an absolute path", "Write it relative to the recipe.")
    path = Path(os.path.abspath(folder / one.path))  # noqa: PTH100 - resolve() would follow links, which may lead anywhere
    if not path.is_relative_to(root.absolute()):
        return Problem(one.keys, f"{one.path} lies outside the project", f"Put it below {root.absolute().name}/, or link it.")
    if not path.exists():
        names = sorted(other.name for other in path.parent.iterdir()) if path.parent.is_dir() else []
        near = did_you_mean(path.name, names) or f"It is looked up in {folder.absolute().name}/, beside the recipe."
        return Problem(one.keys, f"{one.path} does not exist", near)
    return _misfit(one, path, folder)


def _misfit(one: Reference, path: Path, folder: Path) -> Problem | None:
    if one.what == "file" and path.is_dir():
        return Problem(one.keys, f"{one.path} is a folder", "Name a file.")
    if one.what in {"images", "folder"} and not path.is_dir():
        whose = "images" if one.what == "images" else "model"
        return Problem(one.keys, f"{one.path} is a file", f"Name the folder that holds the {whose}.")
    if path.is_dir() and not _below(one, folder):
        return Problem(one.keys, f"{one.path} holds no {'images' if one.what == 'images' else 'files'}")
    return None


def _below(one: Reference, folder: Path) -> dict[str, Path]:
    """A file, or all files of a folder."""
    top, name = folder / one.path, staged(one.path)
    if not top.is_dir():
        return {name: top}
    inside = sorted(path for _, files in _walk(top) for path in files)
    kept = [path for path in inside if one.what != "images" or path.suffix.lower() in IMAGES]
    return {posixpath.normpath(f"{name}/{path.relative_to(top).as_posix()}"): path for path in kept}


def _walk(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[tuple[Path, list[Path]]]:
    """A folder and all below it, each with its files. Links are followed, except those that lead back to a folder on the way."""
    real = Path(os.path.realpath(folder))
    if not folder.is_dir() or folder.name == "__pycache__" or real in above:
        return
    inside = sorted(folder.iterdir())
    yield folder, [path for path in inside if path.is_file()]
    for path in inside:
        yield from _walk(path, (*above, real))

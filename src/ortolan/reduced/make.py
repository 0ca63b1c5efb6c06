"""Makes a reduced runtime: recalled where it was made before, else compiled in a tree that goes on from the last build."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import digest
from ..disk import disk, json_bytes, part_of, remove, sweep, write_json
from ..errors import OrtolanError
from ..runtime.make import only_one
from . import compile as compiler
from . import record, sources, tree
from .config import NAME as CONFIG
from .config import Config
from .edits import edits
from .flags import Knobs, flags, more_sources
from .job import Work
from .pinned import Pins
from .root import ensure

CURRENT = "current.json"
_LOCK = ".lock"  # in a target's folder of runtimes: one process at a time changes what is there
LICENCES, HEADER = "licences", "onnxruntime_c_api.h"
_HEADER = Path("onnxruntime/include/onnxruntime/core/session") / HEADER


@dataclass(frozen=True)
class Wanted:
    """What somebody asks for. ``given``: a folder with the sources; None: they are fetched, and kept in ``cache``."""

    platform: str
    config: Config
    knobs: Knobs
    given: Path | None
    cache: Path
    mirrors: Sequence[str]
    jobs: int


@dataclass(frozen=True)
class Made:
    """A reduced runtime in the cache. ``seconds``: processor time that compiling it took; None where it was there already."""

    folder: Path
    record: dict[str, Any]
    seconds: float | None

    @property
    def key(self) -> str:
        """The digest of all that it was built from."""
        return str(self.record["key"])


def planned(pins: Pins, wanted: Wanted, say: Callable[[str], object] = str) -> Work:
    """What is built, with everything that it is built from at hand. OrtolanError for whatever cannot be used."""
    found = (
        sources.given(pins, wanted.given)
        if wanted.given
        else sources.fetched(pins, [*wanted.mirrors, *pins.mirrors], wanted.cache / "sources", say)
    )
    more = more_sources(wanted.knobs, pins.root.platforms[wanted.platform])
    found += sources.also(more, wanted.given) if more else []
    root = ensure(pins.root, wanted.platform, wanted.cache / "roots", say)
    told = flags(wanted.knobs, root.platform, wanted.config, cross=root.cross)
    patches = edits({source.pinned.name: source.pinned.version for source in found})
    return Work(wanted.platform, wanted.config, wanted.knobs, told, found, patches, root)


def made(work: Work, cache: Path, jobs: int, say: Callable[[str], object], line: Callable[[str], object] = str) -> Made:
    """The library of ``work``, its record and its licences, in a folder of the cache; compiled where it is not there yet."""
    place = cache / "results" / digest.short(work.key)
    if known := _sound(place, work.key):
        return Made(place, known, None)
    before = compiler.cpu_seconds()
    with tree.opened(cache / "trees" / digest.short(work.tree), work.root, work.sources, work.patches, say) as opened:
        if known := _sound(place, work.key):  # by the build that had the tree until now
            return Made(place, known, None)
        say("configuring" if opened.configured is None else "compiling what the change of operators needs")
        library = compiler.library(opened, work.config, work.knobs, work.flags, jobs, line)
        told = record.record(work, library, _readelf(opened), work.sources[0].pinned.version)
        _keep(place, opened, work, told, library)
    return Made(place, told, compiler.cpu_seconds() - before)


def put(result: Made, folder: Path, *, current: bool) -> Path:
    """Copy a result into ``build/<target>/runtime/``, and make it the current one if ``current``; else that stays as it is."""
    place = folder / result.folder.name
    with disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with only_one(folder / _LOCK):
            if _sound(place, result.key) != result.record:
                with _new(place) as part:
                    _copy(result.folder, part)
            if current:
                write_json(folder / CURRENT, {"key": result.key, "folder": place.name})
    return place


def _copy(folder: Path, to: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            target = to / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())


def _sound(place: Path, key: str) -> dict[str, Any] | None:
    """The record, when it is of ``key``, and the library and its configuration have the digests that it says."""
    try:
        told: dict[str, Any] = json.loads((place / record.NAME).read_text())
        files = {told["library"]["file"]: told["library"]["digest"], CONFIG: told["config"]}
        whole = told["key"] == key and all(digest.of_file(place / name) == one for name, one in files.items())
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return told if whole else None


def _readelf(opened: tree.Tree) -> str:
    """What readelf, of the root file system, tells of the library."""
    lines: list[str] = []
    told = [f"{opened.root.platform.triple}-readelf", "--wide", "--dynamic", "--version-info", compiler.LIBRARY]
    if opened.run(told, lines.append):
        raise OrtolanError("the library cannot be read", where=str(opened.place / tree.LOG), why=opened.tail(4))
    return "\n".join(lines) + "\n"


def _keep(place: Path, opened: tree.Tree, work: Work, told: dict[str, Any], library: Path) -> None:
    with _new(place) as part:
        (part / compiler.LIBRARY).write_bytes(library.read_bytes())
        (part / record.NAME).write_bytes(json_bytes(told))
        (part / CONFIG).write_text(work.config.text())
        (part / HEADER).write_bytes((opened.place / _HEADER).read_bytes())
        (part / LICENCES).mkdir()
        for name, text in record.licences(work, opened.place).items():
            (part / LICENCES / name).write_bytes(text)
        (part / tree.LOG).write_bytes((opened.place / tree.LOG).read_bytes())


@contextmanager
def _new(place: Path) -> Iterator[Path]:
    """A folder that takes the place of ``place`` once it is whole."""
    with disk(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        sweep(place.parent)
        part = part_of(place)
        try:
            remove(part)
            part.mkdir()
            yield part
            remove(place)
            part.rename(place)
        finally:
            remove(part)

"""The folder that an image is built from: a build's files, and what its Dockerfile wants beside them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import digest, runtime
from ..errors import OrtolanError
from ..runtime.npm import FOLDER
from . import wheels
from .order import Order

_RUNTIME, _PACKAGE = "web", "onnxruntime-web"


def fill(given: Order, to: Path) -> Path | None:
    """Fill a new folder. Returns the one in it that holds the runtime, None where the base brings it."""
    shutil.copytree(given.folder, to, copy_function=_copy)
    kind, web = to / given.docker.templates, given.web
    if web:
        return _page(given, web, kind / "dist")
    if given.docker.runtime == "base":
        return None
    found = wheels.unpacked(kind / "requirements.txt", given.docker, given.platform, given.cache)
    shutil.copytree(found, kind / "site-packages", copy_function=_link)
    return kind / "site-packages"


def size(folder: Path) -> int:
    """The bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _page(given: Order, web: Mapping[str, Any], to: Path) -> Path:
    """The files of onnxruntime-web that web.json names, from the pinned runtime, each with the digest that it had then."""
    made = runtime.ensure(runtime.find(_RUNTIME, given.runtimes), given.cache.runtimes)
    dist = made.interpreter.parents[1] / FOLDER / _PACKAGE / "dist"
    to.mkdir(parents=True)
    for file in web["files"]:
        source = dist / file["name"]
        if not source.is_file() or digest.of_file(source) != file["digest"]:
            where = str(given.folder / "web.json")
            raise OrtolanError(
                f"{file['name']} of {_PACKAGE} is not the one that the build names", where=where, hint="build again"
            )
        _copy(source, to / file["name"])
    return to


def _copy(source: str | Path, to: str | Path) -> None:
    """Readable by the image's user, whatever the umask here."""
    shutil.copyfile(source, to)
    Path(to).chmod(0o644)


def _link(source: str | Path, to: str | Path) -> None:
    """Another name costs no room; another disk wants a copy. Unpacked wheels are readable already."""
    try:
        os.link(source, to)
    except OSError:
        _copy(source, to)

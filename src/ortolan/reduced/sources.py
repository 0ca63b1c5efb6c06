"""Where the sources of a build are: fetched by their digests, or in a folder of the user's, as tarballs or unpacked."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .. import digest
from ..errors import OrtolanError
from .fetch import fetch
from .pinned import Pinned, Pins

_TARBALL = re.compile(r"\.(tar(\.\w+)?|tgz|txz)$")
_HINT = "docs/reduced-runtime.md tells which files and versions a build takes"


@dataclass(frozen=True)
class Source:
    """A source that is here: a tarball or a folder. ``digest`` is that of the file, or of the tree less what is skipped."""

    pinned: Pinned
    place: Path
    digest: str

    @property
    def file(self) -> str:
        """The tarball's or the folder's name."""
        return self.place.name


def fetched(pins: Pins, mirrors: Sequence[str], folder: Path, say: Callable[[str], object] = str) -> list[Source]:
    """The pinned tarballs in ``folder``, fetched where they are missing. OrtolanError when no mirror has them."""
    found = []
    for one in pins.sources:
        place = folder / digest.short(one.digest) / one.file
        urls = [f"{mirror.rstrip('/')}/{one.path}" for mirror in mirrors]
        found.append(Source(one, fetch(urls, one.digest, place, say), one.digest))
    return found


def given(pins: Pins, folder: Path) -> list[Source]:
    """The sources in a folder of the user's. OrtolanError for one that is missing, of another version, or with other bytes."""
    if not folder.is_dir():
        raise OrtolanError("there is no such folder", where=str(folder), hint=_HINT)
    return [_given(one, folder) for one in pins.sources]


def also(names: Sequence[str], folder: Path | None) -> list[Source]:
    """Trees of ``folder`` that bear these names and are pinned nowhere: what they hold is told by their digests.

    OrtolanError that names those that are missing.
    """
    missing = [name for name in names if folder is None or not (folder / name).is_dir()]
    if missing or folder is None:
        where = str(folder or "the pinned sources")
        hint = "leave it out of the recipe, or give a folder with --sources that has these trees as well"
        raise OrtolanError(f"these sources have no {', no '.join(missing)}", where=where, hint=hint)
    return [_loose(name, folder / name) for name in names]


def unpack(source: Source, to: Path) -> None:
    """Bring the source to ``to``, a folder that is not there yet, less what is skipped.

    OrtolanError for a tarball that is damaged, or was changed since its digest was taken.
    """
    if source.place.is_dir():
        for name in _files(source.pinned, source.place):
            target = to / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((source.place / name).read_bytes())
            target.chmod((source.place / name).stat().st_mode & 0o777)
        return
    try:
        with tarfile.open(source.place) as tar:
            tar.extractall(to, members=_members(tar, source.pinned), filter="data")
    except (tarfile.TarError, EOFError) as error:
        raise OrtolanError("a tarball cannot be unpacked", where=str(source.place), why=str(error)) from error
    if digest.of_file(source.place) != source.digest:
        raise OrtolanError("a tarball changed while it was unpacked", where=str(source.place), hint="run the same command again")


def _members(tar: tarfile.TarFile, pinned: Pinned) -> Iterator[tarfile.TarInfo]:
    """The tarball's members less their first folder."""
    for member in tar:
        path = PurePosixPath(member.name)
        inside = PurePosixPath(*path.parts[1:])
        if inside.parts and not _skipped(pinned, inside):
            yield member.replace(name=inside.as_posix(), deep=False)


def _skipped(pinned: Pinned, path: PurePosixPath) -> bool:
    return any(path.is_relative_to(folder) for folder in pinned.skip)


def _given(pinned: Pinned, folder: Path) -> Source:
    named = [path for path in sorted(folder.iterdir()) if _is_named(pinned, path)]
    tarballs = [path for path in named if path.is_file() and _TARBALL.search(path.name)]
    for path in tarballs:
        found = digest.of_file(path)
        if found == pinned.digest:
            return Source(pinned, path, found)
    trees = [path for path in named if path.is_dir() and (path / pinned.told[0]).is_file()]
    if trees:
        return _tree(pinned, next((path for path in trees if _version(pinned, path) == pinned.version), trees[0]))
    raise _refused(pinned, folder, tarballs)


def _is_named(pinned: Pinned, path: Path) -> bool:
    """onnxruntime_1.21.0+dfsg.orig.tar.xz and onnxruntime-1.21.0 are onnxruntime; onnx is a name of its own."""
    rest = path.name.removeprefix(pinned.name)
    return path.name.startswith(pinned.name) and not rest[:1].isalpha()


def _refused(pinned: Pinned, folder: Path, tarballs: Sequence[Path]) -> OrtolanError:
    wanted = f"{pinned.name} {pinned.version}: {pinned.file} with {pinned.digest}, or an unpacked tree"
    if not tarballs:
        return OrtolanError(f"there is no {pinned.name} here", where=str(folder), why=f"a build takes {wanted}", hint=_HINT)
    path = tarballs[0]
    other = re.search(r"\d+(\.\d+)+", path.name)
    if other and other[0] != pinned.version:
        what = f"this is {pinned.name} {other[0]}, and builds are made of {pinned.version}"
        return OrtolanError(what, where=str(path), why=f"a build takes {wanted}", hint=_HINT)
    why = f"its digest is {digest.of_file(path)}; a build takes {wanted}"
    return OrtolanError("this tarball has other bytes than the pinned one", where=str(path), why=why, hint=_HINT)


def _tree(pinned: Pinned, place: Path) -> Source:
    version = _version(pinned, place)
    if version != pinned.version:
        what = f"this is {pinned.name} {version}, and builds are made of {pinned.version}"
        raise OrtolanError(what, where=str(place / pinned.told[0]), hint=_HINT)
    return Source(pinned, place, _digest(pinned, place))


def _version(pinned: Pinned, place: Path) -> str:
    found = re.search(pinned.told[1], (place / pinned.told[0]).read_text(errors="replace"), re.MULTILINE)
    return found[1] if found else "of an unknown version"


def _loose(name: str, place: Path) -> Source:
    licences = tuple(sorted(path.name for path in place.glob("LICENSE*") if path.is_file()))
    pinned = Pinned(name, "as given", "", "", "NOASSERTION", licences, ("", ""), (".git",))
    return Source(pinned, place, _digest(pinned, place))


def _digest(pinned: Pinned, place: Path) -> str:
    return digest.of_tree({name: digest.of_file(place / name) for name in _files(pinned, place)})


def _files(pinned: Pinned, place: Path) -> Iterator[str]:
    """The files of an unpacked tree, as paths in it."""
    for path in sorted(place.rglob("*")):
        inside = PurePosixPath(path.relative_to(place).as_posix())
        if path.is_file() and not _skipped(pinned, inside):
            yield inside.as_posix()

"""``runtime.json``: what a reduced runtime was built from, and what its library is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import digest
from . import elf
from .compile import LIBRARY
from .flags import SPEED, shims
from .job import Work
from .sources import Source
from .tree import GLUE

NAME = "runtime.json"
VERSION = 1
_COLLECTION = 1_000_000  # bytes of a licence file


def record(work: Work, library: Path, readelf: str, onnxruntime: str) -> dict[str, Any]:
    """The record of a stripped library, of which ``readelf`` is what that program tells. No paths, no times."""
    return {
        "runtime_version": VERSION,
        "key": work.key,
        "onnxruntime": onnxruntime,
        "platform": work.platform,
        "config": digest.of_bytes(work.config.text().encode()),
        "sources": [*_sources(work), *_headers(work)],
        "flags": dict(work.flags),
        "patches": [{"file": patch.path.name, "digest": patch.digest, "why": patch.why} for patch in work.patches],
        "glue": [{"file": name, "digest": digest.of_file(GLUE / name)} for name in _glue(work)],
        "toolchain": {"compiler": work.root.compiler, "version": work.root.version, "packages": work.root.digest},
        "knobs": asdict(work.knobs),
        "library": {"file": LIBRARY, "digest": digest.of_file(library), "size": library.stat().st_size},
        "needed": elf.needed(readelf),
        "symbol_versions": dict(elf.symbol_versions(readelf)),
    }


def _glue(work: Work) -> list[str]:
    return [*(f"{name}.c" for name in shims(work.knobs)), SPEED]


def licences(work: Work, tree: Path) -> dict[str, bytes]:
    """The texts of the licences that the library is under, by file name; those of the sources lie in ``tree``."""
    own = {
        f"{source.pinned.name}-{Path(name).stem}.txt": tree / source.pinned.name / name
        for source in work.sources
        for name in source.pinned.licences
    }
    texts = {name: path.read_bytes() for name, path in own.items()}
    for name, told in _compiled_in(work).items():
        if path := work.root.licence(name):
            texts[f"{name}.txt"] = brief(path.read_bytes(), told["licence"])
    return dict(sorted(texts.items()))


def brief(text: bytes, licence: str) -> bytes:
    """A licence file of Debian's as it is; of one about a whole collection (Boost: 2 MB) the head and ``licence``.

    The form is that of Debian's machine-readable copyright files: paragraphs, of which ``License: NAME`` hold the texts.
    """
    if len(text) < _COLLECTION:
        return text
    paragraphs = text.split(b"\n\n")
    wanted = [one for one in paragraphs if one.startswith(f"License: {licence}\n".encode())]
    head = [line for line in paragraphs[0].splitlines() if line.startswith((b"Format:", b"Upstream-"))]
    return b"\n\n".join([b"\n".join(head), *wanted]) + b"\n" if wanted else text


def _sources(work: Work) -> list[dict[str, str]]:
    return [
        {
            "name": source.pinned.name,
            "version": source.pinned.version,
            "file": _file(source),
            "digest": source.digest,
            "licence": source.pinned.licence,
        }
        for source in work.sources
    ]


def _file(source: Source) -> str:
    """The pinned tarball's name, whatever the user's copy is called; a tree's is that of the source."""
    return source.pinned.file if source.digest == source.pinned.digest else source.pinned.name


def _headers(work: Work) -> list[dict[str, str]]:
    return [{"name": name, **told} for name, told in _compiled_in(work).items()]


def _compiled_in(work: Work) -> Mapping[str, Mapping[str, str]]:
    """The packages that leave code in the library: headers, and the C++ runtime where it is linked in."""
    found = {name: told for name, told in work.root.packages.items() if "licence" in told}
    if work.knobs.static_cxx:
        suffix = f"-dev-{work.platform.rpartition('/')[2]}-cross" if work.root.cross else "-dev"
        packages = work.root.packages.items()
        runtime = {name: told for name, told in packages if name.startswith("libstdc++-") and name.endswith(suffix)}
        found |= {name: {**told, "licence": "GPL-3.0-or-later WITH GCC-exception-3.1"} for name, told in runtime.items()}
    keys = ("version", "file", "digest", "licence")
    return {name: {key: told[key] for key in keys} for name, told in sorted(found.items())}

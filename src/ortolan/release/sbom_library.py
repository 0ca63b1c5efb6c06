"""The part of the bill of materials that a bundle's own ONNX Runtime has: what its library was compiled from, and how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from packageurl import PackageURL

from ..digest import canonical
from .licences import hashed, licences

_Json = dict[str, Any]
_RUNTIME = "onnxruntime"
LIBRARY = f"reduced:{_RUNTIME}"
"""The reference of the library; those of its sources follow the same form."""


def components(record: Mapping[str, Any]) -> Iterator[_Json]:
    """The library, then each of its sources and the packages that leave code in it; ``record`` is its ``runtime.json``."""
    sources = {str(one["name"]): one for one in record["sources"]}
    yield _library(record, str(sources.get(_RUNTIME, {}).get("licence", "")))
    for name, one in sorted(sources.items()):
        link = PackageURL("generic", None, name, one["version"]).to_string()
        yield {
            "type": "library", "bom-ref": _ref(name), "name": name, "version": one["version"], "purl": link,
            "scope": "required", **licences(one["licence"]),
            "externalReferences": [{"type": "source-distribution", "url": one["file"], "hashes": hashed(one["digest"])}],
        }  # fmt: skip


def graph(record: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The library depends on all of them."""
    return LIBRARY, [_ref(str(one["name"])) for one in record["sources"]]


def _ref(name: str) -> str:
    return f"reduced-source:{name}"


def _library(record: Mapping[str, Any], licence: str) -> _Json:
    toolchain = record["toolchain"]
    told = {
        "role": "reduced runtime", "key": record["key"], "platform": record["platform"], "configuration": record["config"],
        "compiler": f"{toolchain['compiler']} {toolchain['version']}", "flags": canonical(record["flags"]).decode(),
        "knobs": canonical(record["knobs"]).decode(), "needed": ", ".join(record["needed"]),
    }  # fmt: skip
    return {
        "type": "framework", "bom-ref": LIBRARY, "name": _RUNTIME, "version": record["onnxruntime"], "scope": "required",
        "purl": PackageURL("generic", None, _RUNTIME, record["onnxruntime"]).to_string(),
        "hashes": hashed(record["library"]["digest"]), **licences(licence), **_patched(record["patches"]),
        "properties": [{"name": f"ortolan:{name}", "value": value} for name, value in sorted(told.items())],
    }  # fmt: skip


def _patched(patches: Sequence[Mapping[str, str]]) -> _Json:
    """What was changed in the sources, by the names of the files with the changes, and why."""
    if not patches:
        return {}
    notes = "; ".join(f"{one['file']} ({one['digest']}): {one['why']}" for one in patches)
    return {"pedigree": {"patches": [{"type": "unofficial", "diff": {"url": one["file"]}} for one in patches], "notes": notes}}

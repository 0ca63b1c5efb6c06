"""What templates see: a manifest, with every text that a user could have written marked as such."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ..contract import BESIDE
from ..manifest import Manifest, TensorPart
from ..recipe import go_binding
from .names import LANGUAGES, identifiers
from .quote import Untrusted

LIBRARY, HEADER = "libonnxruntime.so", "onnxruntime_c_api.h"
"""What a build that carries its own ONNX Runtime calls the library, and the C header that came with it."""
_LOADED = ("model.onnx", "model.ort", "model.web.onnx", "model.web.ort")


def context(manifest: Manifest) -> dict[str, Any]:
    """The manifest's own parts by its own names, for templates.

    ``tag``, ``precision``, ``model`` (with ``file``, what a program loads, ``files``, that and the one with its weights where
    there is one, and ``names``, its name as an identifier of each language), ``target``, ``inputs``, ``outputs``, ``axes``,
    ``providers``, ``session_options``, ``config_entries``, ``sharing``, ``golden``, ``artifacts``, ``library``, ``go``. Names
    of tensors, axes, providers and options, and texts of recipes are ``Untrusted``; numbers, digests, tags, data types, names
    of models and targets and our own file names are plain.

    A tensor has ``name``, ``dtype``, ``ids`` (``{language: identifier}``), ``rank``, ``ranked`` (False when the model leaves the
    rank open, and ``rank`` is that of the first golden sample), ``dims`` (``{"size"}`` of a fixed one, ``{"axis"}``, an entry of
    ``axes`` or None, of a dynamic one), ``fixed``, ``count`` (elements, None where dynamic), ``shape`` of the first golden
    sample,
    and ``samples``, ``{"offset", "size", "shape"}`` in ``golden.bin``.

    ``library`` is None, or where the build carries its own ONNX Runtime ``file``, ``model``, the one file that it opens, and
    ``header``, whether the header of its C API is there too.

    ``go`` is None where no tag of the Go binding fits, else ``tag``, ``api``, ``note``, ``has`` as in ``go_binding.Binding``, and
    ``adding``, for each of ``providers`` ``{"call", "name"}``, both empty where the tag cannot add it.
    """
    signature, golden = manifest.signature, manifest.golden
    axes = _axes(signature.inputs)
    return {
        "tag": manifest.tag,
        "precision": manifest.precision,
        "model": _model(manifest),
        "target": _target(manifest),
        "inputs": [_tensor(*pair, axes, golden.samples, "inputs") for pair in _with_ids(signature.inputs, "input")],
        "outputs": [_tensor(*pair, axes, golden.samples, "outputs") for pair in _with_ids(signature.outputs, "output")],
        "axes": axes,
        "providers": [{"name": Untrusted(one.name), "options": _texts(one.options)} for one in signature.providers],
        "session_options": signature.session_options,
        "config_entries": _texts(signature.config_entries),
        "sharing": signature.sharing,
        "golden": {**golden.model_dump(include={"runtime", "rtol", "atol", "min_snr_db"}), "count": len(golden.samples)},
        "artifacts": {one.name: {"digest": one.digest, "size": one.size} for one in manifest.artifacts},
        "library": _library({one.name for one in manifest.artifacts}),
        "go": _go(manifest.target.versions[0], [one.name for one in signature.providers]),
    }


def _model(manifest: Manifest) -> dict[str, Any]:
    model, have = manifest.model, {one.name for one in manifest.artifacts}
    file = next((name for name in _LOADED if name in have), "")
    return {
        "name": model.name,
        "names": _ids([model.name], "model")[0],
        "hash": model.hash,
        "licence": Untrusted(model.licence),
        "file": file,
        "files": [name for name in (file, file + BESIDE) if name in have],
    }


def _library(have: Collection[str]) -> dict[str, Any] | None:
    return {"file": LIBRARY, "model": "model.ort", "header": HEADER in have} if LIBRARY in have else None


def _go(oldest: str, providers: Sequence[str]) -> dict[str, Any] | None:
    binding = go_binding.find(oldest)
    if binding is None:
        return None
    adding = [asdict(binding.providers.get(name, go_binding.Adding())) for name in providers]
    return {"tag": binding.tag, "api": binding.api, "note": binding.note, "has": binding.has, "adding": adding}


def _target(manifest: Manifest) -> dict[str, Any]:
    kept = manifest.target.model_dump(include={"name", "platform", "package", "versions", "opset"})
    return {**kept, "providers": [Untrusted(name) for name in manifest.target.providers]}


def _texts(given: Mapping[str, str]) -> list[tuple[Untrusted, Untrusted]]:
    return [(Untrusted(key), Untrusted(value)) for key, value in given.items()]


def _ids(names: Sequence[str], kind: str) -> list[dict[str, str]]:
    by_language = {language: identifiers(names, language, kind) for language in LANGUAGES}
    return [{language: found[index] for language, found in by_language.items()} for index in range(len(names))]


def _with_ids(tensors: Sequence[TensorPart], kind: str) -> list[tuple[TensorPart, dict[str, str]]]:
    return list(zip(tensors, _ids([tensor.name for tensor in tensors], kind), strict=True))


def _axes(inputs: Sequence[TensorPart]) -> list[dict[str, Any]]:
    """The dynamic axes of the inputs by name, each once; one without a name is an axis of its own."""
    sized = [(tensor, place, size) for tensor in inputs for place, size in enumerate(tensor.shape or [])]
    names = list(dict.fromkeys(_axis(tensor, place) for tensor, place, size in sized if not isinstance(size, int)))
    return [{"name": Untrusted(name), "ids": ids} for name, ids in zip(names, _ids(names, "axis"), strict=True)]


def _axis(tensor: TensorPart, place: int) -> str:
    size = (tensor.shape or [])[place]
    return size if isinstance(size, str) else f"{tensor.name} {place}"


def _tensor(
    tensor: TensorPart,
    ids: Mapping[str, str],
    axes: Sequence[Mapping[str, Any]],
    golden: Sequence[Mapping[str, Mapping[str, Mapping[str, Any]]]],
    kind: str,
) -> dict[str, Any]:
    samples = [{key: sample[kind][tensor.name][key] for key in ("offset", "size", "shape")} for sample in golden]
    shape = tensor.shape if tensor.shape is not None else [None] * (len(samples[0]["shape"]) if samples else 0)
    known = {axis["name"].text: axis for axis in axes}
    sizes = [size for size in shape if isinstance(size, int)]
    whole = tensor.model_copy(update={"shape": shape})
    return {
        "name": Untrusted(tensor.name),
        "dtype": tensor.dtype,
        "ids": ids,
        "rank": len(shape),
        "ranked": tensor.shape is not None,
        "dims": [{"size": s} if isinstance(s, int) else {"axis": known.get(_axis(whole, i))} for i, s in enumerate(shape)],
        "fixed": len(sizes) == len(shape),
        "count": math.prod(sizes) if len(sizes) == len(shape) else None,
        "shape": samples[0]["shape"] if samples else [],
        "samples": samples,
    }

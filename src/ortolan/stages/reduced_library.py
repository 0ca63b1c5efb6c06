"""Takes in a reduced ONNX Runtime as it was built, and reads of the library's own tables what a device must have for it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .lib import elf

INPUTS = ("result",)
PARAMS = ()
OUTPUTS = (
    "libonnxruntime.so",
    "reduced-runtime.json",
    "reduced-runtime.config",
    "reduced-runtime-licences.txt",
    "onnxruntime_c_api.h?",
)

_NAMES = {
    "libonnxruntime.so": "libonnxruntime.so",
    "runtime.json": "reduced-runtime.json",
    "required_operators_and_types.config": "reduced-runtime.config",
    "onnxruntime_c_api.h": "onnxruntime_c_api.h",
}
"""The files of a build of the runtime, and what they are called beside a model."""
_RULE = "=" * 100


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:  # noqa: ARG001
    """Facts: ``size``, ``record`` (runtime.json), and ``elf``, the fields of ``elf.Library``, or ``error`` for what is none."""
    folder = inputs["result"]
    for name, other in _NAMES.items():
        if (folder / name).is_file():
            shutil.copyfile(folder / name, out / other)
    (out / "reduced-runtime-licences.txt").write_text(_licences(folder / "licences"), encoding="utf-8")
    return facts(folder)


def facts(folder: Path) -> dict[str, Any]:
    """The same of a folder as ``runtime-build`` leaves it."""
    data = (folder / "libonnxruntime.so").read_bytes()
    record = json.loads((folder / "runtime.json").read_text())
    try:
        return {"size": len(data), "record": record, "elf": asdict(elf.read(data)), "error": ""}
    except elf.NotElf as error:
        return {"size": len(data), "record": record, "elf": None, "error": str(error)}


def _licences(folder: Path) -> str:
    """The texts one below the other, each below the name of its file."""
    texts = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    read = {name: texts[name].read_text(encoding="utf-8", errors="replace").strip() for name in sorted(texts)}
    return "".join(f"{_RULE}\n{name}\n{_RULE}\n\n{text}\n\n" for name, text in read.items())

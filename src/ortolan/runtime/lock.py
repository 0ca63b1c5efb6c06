"""Lock a new runtime: resolve a package and write ``runtimes/<name>/``."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from ..errors import RuntimeSetupError
from .spec import RuntimeSpec, find
from .uv import uv

_PINNED = re.compile(r"^(onnxruntime)==(\d+\.\d+\.\d+)$")
_PYTHON = "3.11"
# onnxruntime below 1.19 was compiled against numpy 1 and its metadata does not say so (1.17.3 fails to import with numpy 2).
_OLD = (1, 19)
_WITH_NUMPY_2 = ("numpy>=2", "onnx==1.23.2", "pillow")
_WITH_NUMPY_1 = ("numpy==1.26.4", "onnx==1.19.1", "pillow")


def add(package: str, folder: Path) -> RuntimeSpec:
    """Lock ``onnxruntime==X.Y.Z`` as a runtime below ``folder``, with what the stages need beside it.

    RuntimeSetupError when the package is not of that form, is there already, or cannot be resolved; nothing is left then.
    """
    match = _PINNED.match(package.strip())
    if not match:
        raise RuntimeSetupError(f"'{package}' cannot be locked as a runtime", hint="write it like onnxruntime==1.22.1")
    name = f"{match[1]}-{match[2]}"
    place = folder / name
    if place.exists():
        raise RuntimeSetupError(f"runtime {name} is there already", where=str(place), hint="remove the folder to lock it anew")
    part = folder / f".{name}.part-{os.getpid()}"
    try:
        _write(part, match[2], package.strip())
        part.rename(place)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return find(name, [folder])


def _write(part: Path, version: str, package: str) -> None:
    part.mkdir(parents=True)
    old = tuple(map(int, version.split(".")))[:2] < _OLD
    wanted, lock = part / "requirements.in", part / "requirements.txt"
    wanted.write_text("\n".join([package, *(_WITH_NUMPY_1 if old else _WITH_NUMPY_2)]) + "\n")
    quiet = ["--quiet", "--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
    uv(
        ["pip", "compile", *quiet, "--python-version", _PYTHON, "--generate-hashes", str(wanted), "-o", str(lock)],
        doing=f"lock {package}",
    )
    described = f'description = "What a device with ONNX Runtime {version} runs"\npython = "{_PYTHON}"\n'
    (part / "runtime.toml").write_text(described)

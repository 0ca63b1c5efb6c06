"""What templates of images see beside the manifest: the recipe's words, and the wheels that a session imports, hash by hash."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import runtime
from ..errors import OrtolanError
from ..manifest import TargetPart
from ..recipe.docker import Docker, wheels_for
from ..recipe.schema import Target

_ENTRY = re.compile(r"^([A-Za-z0-9._-]+)==.*(?:\n[ \t].*)*", re.MULTILINE)
_NUMPY, _NVIDIA = "numpy", "nvidia-"  # the CUDA libraries come as wheels too
NVIDIA = frozenset({"CUDAExecutionProvider", "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider"})
EPOCH = 315532800
"""Seconds: 1980-01-01, the earliest date that zip knows. The one time that files in images bear."""


def docker(target: TargetPart, table: Docker, runtimes: Sequence[Path]) -> dict[str, Any]:
    """The table's keys, ``requirements`` (entries of ``lock``), ``wheels`` (the platform in uv's words), ``nvidia``, ``epoch``.

    OrtolanError when no runtime locks the fleet's oldest version, or its lock does not hold what a session imports.
    """
    lock = _lock(target.platform, target.package, target.versions, table)
    return {
        **table.model_dump(),
        "requirements": entries(runtime.find(lock, runtimes).lock, target.package) if lock else [],
        "wheels": wheels_for(target.platform) if lock else "",
        "lock": lock,
        "nvidia": bool(NVIDIA.intersection(target.providers)),
        "epoch": EPOCH,
    }


def image_locks(recipe: Target) -> list[str]:
    """The runtimes whose locks a target's image is made from."""
    fleet, table = recipe.runtime, recipe.outputs.docker
    lock = _lock(recipe.platform, fleet.package, fleet.versions, table) if table else ""
    return [lock] if lock else []


def _lock(platform: str, package: str, versions: Sequence[str], table: Docker) -> str:
    """That of the oldest version of the fleet; none where the base holds the runtime, or a page brings its own."""
    return f"{package}-{versions[0]}" if table.runtime == "wheels" and wheels_for(platform) else ""


def entries(lock: Path, package: str) -> list[str]:
    """The entries of a lock for what a session imports: ONNX Runtime, numpy, NVIDIA's libraries; each with all its hashes.

    ONNX Runtime's other requirements serve its converters; nothing that runs a model imports them.
    """
    found = {match[1]: match[0] for match in _ENTRY.finditer(lock.read_text())}
    lacking = [name for name in (package, _NUMPY) if name not in found]
    if lacking:
        raise OrtolanError(f"the lock has no {' and no '.join(lacking)}", where=str(lock), hint="lock it anew")
    return [text for name, text in sorted(found.items()) if name in {package, _NUMPY} or name.startswith(_NVIDIA)]

"""What a model needs whose last build failed by nothing but the reduced runtime that it was tried with: the one to replace.

Nothing of a failed build is put in place, but its results are in the store.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..outputs.reduced_library import NAME as RUNTIME
from ..store import Store

_GATES = f"{RUNTIME.partition('-')[0]}-"
_STEP = ": ort convert ("


def files(told: Mapping[str, Any], names: Sequence[str], store: Path | None) -> dict[str, bytes]:
    """The files that its step of conversion left, by name; none where the build failed by something else or they are gone.

    ``told`` is the record of the build, ``store`` where its results are.
    """
    failed = [gate["name"] for gate in told["gates"] if gate["outcome"] == "fail"]
    if store is None or told["errors"] or not failed or not all(name.startswith(_GATES) for name in failed):
        return {}
    key = next((key for label, key in told.get("steps", {}).items() if _STEP in label), "")
    place = Store(store)
    action = place.recall(key) if key else None
    if action is None or not set(names) <= action.outputs.keys():
        return {}
    try:
        return {name: _bytes(place, action.outputs[name].digest) for name in names}
    except StoreError:
        return {}


def _bytes(store: Store, digest: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="ortolan-") as folder:
        store.fetch(digest, Path(folder, "object"))
        return Path(folder, "object").read_bytes()

"""Samples as raw little-endian bytes with a JSON header, for programs that read no npz."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT = 1
ALIGNMENT = 64  # bytes: a tensor can be read in place, whatever its type
Sample = Mapping[str, Any]


def write(data: Path, header: Path, feeds: Sequence[Sample], results: Sequence[Sample]) -> dict[str, Any]:
    """Write both files; returns the header.

    ``samples`` has for each sample ``inputs`` and ``outputs``, ``{name: {"dtype", "shape", "offset", "size"}}`` with offset and
    size in bytes. Tensors are C-contiguous, start at multiples of ``ALIGNMENT``, and booleans are bytes of 0 and 1. Strings have
    no raw form: they stand in the header as ``values``, with size 0.
    """
    samples, place = [], 0
    with data.open("wb") as stream:
        for given, made in zip(feeds, results, strict=True):
            sample: dict[str, dict[str, Any]] = {}
            for kind, tensors in (("inputs", given), ("outputs", made)):
                sample[kind] = {}
                for name, array in tensors.items():
                    sample[kind][name], place = _append(stream, place, array)
            samples.append(sample)
    found = {"format": FORMAT, "byte_order": "little", "file": data.name, "size": place, "samples": samples}
    header.write_text(json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    return found


def _append(stream: Any, place: int, array: NDArray[Any]) -> tuple[dict[str, Any], int]:
    import numpy as np

    if array.dtype.kind in "OSU":
        values = [str(value) for value in array.reshape(-1)]
        return {"dtype": "str", "shape": list(array.shape), "offset": place, "size": 0, "values": values}, place
    data = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"))).tobytes()
    stream.write(data + bytes(-len(data) % ALIGNMENT))
    about = {"dtype": array.dtype.name, "shape": list(array.shape), "offset": place, "size": len(data)}
    return about, place + len(data) + -len(data) % ALIGNMENT

"""Samples on disk as deterministic npz, and the comparison of tensors."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[Any]

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that zip knows


def write_samples(path: Path, samples: Iterable[Mapping[str, Array]]) -> None:
    """Write a list of ``{name: array}`` as npz with keys ``<index>/<name>``; equal samples give equal bytes.

    A sample without tensors (for a model without inputs) is kept as the key ``<index>/``.
    """
    import numpy as np

    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for index, sample in enumerate(samples):
            for name in sorted(sample) or [""]:
                array = np.asarray(sample[name] if sample else np.zeros(0))
                array = array.astype(np.str_) if array.dtype == object else array
                entry = zipfile.ZipInfo(f"{index}/{name}.npy", _EPOCH)
                entry.create_system = 3  # Unix, on every system
                with archive.open(entry, "w", force_zip64=True) as stream:
                    np.lib.format.write_array(stream, np.ascontiguousarray(array).reshape(array.shape), allow_pickle=False)


def read_samples(path: Path) -> list[dict[str, Array]]:
    """Read what ``write_samples`` wrote, in order."""
    import numpy as np

    found: dict[int, dict[str, Array]] = {}
    with np.load(path, allow_pickle=False) as archive:
        for key in archive.files:
            index, _, name = key.partition("/")
            sample = found.setdefault(int(index), {})
            if name:
                sample[name] = archive[key]
    return [found[index] for index in sorted(found)]


def halved(sample: Mapping[str, Array], names: Collection[str]) -> dict[str, Array]:
    """A sample with its float32 tensors of these names in float16, as a model in half precision wants them."""
    return {
        name: array.astype("float16") if name in names and array.dtype == "float32" else array for name, array in sample.items()
    }


def compare(expected: Array, actual: Array, rtol: float, atol: float) -> dict[str, Any]:
    """How far ``actual`` is from ``expected``: ``max_abs``, ``max_rel``, ``snr_db``, ``nan``, ``close``, ``reason``.

    Floats are close as in ``numpy.allclose``. Integers and booleans must be equal within ``atol``; ``rtol`` says nothing about
    them, for class 1000 is not nearly class 1001. NaN is never close, in either tensor. A value that has no finite number is
    ``None``: ``snr_db`` of equal tensors, ``max_rel`` of a reference that is all zeros, all three for empty tensors, for strings,
    and where shapes or dtypes differ. ``nan`` counts those of both; ``reason`` is empty when close.
    """
    import numpy as np

    expected, actual = (a.astype(np.str_) if a.dtype == object else a for a in (np.asarray(expected), np.asarray(actual)))
    reason = _mismatch(expected, actual)
    if reason:
        return _verdict(None, None, None, 0, reason)
    if expected.dtype.kind in "US":
        wrong = int((expected != actual).sum())
        return _verdict(None, None, None, 0, f"{wrong} of {expected.size} strings differ" if wrong else "")
    return _numbers(expected, actual, rtol=rtol, atol=atol)


def worst(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The comparisons of one tensor over several samples as one: largest errors, smallest SNR, close only if all are."""
    if not results:
        raise ValueError("no comparison to summarise")

    def most(key: str, choose: Any) -> Any:
        return choose((r[key] for r in results if r[key] is not None), default=None)

    first = next((r["reason"] for r in results if r["reason"]), "")
    return _verdict(most("max_abs", max), most("max_rel", max), most("snr_db", min), sum(r["nan"] for r in results), first)


def absent(reason: str) -> dict[str, Any]:
    """The comparison of a tensor that is not there on one side."""
    return _verdict(None, None, None, 0, reason)


def _verdict(max_abs: float | None, max_rel: float | None, snr_db: float | None, nan: int, reason: str) -> dict[str, Any]:
    return {"max_abs": max_abs, "max_rel": max_rel, "snr_db": snr_db, "nan": nan, "close": not reason, "reason": reason}


def _mismatch(expected: Array, actual: Array) -> str:
    if expected.shape != actual.shape:
        return f"shape {list(actual.shape)}, expected {list(expected.shape)}"
    if expected.dtype != actual.dtype and not {expected.dtype.kind, actual.dtype.kind} <= set("US"):
        return f"dtype {actual.dtype}, expected {expected.dtype}"
    return ""


def _numbers(expected: Array, actual: Array, *, rtol: float, atol: float) -> dict[str, Any]:
    import numpy as np

    exact = expected.dtype.kind in "biu"
    a, e = (x.astype(np.complex128 if x.dtype.kind == "c" else np.float64) for x in (actual, expected))
    bad = int(np.isnan(e).sum()), int(np.isnan(a).sum())
    same = actual == expected  # equal infinities too, and integers beyond the reach of float64
    with np.errstate(all="ignore"):
        error = np.where(same, 0.0, np.maximum(np.abs(a - e), np.float64(exact)))
        within = same | (error <= atol + (0.0 if exact else rtol) * np.abs(e)) & np.isfinite(a) & np.isfinite(e)
        relative = error[e != 0] / np.abs(e[e != 0])
        power, noise = float(np.sum(np.abs(e) ** 2)), float(np.sum(error**2))
        snr = 10 * np.log10(power / noise) if noise and power else float("nan")
    reason = _reason(bad, int((~within).sum()), e.size)
    return _verdict(_peak(error), _peak(relative), _finite(snr), sum(bad), reason)


def _reason(nan: tuple[int, int], wrong: int, size: int) -> str:
    if any(nan):
        return f"NaN in {nan[0]} of {size} expected and {nan[1]} actual values"
    return f"{wrong} of {size} values beyond tolerance" if wrong else ""


def _peak(values: Array) -> float | None:
    return _finite(values.max()) if values.size else None


def _finite(value: float | np.floating[Any]) -> float | None:
    return float(value) if math.isfinite(value) else None

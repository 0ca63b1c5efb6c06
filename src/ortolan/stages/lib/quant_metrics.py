"""Scores of model outputs: against labels, and of a quantised model against the model in float."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .refused import Refused

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

LABELLED = frozenset({"top1", "top5", "snr", "mse"})
LOWER_IS_BETTER = frozenset({"mse"})
SNR_LIMIT = 120.0
"""dB; what equal outputs count as. float32 itself resolves about 144 dB."""
_AGREEING_SNR = 10.0  # dB: the error has a tenth of the signal's power
_MATRIX = 2


def snr_db(reference: Array, found: Array) -> float:
    """Signal-to-noise ratio in dB, within ± ``SNR_LIMIT``: power of the reference over power of the difference."""
    import numpy as np

    if reference.shape != found.shape:
        return -SNR_LIMIT
    wanted = reference.astype(np.float64)
    signal, noise = float(np.sum(wanted**2)), float(np.sum((wanted - found.astype(np.float64)) ** 2))
    if not np.isfinite([signal, noise]).all():
        return -SNR_LIMIT
    with np.errstate(divide="ignore"):
        ratio = 10 * (np.log10(signal) - np.log10(noise)) if signal or noise else SNR_LIMIT
    return float(np.clip(ratio, -SNR_LIMIT, SNR_LIMIT))


def agree(reference: Array, found: Array) -> bool:
    """Whether a quantised model's output stands for the same answer.

    [N,C] with C of at least 2: the same class in every row. Other floats: an SNR of 10 dB. Integers, booleans, strings: equal.
    """
    import numpy as np

    if reference.dtype.kind != "f":
        return bool(np.array_equal(reference, found))
    if reference.shape != found.shape or not np.isfinite(found).all():
        return False
    if reference.ndim == _MATRIX and reference.shape[1] >= _MATRIX:
        return bool((reference.argmax(1) == found.argmax(1)).all())
    return snr_db(reference, found) >= _AGREEING_SNR


def scores(metric: str, outputs: Mapping[str, Array], label: Any, index: int) -> list[float]:
    """The scores of one sample by its first output: one per row for ``top1`` and ``top5``, one for ``snr`` and ``mse``.

    ``label`` holds class numbers, or for ``snr`` and ``mse`` the reference output. Raises ``Refused`` when it does not fit.
    """
    import numpy as np

    name, output = next(iter(outputs.items()))
    wanted = np.asarray(label)
    if metric in {"top1", "top5"}:
        return _hits(output, wanted, int(metric[3:]), f"{metric} of output {name!r}, sample {index}")
    if wanted.size != output.size:
        why = f"output {name!r} has shape {list(output.shape)}, its label {list(wanted.shape)}"
        raise Refused(f"{metric} of sample {index} has no reference", why=why, hint="give the wanted output as label")
    wanted = wanted.reshape(output.shape)
    if metric == "snr":
        return [snr_db(wanted, output)]
    return [float(np.mean((wanted.astype(np.float64) - output.astype(np.float64)) ** 2))]


def _hits(output: Array, label: Array, k: int, where: str) -> list[float]:
    import numpy as np

    rows = output.reshape(output.shape[0], -1) if output.ndim else output.reshape(1, 1)
    classes = label.reshape(-1)
    if classes.dtype.kind not in "iu":
        why, hint = f"it has dtype {label.dtype}", "labels are class numbers: integers from 0"
        raise Refused(f"{where}: the label is no class number", why=why, hint=hint)
    if len(classes) != len(rows):
        why = f"the output has shape {list(output.shape)}, {len(rows)} rows, and there are {len(classes)} labels"
        raise Refused(f"{where}: labels and rows differ in number", why=why, hint="top1 and top5 are for outputs [N,C]")
    if classes.min() < 0 or classes.max() >= rows.shape[1]:
        why = f"the output has {rows.shape[1]} classes, the label is {int(classes.max())}"
        raise Refused(f"{where}: the label is not a class", why=why, hint="class numbers start from 0")
    best = np.argsort(-rows, axis=1, kind="stable")[:, :k]
    return [float(wanted in row) for wanted, row in zip(classes, best, strict=True)]

"""Readies LightGBM's text for a converter that knows float32 and sums: it means the same for float32 inputs afterwards."""

from __future__ import annotations

import re
from collections.abc import Callable

from .est_thresholds import down_to_float32

_AVERAGE = "\naverage_output\n"
_SIZES = re.compile(r"^tree_sizes=.*\n", re.MULTILINE)


def averaged(text: str) -> bool:
    """Whether the trees' outputs are averaged, as those of ``boosting_type = "rf"`` are."""
    return _AVERAGE in text.partition("\nTree=0")[0]


def for_converter(text: str) -> str:
    """Thresholds that float32 can hold; leaves divided by the number of iterations where outputs are averaged.

    onnxmltools 1.16 divides a random forest's output by 100, however many trees it has.
    """
    text = _SIZES.sub("", text)  # lengths of the trees' texts, which change; LightGBM searches without them
    text = _each(text, "threshold", down_to_float32)
    if not averaged(text):
        return text
    per = int(_header(text, "num_tree_per_iteration"))
    rounds = text.count("\nTree=") // per
    return _each(text.replace(_AVERAGE, "\n", 1), "leaf_value", lambda value: value / rounds)


def _each(text: str, key: str, change: Callable[[float], float]) -> str:
    def line(match: re.Match[str]) -> str:
        return f"{key}=" + " ".join(repr(change(float(word))) for word in match[1].split())

    return re.sub(rf"^{key}=(.*)$", line, text, flags=re.MULTILINE)


def _header(text: str, key: str) -> str:
    found = re.search(rf"^{key}=(\S+)$", text, re.MULTILINE)
    return found[1] if found else "1"

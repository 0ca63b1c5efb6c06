"""Readies LightGBM's text for a converter that knows float32 and sums: it means the same for float32 inputs afterwards."""

from __future__ import annotations

import re
from collections.abc import Callable

from .est_thresholds import down_to_float32

_BY_CATEGORY = 1  # the lowest bit of a node's decision_type
_AVERAGE = "\naverage_output\n"
_SIZES = re.compile(r"^tree_sizes=.*\n", re.MULTILINE)


def averaged(text: str) -> bool:
    """Whether the trees' outputs are averaged, as those of ``boosting_type = "rf"`` are."""
    return _AVERAGE in text.partition("\nTree=0")[0]


def by_category(text: str) -> list[str]:
    """The features that some node splits by category, by name."""
    head, *trees = text.split("\nTree=")
    nodes = [pair for tree in trees for pair in zip(_words(tree, "split_feature"), _words(tree, "decision_type"), strict=False)]
    names = _words(head, "feature_names")
    found = sorted({int(feature) for feature, kind in nodes if int(kind) & _BY_CATEGORY})
    return [names[index] if index < len(names) else str(index) for index in found]


def for_converter(text: str) -> str:
    """Thresholds that float32 can hold; leaves divided by the number of iterations where outputs are averaged.

    onnxmltools 1.16 divides a random forest's output by 100, however many trees it has.
    """
    text = _SIZES.sub("", text)  # lengths of the trees' texts, which change; LightGBM searches without them
    text = _each(text, "threshold", down_to_float32)
    if not averaged(text):
        return text
    per = int(next(iter(_words(text, "num_tree_per_iteration")), "1"))
    rounds = text.count("\nTree=") // per
    return _each(text.replace(_AVERAGE, "\n", 1), "leaf_value", lambda value: value / rounds)


def _each(text: str, key: str, change: Callable[[float], float]) -> str:
    def line(match: re.Match[str]) -> str:
        return f"{key}=" + " ".join(repr(change(float(word))) for word in match[1].split())

    return re.sub(rf"^{key}=(.*)$", line, text, flags=re.MULTILINE)


def _words(text: str, key: str) -> list[str]:
    found = re.search(rf"^{key}=(.*)$", text, re.MULTILINE)
    return found[1].split() if found else []

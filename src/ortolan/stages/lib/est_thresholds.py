"""Thresholds of trees in float32: ``x <= t`` for every float32 ``x`` exactly where ``x <= down_to_float32(t)``.

Converters round a float64 threshold to the nearest float32, so that an input equal to it may take the other branch.
"""

from __future__ import annotations

from typing import Any


def down_to_float32(value: float) -> float:
    """The largest float32 that is no larger."""
    import numpy as np

    near = np.float32(value)
    return float(np.nextafter(near, np.float32(-np.inf)) if float(near) > value else near)


def of_sklearn(model: Any) -> None:
    """Round the thresholds of every tree in an estimator down, in place."""
    import numpy as np

    for part in _below(model):
        if (tree := getattr(part, "tree_", None)) is not None and hasattr(tree, "threshold"):
            near = tree.threshold.astype(np.float32)
            lower = np.nextafter(near, np.float32(-np.inf))
            tree.threshold[:] = np.where(near.astype(np.float64) > tree.threshold, lower, near)


def _below(model: Any) -> list[Any]:
    """An estimator and those that it holds."""
    waiting, found = [model], dict[int, Any]()
    while waiting:
        one = waiting.pop()
        if isinstance(one, list | tuple):
            waiting += one
        elif type(one).__name__ == "ndarray":
            waiting += one.ravel().tolist() if one.dtype == object else []
        elif hasattr(one, "get_params") and id(one) not in found:
            found[id(one)] = one
            waiting += [value for value in vars(one).values() if isinstance(value, list | tuple) or hasattr(value, "__dict__")]
            waiting += [value for value in vars(one).values() if type(value).__name__ == "ndarray"]
    return list(found.values())

"""Thresholds of trees in float32: ``x <= t`` for every float32 ``x`` exactly where ``x <= down_to_float32(t)``.

Converters round a float64 threshold to the nearest float32, so that an input equal to it may take the other branch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import est_histograms

if TYPE_CHECKING:
    from numpy.typing import NDArray


def down_to_float32(value: float) -> float:
    """The largest float32 that is no larger."""
    import numpy as np

    near = np.float32(value)
    return float(np.nextafter(near, np.float32(-np.inf)) if float(near) > value else near)


def of_sklearn(model: Any) -> None:
    """Round the thresholds of every tree in an estimator down, in place."""
    for part in below(model):
        if (tree := getattr(part, "tree_", None)) is not None and hasattr(tree, "threshold"):
            tree.threshold[:] = _down(tree.threshold)
        for nodes in est_histograms.trees(part):
            nodes["num_threshold"][:] = _down(nodes["num_threshold"])


def _down(thresholds: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    near = thresholds.astype(np.float32)
    return np.where(near.astype(np.float64) > thresholds, np.nextafter(near, np.float32(-np.inf)), near)


def below(model: Any) -> list[Any]:
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

"""scikit-learn's histogram gradient boosting, for a converter that hands numpy's own integers to ONNX.

skl2onnx 1.20 takes node numbers from records of uint32 and uint8, which protobuf refuses beside Python's, and knows neither
categories nor losses whose predictions are not the sum of the leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .refused import Refused

_NAMES = ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor")
_SUMS = frozenset({"squared_error", "absolute_error", "quantile"})
_INTEGERS = "nodes_"  # what attributes of trees are called that may hold such integers


def check(parts: Iterable[Any]) -> None:
    """Raises ``Refused`` for what the converter would leave out without a word."""
    for part in parts:
        name = type(part).__name__
        if name not in _NAMES:
            continue
        if getattr(part, "is_categorical_", None) is not None:
            hint = "encode categories as numbers before it, and leave out categorical_features"
            raise Refused(f"{name} splits by categories", why="its converter to ONNX knows numbers only", hint=hint)
        if name.endswith("Regressor") and part.loss not in _SUMS:
            hint = f"train with loss = {' or '.join(sorted(_SUMS))}"
            raise Refused(f"{name} with loss '{part.loss}' has no converter to ONNX", why="it sums leaves", hint=hint)


def trees(part: Any) -> Iterator[Any]:
    """The records of the nodes of every tree; none of other estimators."""
    if type(part).__name__ in _NAMES:
        for rounds in vars(part)["_predictors"]:
            for predictor in rounds:
                yield predictor.nodes


def plain(convert: Callable[..., Any]) -> Callable[..., Any]:
    """A converter of skl2onnx's that is handed a container which takes integers of every kind."""

    def converted(scope: Any, operator: Any, container: Any) -> None:
        convert(scope, operator, _Plain(container))

    return converted


class _Plain:
    """A container of nodes that makes integers those of Python; all else is the container's own."""

    def __init__(self, container: Any) -> None:
        self._container = container

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def add_node(self, *about: Any, **attributes: Any) -> None:
        """The container's, with lists of numbers that are Python's."""
        self._container.add_node(*about, **{name: _ints(name, value) for name, value in attributes.items()})


def _ints(name: str, value: Any) -> Any:
    if not (name.startswith(_INTEGERS) and isinstance(value, list)):
        return value
    return [one if isinstance(one, str | float) else int(one) for one in value]

"""A fitted model's own answers, under the names and in the types of its converted form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import est_finish
from .estimators import Estimator
from .refused import Refused

if TYPE_CHECKING:
    from onnx import ModelProto


def answers(opened: Estimator, model: ModelProto, samples: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One array per output, for every sample. Raises ``Refused`` where the two forms differ in their outputs."""
    return [_answer(opened, model, sample) for sample in samples]


def _answer(opened: Estimator, model: ModelProto, sample: Mapping[str, Any]) -> dict[str, Any]:
    found, outputs = opened.outputs(sample), list(model.graph.output)
    if len(found) != len(outputs):
        why = f"the estimator answers with {len(found)} array(s), its converted form with {', '.join(o.name for o in outputs)}"
        raise Refused("the estimator and its converted form differ in their outputs", why=why)
    return {info.name: est_finish.as_output(info, array, opened.classes) for info, array in zip(outputs, found, strict=True)}

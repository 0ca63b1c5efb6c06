"""What happens inside a converted estimator: by its own steps, and by ONNX's reference implementation of the operators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from . import down_convert, est_sklearn
from .est_columns import table
from .estimators import Estimator
from .transient import reraise_if_transient

if TYPE_CHECKING:
    from onnx import ModelProto


def steps(opened: Estimator, model: ModelProto, sample: Mapping[str, Any]) -> dict[str, Any]:
    """What each transformer of a scikit-learn pipeline gives, by the tensor that its converter made of it.

    skl2onnx converts the same pipeline to the same names. Only tensors that are left in the model are told.
    """
    chain = getattr(opened.model, "steps", None)
    if opened.framework is not est_sklearn or not chain:
        return {}
    _, topology = est_sklearn.topology(opened.model, opened.columns, down_convert.opset(model))
    made = {id(op.raw_operator): op.outputs[0].onnx_name for op in topology.unordered_operator_iterator() if len(op.outputs) == 1}
    left = {name for node in model.graph.node for name in node.output}
    found, rows = dict[str, Any](), table(opened.columns, sample)
    for _, step in chain[:-1]:
        rows = step.transform(rows) if hasattr(step, "transform") else rows
        if made.get(id(step)) in left:
            found[made[id(step)]] = _like_samples(rows, sample)
    return found


def reference(model: ModelProto, sample: Mapping[str, Any]) -> dict[str, Any]:
    """Every tensor of the main graph by onnx's reference implementation; nothing where it lacks an operator."""
    import numpy as np
    from onnx.reference import ReferenceEvaluator

    names = [name for node in model.graph.node for name in node.output if name]
    try:
        evaluator = ReferenceEvaluator(model)
        found: Any = evaluator.run(None, dict(sample), intermediate=True)
    except Exception as error:  # noqa: BLE001 - its operators raise what they like; then only the outputs are known
        reraise_if_transient(error)
        return {}
    return {name: found[name] for name in names if isinstance(found.get(name), np.ndarray) and found[name].dtype.kind in "biuf"}


def _like_samples(rows: Any, sample: Mapping[str, Any]) -> Any:
    """In the type that the model computes in: that of its inputs."""
    import numpy as np

    array = np.asarray(rows.todense() if hasattr(rows, "todense") else rows)
    return array.astype(next(iter(sample.values())).dtype)

"""LightGBM's boosters: read from text, converted by onnxmltools, asked by LightGBM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import est_lgb_text
from .est_columns import Column, one_tensor
from .refused import Refused

if TYPE_CHECKING:
    from onnx import ModelProto

_TYPES = ("float32",)
_END = "\nend of trees\n"
_OPSET = 15  # the newest that onnxmltools 1.16 knows
_CLASSIFIERS = ("binary", "multiclass", "multiclassova")


def read(path: Path, trust: bool) -> Any:  # noqa: ARG001 - nothing in such a file is run
    """The booster in a file. Raises ``Refused`` where it ends early, and where leaves hold more than a number."""
    import lightgbm

    text = path.read_text(encoding="utf-8", errors="replace")  # with \n for the ends of lines
    if _END not in text:
        hint = "copy or save it again"
        raise Refused(f"{path.name} is not whole", why="LightGBM takes the trees that are there and says nothing", hint=hint)
    if "\nis_linear=1\n" in text:
        raise Refused(
            "the leaves hold linear models", why="the converter takes constants only", hint="train with linear_tree = false"
        )
    if named := est_lgb_text.by_category(text):
        why = "LightGBM cuts numbers to whole categories, the converter's trees compare them as they are"
        raise Refused(
            f"splits by category, in {', '.join(named[:5])}", why=why, hint="encode categories as numbers before training"
        )
    return lightgbm.Booster(model_str=text)


def columns(model: Any, recipe: Sequence[Mapping[str, Any]]) -> list[Column]:
    """One input with all features. Raises ``Refused`` where the model was trained on categories."""
    categories = model.pandas_categorical
    if categories:
        hint = "encode categories as numbers before training"
        raise Refused("the model was trained on columns of categories", why="one tensor of numbers goes in", hint=hint)
    return one_tensor(recipe, int(model.num_feature()), _TYPES)


def convert(model: Any, given: Sequence[Column], opset: int) -> ModelProto:
    """As onnxmltools gives it, with a tensor of probabilities in place of maps."""
    import lightgbm
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    types = [(column.name, FloatTensorType([None, column.width])) for column in given]
    ready = lightgbm.Booster(model_str=est_lgb_text.for_converter(model.model_to_string()))
    made: ModelProto = convert_lightgbm(ready, initial_types=types, target_opset=min(opset, _OPSET), zipmap=False)
    return made


def classes(model: Any) -> Any:  # noqa: ARG001 - a booster numbers its classes
    """None: labels are numbers."""
    return None


def outputs(model: Any, rows: Any) -> list[Any]:
    """Label and probabilities, or the value; predicted in float64, as LightGBM does."""
    import numpy as np

    found = np.asarray(model.predict(rows))
    objective = str(model.dump_model()["objective"]).split()[0]
    if objective not in _CLASSIFIERS:
        return [found]
    scores = np.stack([1 - found, found], axis=1) if found.ndim == 1 else found
    return [scores.argmax(axis=1), scores]

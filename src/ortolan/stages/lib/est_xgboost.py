"""XGBoost's boosters: read from JSON or UBJSON, converted by onnxmltools, asked by XGBoost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .est_columns import Column, one_tensor
from .refused import Refused

if TYPE_CHECKING:
    from onnx import ModelProto

_TYPES = ("float32",)
_OPSET = 15  # the newest that onnxmltools 1.16 knows; its trees are of ai.onnx.ml, and the rest is brought up afterwards
_CLASSIFIERS = ("binary:logistic", "multi:softprob")
_REGRESSORS = (
    "reg:squarederror", "reg:squaredlogerror", "reg:pseudohubererror", "reg:absoluteerror", "reg:quantileerror", "count:poisson",
    "reg:gamma", "reg:tweedie", "rank:pairwise", "rank:ndcg", "rank:map",
)  # fmt: skip


def read(path: Path, trust: bool) -> Any:  # noqa: ARG001 - nothing in such a file is run
    """The classifier or regressor in a file. Raises ``Refused`` for what onnxmltools would convert wrongly or not at all.

    onnxmltools guesses an objective from the trees of a bare booster, and wrongly so: the class says it.
    """
    import xgboost

    booster = xgboost.Booster(model_file=str(path))
    learner = json.loads(booster.save_config())["learner"]
    objective, kind = learner["objective"]["name"], learner["gradient_booster"]["name"]
    if kind != "gbtree":
        raise Refused(f"the booster is {kind}", why="only gbtree has a converter to ONNX", hint='train with booster = "gbtree"')
    if int(learner["learner_model_param"].get("num_target", 1)) > 1:
        raise Refused("the model has several targets", why="the converter gives one", hint="save one model for each target")
    if objective not in (*_CLASSIFIERS, *_REGRESSORS):
        known = ", ".join((*_CLASSIFIERS, *_REGRESSORS))
        raise Refused(
            f"objective {objective} has no converter to ONNX", why=f"those that have: {known}", hint=_instead(objective)
        )
    booster.set_attr(scikit_learn=None)  # the class that saved it may be one that has no converter, such as XGBRanker
    model = xgboost.XGBClassifier() if objective in _CLASSIFIERS else xgboost.XGBRegressor()
    model.load_model(booster.save_raw())
    return model


def columns(model: Any, recipe: Sequence[Mapping[str, Any]]) -> list[Column]:
    """One input with all features. Raises ``Refused`` where one of them is categorical."""
    booster = model.get_booster()
    kinds = dict(zip(booster.feature_names or (), booster.feature_types or (), strict=False))
    texts = [name for name, kind in kinds.items() if kind == "c"]
    if texts:
        hint = "encode categories as numbers before training"
        raise Refused(f"feature '{texts[0]}' is categorical", why="one tensor of numbers goes in", hint=hint)
    return one_tensor(recipe, int(booster.num_features()), _TYPES)


def convert(model: Any, given: Sequence[Column], opset: int) -> ModelProto:
    """As onnxmltools gives it. Features go by position: the converter refuses names such as ``age``."""
    from onnxmltools import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    model.get_booster().feature_names = None
    types = [(column.name, FloatTensorType([None, column.width])) for column in given]
    made: ModelProto = convert_xgboost(model, initial_types=types, target_opset=min(opset, _OPSET))
    return made


def classes(model: Any) -> Any:
    """Of a classifier, its labels."""
    return getattr(model, "classes_", None)


def outputs(model: Any, rows: Any) -> list[Any]:
    """Label and probabilities, or the value."""
    model.get_booster().feature_names = None
    return [model.predict(rows), model.predict_proba(rows)] if hasattr(model, "predict_proba") else [model.predict(rows)]


def _instead(objective: str) -> str:
    return f"train with {'multi:softprob' if objective == 'multi:softmax' else 'binary:logistic or reg:squarederror'}"

"""scikit-learn's estimators: read from skops or a trusted pickle, converted by skl2onnx, asked by scikit-learn."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import est_histograms, est_registered, est_thresholds
from .est_columns import Column, by_name, one_tensor
from .refused import Refused
from .transient import reraise_if_transient

if TYPE_CHECKING:
    from onnx import ModelProto

_TYPES = ("float32", "float64", "int64")
_ML_OPSET = 3  # of ai.onnx.ml: what ONNX Runtime 1.17 has kernels for
_PACKAGES = frozenset(
    {"sklearn", "xgboost", "lightgbm"}
)  # of the runtime; skops alone trusts no trees, as they are compiled code
_NAMED = re.compile(r"type '(?:<class ')?([\w.]+)")


def read(path: Path, trust: bool) -> Any:
    """The fitted model. Raises ``Refused`` for a pickle without trust, and for a skops file with types that are not known.

    The caller has confined this process.
    """
    if zipfile.is_zipfile(path):
        return _skops(path, trust)
    if not trust:
        hint = "save it with skops.io.dump(model, 'model.skops'); or, if you trust its author, say trust = true in [source]"
        raise Refused(f"{path.name} is no skops file, and is not loaded", why="a pickle runs what its author put in", hint=hint)
    import joblib

    try:
        return joblib.load(path)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - it is code, and may raise anything
        reraise_if_transient(error)
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        hint = "it runs confined: no network, no files but its own, the packages of runtimes/sklearn"
        raise Refused(f"loading {path.name} failed", why=why, hint=hint) from None


def columns(model: Any, recipe: Sequence[Mapping[str, Any]]) -> list[Column]:
    """One input with all features, or one for each named column. Raises ``Refused`` where a column holds texts."""
    features = getattr(model, "n_features_in_", None)
    if features is None or not (hasattr(model, "predict") or hasattr(model, "transform")):
        kind = f"{type(model).__module__}.{type(model).__name__}"
        raise Refused(f"the file holds {kind}, which is no fitted estimator", hint="fit it before it is saved")
    names = [str(name) for name in getattr(model, "feature_names_in_", ())]
    _refuse_texts(model)
    if len(recipe) > 1 or (names and any(_by_name(part) for part in _parts(model))):
        return by_name(recipe, names, _TYPES)
    return one_tensor(recipe, int(features), _TYPES)


def convert(model: Any, given: Sequence[Column], opset: int) -> ModelProto:
    """As skl2onnx gives it, with a tensor of probabilities in place of maps."""
    return topology(model, given, opset)[0]


def topology(model: Any, given: Sequence[Column], opset: int) -> tuple[ModelProto, Any]:
    """The same, and skl2onnx's list of operators. Raises ``Refused`` naming an estimator that has no converter."""
    from skl2onnx import convert_sklearn
    from skl2onnx.common import data_types, exceptions

    est_histograms.check(est_thresholds.below(model))
    est_registered.register()
    est_thresholds.of_sklearn(model)
    kinds = {"float32": data_types.FloatTensorType, "float64": data_types.DoubleTensorType, "int64": data_types.Int64TensorType}
    types = [(column.name, kinds[column.dtype]([None, column.width])) for column in given]
    asked: dict[str, Any] = {"initial_types": types, "target_opset": {"": opset, "ai.onnx.ml": _ML_OPSET}, "intermediate": True}
    try:
        try:
            found: tuple[ModelProto, Any] = convert_sklearn(model, **asked, options={"zipmap": False})
        except NameError:  # skl2onnx's word for an estimator that has no such option, as it has no probabilities
            found = convert_sklearn(model, **asked)
    except (exceptions.MissingShapeCalculator, exceptions.MissingConverter) as error:
        named = _NAMED.search(str(error))
        hint = "use an estimator that skl2onnx converts, or compute that step before the model"
        raise Refused(f"{named[1] if named else 'an estimator'} has no converter to ONNX", hint=hint) from None
    return found


def classes(model: Any) -> Any:
    """Of a classifier, its labels."""
    found = getattr(model, "classes_", None)
    if isinstance(found, list):
        raise Refused("the classifier has several targets", why="the labels of each are a list of their own",
                      hint="save one model for each target")  # fmt: skip
    return found


def outputs(model: Any, rows: Any) -> list[Any]:
    """Label and probabilities or scores of a classifier, label and distances of clusters, label and score of outliers."""
    if hasattr(model, "predict_proba"):
        return [model.predict(rows), model.predict_proba(rows)]
    if hasattr(model, "classes_") or hasattr(model, "offset_"):
        return [model.predict(rows), model.decision_function(rows)]
    if hasattr(model, "predict"):
        return [model.predict(rows), *([model.transform(rows)] if hasattr(model, "transform") else [])]
    return [model.transform(rows)]


def _skops(path: Path, trust: bool) -> Any:
    from skops import io

    named = io.get_untrusted_types(file=path)
    unknown = sorted(name for name in named if name.partition(".")[0] not in _PACKAGES)
    if unknown and not trust:
        hint = "if you trust its author, say trust = true in [source]"
        raise Refused(f"{path.name} holds types that are not scikit-learn's: {', '.join(unknown)}", hint=hint)
    return io.load(path, trusted=named)


def _parts(model: Any) -> Iterator[Any]:
    """An estimator and all that it is made of."""
    yield model
    inside = [part[1] for part in getattr(model, "steps", None) or getattr(model, "transformers_", None) or ()]
    for part in inside:
        if hasattr(part, "get_params"):
            yield from _parts(part)


def _by_name(part: Any) -> bool:
    """Whether a ColumnTransformer picks its columns by name."""
    return any(isinstance(name, str) for _, _, chosen in getattr(part, "transformers_", ()) for name in _listed(chosen))


def _listed(chosen: Any) -> list[Any]:
    return [chosen] if isinstance(chosen, str) else list(chosen) if hasattr(chosen, "__iter__") else []


def _refuse_texts(model: Any) -> None:
    for part in _parts(model):
        for index, found in enumerate(getattr(part, "categories_", ())):
            if getattr(found, "dtype", None) is not None and found.dtype.kind in "OUS":
                names = getattr(part, "feature_names_in_", None)
                which = f"column '{names[index]}'" if names is not None else f"column {index} of {type(part).__name__}"
                shown = ", ".join(map(repr, found[:3].tolist()))
                why = "samples, packages and engines have numbers only"
                hint = "encode it as numbers before the pipeline"
                raise Refused(f"{which} holds texts, such as {shown}", why=why, hint=hint)

"""Makes converters known to skl2onnx: XGBoost's and LightGBM's, so that pipelines may hold such estimators, and mended ones."""

from __future__ import annotations

from functools import cache

from . import est_histograms


@cache
def register() -> None:
    """Once in a process."""
    import lightgbm
    import xgboost
    from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm
    from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost
    from skl2onnx import update_registered_converter
    from skl2onnx.common import shape_calculator
    from skl2onnx.operator_converters import random_forest
    from sklearn import ensemble

    classifier = shape_calculator.calculate_linear_classifier_output_shapes
    regressor = shape_calculator.calculate_linear_regressor_output_shapes
    options = {"nocl": [True, False], "zipmap": [True, False, "columns"]}
    for kind, alias, convert in (
        (xgboost.XGBClassifier, "XGBoostXGBClassifier", convert_xgboost),
        (lightgbm.LGBMClassifier, "LightGbmLGBMClassifier", convert_lightgbm),
    ):
        update_registered_converter(kind, alias, classifier, convert, options=options)
    update_registered_converter(xgboost.XGBRegressor, "XGBoostXGBRegressor", regressor, convert_xgboost)
    update_registered_converter(
        lightgbm.LGBMRegressor, "LightGbmLGBMRegressor", regressor, convert_lightgbm, options={"split": None}
    )
    boosted = est_histograms.plain(random_forest.convert_sklearn_random_forest_classifier)
    update_registered_converter(
        ensemble.HistGradientBoostingClassifier, "SklearnHistGradientBoostingClassifier", classifier, boosted,
        options=options | {"raw_scores": [True, False], "output_class_labels": [False, True]},
    )  # fmt: skip
    boosted = est_histograms.plain(random_forest.convert_sklearn_random_forest_regressor_converter)
    update_registered_converter(
        ensemble.HistGradientBoostingRegressor, "SklearnHistGradientBoostingRegressor", regressor, boosted
    )

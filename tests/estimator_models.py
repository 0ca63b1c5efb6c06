"""Small fitted models for tests, trained with fixed seeds in the runtime that converts them."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

from ortolan import runtime
from ortolan.cache import user_cache

ROOT = Path(__file__).parents[1]
_HEAD = """
import sys, numpy as np
where = sys.argv[1]
draw = np.random.Generator(np.random.PCG64(0))
X = draw.normal(size=(120, 4)).astype(np.float32)
y = (X[:, 0] + X[:, 1] > 0).astype(int)
y3 = y + (X[:, 2] > 0.3)
value = X @ np.array([1.0, -2.0, 0.5, 0.0], np.float32) + 3
text = np.array(["no", "yes"])[y]
"""
_SKOPS = "import skops.io\nskops.io.dump(model, where)\n"
_PICKLE = "import joblib\njoblib.dump(model, where)\n"
_SK = """
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import *
from sklearn.linear_model import *
from sklearn.ensemble import *
from sklearn.cluster import *
from sklearn.svm import *
"""
_FITTED = {
    "scaled.skops": "make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)",
    "forest.skops": "RandomForestClassifier(7, max_depth=4, random_state=0).fit(X, text)",
    "regression.skops": "make_pipeline(StandardScaler(), RandomForestRegressor(5, max_depth=3, random_state=0)).fit(X, value)",
    "clusters.skops": "KMeans(3, random_state=0, n_init=1).fit(X)",
    "margin.skops": "LinearSVC(random_state=0).fit(X, y)",
    "histograms.skops": "HistGradientBoostingClassifier(max_iter=5, max_depth=3, random_state=0).fit(X, text)",
    "histograms3.skops": "HistGradientBoostingClassifier(max_iter=4, max_depth=3, random_state=0).fit(X, y3)",
    "curve.skops": "make_pipeline(StandardScaler(), HistGradientBoostingRegressor(max_iter=5, max_depth=3)).fit(X, value)",
    "counts.skops": "HistGradientBoostingRegressor(loss='poisson', max_iter=3).fit(X, abs(value))",
    "kinds.joblib": "HistGradientBoostingClassifier(max_iter=3, categorical_features=[0]).fit(np.round(abs(X)), y)",
    "unfitted.skops": "LogisticRegression()",
    "log.pkl": "make_pipeline(FunctionTransformer(np.tanh), LogisticRegression()).fit(X, y)",
    "scaled.joblib": "make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)",
}
_SCRIPTS = {name: f"{_SK}model = {how}\n{_SKOPS if name.endswith('.skops') else _PICKLE}" for name, how in _FITTED.items()}
_SCRIPTS["own.skops"] = (
    _SK
    + "from sklearn.gaussian_process import GaussianProcessClassifier\n"
    + ("from sklearn.semi_supervised import LabelSpreading\nmodel = LabelSpreading().fit(X, y)\n" + _SKOPS)
)
_SCRIPTS["function.skops"] = (
    _SK + "import os\n" + ("model = make_pipeline(FunctionTransformer(os.fspath, validate=False)).fit(X)\n" + _SKOPS)
)
_SCRIPTS["boosted.skops"] = (
    _SK
    + "from xgboost import XGBClassifier\n"
    + ("model = make_pipeline(StandardScaler(), XGBClassifier(n_estimators=3)).fit(X, y)\n" + _SKOPS)
)
_SCRIPTS["cities.skops"] = _SK + (
    "import pandas\nfrom sklearn.compose import ColumnTransformer\n"
    "table = pandas.DataFrame({'age': X[:, 0], 'city': text})\n"
    "how = ColumnTransformer([('n', StandardScaler(), ['age']), ('c', OneHotEncoder(), ['city'])])\n"
    "model = make_pipeline(how, LogisticRegression()).fit(table, y)\n"
) + _SKOPS  # fmt: skip
_SCRIPTS["columns.skops"] = _SK + (
    "import pandas\nfrom sklearn.compose import ColumnTransformer\n"
    "table = pandas.DataFrame({'age': X[:, 0], 'size': X[:, 1]})\n"
    "how = ColumnTransformer([('a', StandardScaler(), ['age']), ('s', MinMaxScaler(), ['size'])])\n"
    "model = make_pipeline(how, LogisticRegression()).fit(table, y)\n"
) + _SKOPS  # fmt: skip
_XGB = "import xgboost\nmodel = xgboost.{}.fit(X, {})\nmodel.save_model(where)\n"
for _name, _how, _y in (
    ("binary.json", "XGBClassifier(n_estimators=5, max_depth=3)", "y"),
    ("binary.ubj", "XGBClassifier(n_estimators=5, max_depth=3)", "y"),
    ("classes.json", "XGBClassifier(n_estimators=4, max_depth=3)", "y3"),
    ("poisson.json", "XGBRegressor(n_estimators=4, max_depth=3, objective='count:poisson')", "abs(value)"),
    ("linear.json", "XGBRegressor(n_estimators=4, booster='gblinear')", "value"),
    ("logistic.json", "XGBRegressor(n_estimators=4, objective='reg:logistic')", "y"),
):
    _SCRIPTS[_name] = _XGB.format(_how, _y)
_SCRIPTS["base-score.json"] = """
import json, xgboost
model = xgboost.XGBClassifier(n_estimators=2, max_depth=2, base_score=0.2, gamma=1e9).fit(X, y)
model.save_model(where)
saved = json.load(open(where))
for tree in saved["learner"]["gradient_booster"]["model"]["trees"][:1]:
    tree["split_conditions"] = tree["base_weights"] = [0.0]
json.dump(saved, open(where, "w"))
"""
_LGB = "import lightgbm\nmodel = lightgbm.{}.fit(X, {})\nmodel.booster_.save_model(where)\n"
for _name, _how, _y in (
    ("binary.txt", "LGBMClassifier(n_estimators=5, num_leaves=7, verbose=-1, deterministic=True, n_jobs=1)", "y"),
    ("classes.txt", "LGBMClassifier(n_estimators=4, num_leaves=7, verbose=-1, deterministic=True, n_jobs=1)", "y3"),
    ("value.txt", "LGBMRegressor(n_estimators=5, num_leaves=7, verbose=-1, deterministic=True, n_jobs=1)", "value"),
    (
        "averaged.txt",
        "LGBMRegressor(n_estimators=5, num_leaves=7, verbose=-1, boosting_type='rf', bagging_freq=1, bagging_fraction=.5)",
        "value",
    ),
):
    _SCRIPTS[_name] = _LGB.format(_how, _y)
_SCRIPTS["categories.txt"] = """
import lightgbm
kinds = np.column_stack([X[:, :3], np.arange(len(X)) % 5])
data = lightgbm.Dataset(kinds, kinds[:, 3] % 2, categorical_feature=[3])
how = {"objective": "binary", "verbose": -1, "num_threads": 1, "min_data_per_group": 1, "cat_smooth": 1, "min_data_in_leaf": 1}
lightgbm.train(how, data, 3).save_model(where)
"""


@cache
def interpreter() -> Path:
    """Python of the runtime ``sklearn``."""
    return runtime.ensure(runtime.find("sklearn", [ROOT / "runtimes"]), user_cache().runtimes).interpreter


def fit(name: str, folder: Path) -> Path:
    """Train the model ``name`` and save it in ``folder``; the file's suffix says in what form."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    made(path, _HEAD + _SCRIPTS[name])
    return path


def made(path: Path, script: str) -> Path:
    """Run a script that writes ``path``, its only argument."""
    subprocess.run([interpreter(), "-c", script, path], check=True, capture_output=True)
    return path

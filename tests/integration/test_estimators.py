"""scikit-learn, XGBoost and LightGBM: fitted here, converted, compared with themselves, refused with a true reason."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest

import estimator_models
from conftest import RunStage, StageRun, Workspace
from estimator_models import fit, made
from ortolan.artifact import Outcome
from ortolan.build import Built

TARGETS = ["x86-cpu", "raspberry-pi-5"]


def outcomes(built: Built, gate: str) -> set[Outcome]:
    return {one.outcome for one in built.gates if one.name.partition("@")[0] == gate}


def said(built: Built) -> str:
    return "\n".join(map(str, built.errors))


def convert(run_stage: RunStage, path: Path, framework: str, inputs: Sequence[object] = (), **more: object) -> StageRun:
    params = {
        "framework": framework,
        "file": path.name,
        "trust": False,
        "inputs": list(inputs),
        "outputs": [],
        "opset": 17,
    } | more
    return run_stage("export_estimator", "sklearn", {"source": path.parent}, params)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["scaled.skops", "forest.skops", "binary.json", "binary.txt"])
def test_a_file_alone_builds_for_both_targets_with_its_gates(workspace: Workspace, name: str) -> None:
    path = fit(name, workspace.root)
    for built in workspace.build(TARGETS, str(path)):
        assert built.ok, said(built)
        assert outcomes(built, "parity") == outcomes(built, "load") == outcomes(built, "opset") == {Outcome.PASS}
        assert built.folder
        told = {one.key: one.value for one in onnx.load(built.folder / "model.onnx").metadata_props}
        classes = {"label": ["no", "yes"]} if name == "forest.skops" else None
        assert json.loads(told.get("ortolan.classes", "null")) == classes


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "regression.skops", "clusters.skops", "margin.skops", "columns.skops", "boosted.skops", "binary.ubj", "classes.json",
        "poisson.json", "classes.txt", "value.txt", "averaged.txt", "histograms.skops", "histograms3.skops", "curve.skops",
    ],
)  # fmt: skip
def test_what_the_framework_answers_is_what_the_devices_runtimes_answer(workspace: Workspace, name: str) -> None:
    text = f'[source]\nfile = "{name}"\n'
    fit(name, workspace.root / "recipes" / "models")
    workspace.add("models/fitted.toml", text)
    (built,) = workspace.build("raspberry-pi-5", "fitted")
    assert built.ok, said(built)
    assert outcomes(built, "parity") == {Outcome.PASS}


@pytest.mark.slow
def test_equal_files_give_equal_bytes(workspace: Workspace, run_stage: RunStage) -> None:
    path = fit("forest.skops", workspace.root / "m")
    first, second = (convert(run_stage, path, "sklearn").out / "model.onnx" for _ in range(2))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.slow
def test_text_labels_become_class_numbers_and_probabilities_a_tensor(tmp_path: Path, run_stage: RunStage) -> None:
    done = convert(run_stage, fit("forest.skops", tmp_path / "m"), "sklearn", outputs=["answer", "scores"])
    assert done.facts
    assert done.facts["classes"] == ["no", "yes"]
    assert [(o["name"], o["dtype"], o["shape"]) for o in done.facts["outputs"]] == [
        ("answer", "int64", ["batch"]), ("scores", "float32", ["batch", 2]),
    ]  # fmt: skip


@pytest.mark.slow
def test_float64_inputs_stay_float64(workspace: Workspace) -> None:
    fit("scaled.skops", workspace.root / "recipes" / "models")
    text = '[source]\nfile = "scaled.skops"\n[[input]]\nname = "rows"\ndtype = "float64"\nshape = ["batch", 4]\n'
    workspace.add("models/double.toml", f"{text}[parity]\nrtol = 1e-9\natol = 1e-12\n")
    (built,) = workspace.build("x86-cpu", "double")
    assert built.ok, said(built)


@pytest.mark.slow
def test_the_base_score_trap_is_caught_by_parity(workspace: Workspace) -> None:
    """onnxmltools 1.16 takes the base score as a margin where the first tree is a single leaf of 0."""
    (built,) = workspace.build("x86-cpu", str(fit("base-score.json", workspace.root)))
    assert not built.ok
    assert outcomes(built, "parity") == {Outcome.FAIL}
    assert "first diverging tensor: probabilities, made by TreeEnsembleClassifier" in next(g.why for g in built.gates if g.why)


@pytest.mark.slow
def test_trees_have_nothing_to_quantise_and_the_build_says_so(workspace: Workspace) -> None:
    models = workspace.root / "recipes" / "models"
    fit("binary.json", models)
    np.savez(models / "rows.npz", X=np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32))
    text = '[source]\nfile = "binary.json"\n[[input]]\nname = "X"\nshape = ["batch", 4]\n'
    workspace.add("models/trees.toml", f'{text}[data]\ncalibration = {{ npz = "rows.npz" }}\n')
    (built,) = workspace.build("raspberry-pi-5", "trees")
    assert built.ok, said(built)
    gate = next(one for one in built.gates if one.name == "quantised")
    assert (gate.outcome, built.precision) == (Outcome.NOT_RUN, "fp32")
    assert "TreeEnsembleClassifier" in gate.why


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "framework", "what"),
    [
        ("own.skops", "sklearn", "LabelSpreading has no converter to ONNX"),
        ("unfitted.skops", "sklearn", "LogisticRegression, which is no fitted estimator"),
        ("cities.skops", "sklearn", "column 'city' holds texts, such as 'no', 'yes'"),
        ("function.skops", "sklearn", "function.skops holds types that are not scikit-learn's: posix.fspath"),
        ("counts.skops", "sklearn", "HistGradientBoostingRegressor with loss 'poisson' has no converter to ONNX"),
        ("log.pkl", "sklearn", "log.pkl is no skops file, and is not loaded"),
        ("linear.json", "xgboost", "the booster is gblinear"),
        ("categories.txt", "lightgbm", "splits by category, in Column_3"),
        ("logistic.json", "xgboost", "objective reg:logistic has no converter to ONNX"),
    ],
)
def test_what_cannot_be_converted_is_named(tmp_path: Path, run_stage: RunStage, name: str, framework: str, what: str) -> None:
    refused = convert(run_stage, fit(name, tmp_path / "m"), framework).refused
    assert refused
    assert what in refused["what"]


@pytest.mark.slow
def test_splits_by_category_are_refused_by_name(tmp_path: Path, run_stage: RunStage) -> None:
    refused = convert(run_stage, fit("kinds.joblib", tmp_path / "m"), "sklearn", trust=True).refused
    assert refused
    assert refused["what"] == "HistGradientBoostingClassifier splits by categories"
    assert max(map(len, refused.values())) < 100


@pytest.mark.slow
def test_a_damaged_file_is_refused_in_the_frameworks_words(tmp_path: Path, run_stage: RunStage) -> None:
    for name, framework in (("binary.json", "xgboost"), ("binary.txt", "lightgbm"), ("scaled.skops", "sklearn")):
        path = fit(name, tmp_path / "m")
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        refused = convert(run_stage, path, framework).refused
        assert refused, name
        assert name in refused["what"]
        assert "Stack trace" not in refused["why"]
        assert not re.search(r"\d\d:\d\d:\d\d", refused["why"]), "a refusal is kept, and says the same each time"


@pytest.mark.slow
def test_inputs_that_do_not_fit_are_told(tmp_path: Path, run_stage: RunStage) -> None:
    path = fit("binary.json", tmp_path / "m")
    wide = convert(run_stage, path, "xgboost", [{"name": "X", "dtype": "float32", "shape": ["batch", 5]}]).refused
    half = convert(run_stage, path, "xgboost", [{"name": "X", "dtype": "float16", "shape": ["batch", 4]}]).refused
    assert wide
    assert wide["why"] == "the model takes 4 feature(s)"
    assert half
    assert (half["what"], half["why"]) == ("input 'X' is float16", "the converter takes float32")


@pytest.mark.slow
def test_a_pickle_is_refused_by_the_command_line(workspace: Workspace) -> None:
    path = fit("scaled.joblib", workspace.root)
    with pytest.raises(Exception, match="a pickle cannot be built without a recipe") as caught:
        workspace.build("x86-cpu", str(path))
    assert "a pickle is code" in str(caught.value)
    assert "trust = true" in str(caught.value)


@pytest.mark.slow
def test_a_trusted_pickle_builds_and_says_what_kept_it_in(workspace: Workspace, run_stage: RunStage) -> None:
    path = fit("scaled.joblib", workspace.root / "recipes" / "models")
    workspace.add("models/pickled.toml", '[source]\nfile = "scaled.joblib"\ntrust = true\n')
    (built,) = workspace.build("x86-cpu", "pickled")
    assert built.ok, said(built)
    ran = convert(run_stage, path, "sklearn", trust=True)
    assert ran.facts, ran.refused or ran.log
    assert ran.facts["confined"].keys() == {"network", "files"}
    assert set(ran.facts["confined"].values()) <= {"seccomp", "landlock"} or sys.platform != "linux"


# --- maps in files of others --------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("labels", ["y", "text"])
def test_maps_at_the_outputs_of_a_given_file_become_tensors(workspace: Workspace, labels: str) -> None:
    script = estimator_models._HEAD + (
        "from sklearn.linear_model import LogisticRegression\nfrom skl2onnx import to_onnx\n"
        f"made = to_onnx(LogisticRegression().fit(X, {labels}), X[:1], target_opset={{'': 17, 'ai.onnx.ml': 1}})\n"
        "open(where, 'wb').write(made.SerializeToString())\n"
    )
    path = made(workspace.root / "maps.onnx", script)
    assert onnx.load(path).graph.output[1].type.WhichOneof("value") == "sequence_type"
    (built,) = workspace.build("x86-cpu", str(path))
    assert built.ok, said(built)
    assert built.folder
    golden = json.loads((built.folder / "golden.json").read_text())
    assert "output_probability" in json.dumps(golden)
    shipped = onnx.load(built.folder / "model.onnx").graph
    assert [info.type.WhichOneof("value") for info in shipped.output] == ["tensor_type", "tensor_type"]

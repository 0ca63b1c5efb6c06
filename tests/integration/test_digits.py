"""The demo models that come with Ortolan: their data, their accuracy, and that INT8 keeps it."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

MODELS = Path(__file__).parents[2] / "recipes" / "models"
INPUT = {"name": "image", "dtype": "float32", "shape": ["batch", 1, 8, 8], "range": [0.0, 1.0]}


def data(name: str, labels: str | None) -> dict[str, Any]:
    return {"kind": "npz", "npz": name, "labels": labels, "limit": None}


def test_the_held_out_images_are_no_calibration_images() -> None:
    with np.load(MODELS / "digits-calibration.npz") as calibration, np.load(MODELS / "digits-evaluation.npz") as evaluation:
        seen, held_out, labels = calibration["image"], evaluation["image"], evaluation["label"]
    assert (seen.shape, seen.dtype) == ((128, 1, 8, 8), np.float32)
    assert (held_out.shape, held_out.dtype) == ((450, 1, 8, 8), np.float32)
    assert (labels.shape, labels.dtype, sorted(set(labels.tolist()))) == ((450,), np.int64, list(range(10)))
    assert (held_out.min(), held_out.max()) == (0, 1)
    assert not {image.tobytes() for image in seen} & {image.tobytes() for image in held_out}


def test_the_files_are_small() -> None:
    assert [path.name for path in MODELS.iterdir() if path.is_file() and path.stat().st_size > 300_000] == []


def test_the_perceptron_is_an_old_file_that_classifies() -> None:
    model = onnx.load(MODELS / "digits-mlp.onnx")
    onnx.checker.check_model(model)
    assert (model.ir_version, model.opset_import[0].version) == (3, 9)
    names = [value.name for value in model.graph.input]
    assert {tensor.name for tensor in model.graph.initializer} == set(names) - {"image"}
    with np.load(MODELS / "digits-evaluation.npz") as evaluation:
        (found,) = ReferenceEvaluator(model).run(None, {"image": evaluation["image"]})
        assert (np.argmax(found, 1) == evaluation["label"]).mean() > 0.97


@pytest.mark.slow
@pytest.mark.parametrize("activations", ["int8", "uint8"])
def test_the_network_keeps_its_accuracy_in_int8(run_stage: Callable[..., Any], tmp_path: Path, activations: str) -> None:
    recipe = tomllib.loads((MODELS / "digits.toml").read_text())
    code, sets = tmp_path / "code", tmp_path / "sets"
    for folder, names in ((code, ["digits.py"]), (sets, ["digits-calibration.npz", "digits-evaluation.npz"])):
        folder.mkdir()
        for name in names:
            shutil.copy(MODELS / name, folder)
    export: dict[str, Any] = {
        "factory": "digits.py:build",
        "file": None,
        "trust": False,
        "exporter": "dynamo",
        "opset": 17,
        "inputs": [INPUT],
        "outputs": ["logits"],
        "axes": {},
    }
    emitted = run_stage("export_pytorch", "torch", {"code": code, "weights": MODELS / "digits.safetensors"}, export)
    normal = run_stage("normalise", "tools", {"model": emitted.out / "model.onnx"}, {"opset": 17})
    ready = run_stage("preprocess", "tools", {"model": normal.out / "model.onnx"}, {})
    model = ready.out / "model.onnx"
    ranges = run_stage("calibrate", "tools", {"model": model, "data": sets}, {
        "data": data("digits-calibration.npz", None), "inputs": [INPUT], "method": "minmax", "percentile": 99.99,
    })  # fmt: skip
    quantised = run_stage("quantise", "tools", {"model": model, "ranges": ranges.out / "ranges.json"}, {
        "preset": "default", "activations": activations, "weights": "int8", "per_channel": True,
        "symmetric_activations": False, "exclude": [], "float_operators": [],
    })  # fmt: skip
    models = {"fp32": normal.out / "model.onnx", "candidate": quantised.out / "model.onnx"}
    facts = run_stage("evaluate", "onnxruntime-1.20.1", {**models, "data": sets}, {
        "data": data("digits-evaluation.npz", "label"), "inputs": [INPUT], "metric": "top1",
    }).facts  # fmt: skip
    assert facts["samples"] == 450
    assert facts["metric"]["fp32"] > 0.97
    assert facts["metric"]["drop"] <= recipe["accuracy"]["max_drop"]
    assert facts["agreement"] > 0.98

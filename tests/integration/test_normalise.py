"""Bringing models to an opset: what comes out is that opset, means the same, or the operator in the way is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto

import models
from conftest import RunStage, StageRun

RANDOM: dict[str, Any] = {"inputs": [], "axes": {}, "count": 2, "data": None}


def normalise(run_stage: RunStage, path: Path, opset: int) -> StageRun:
    return run_stage("normalise", "tools", {"model": path}, {"opset": opset})


def same_outputs(run_stage: RunStage, before: Path, after: Path) -> dict[str, Any]:
    """The verdict of ONNX Runtime 1.31.1 on both forms of a model, fed with equal samples."""
    samples = run_stage("make_samples", "tools", {"model": before}, RANDOM)
    assert samples.facts, samples.refused
    read = {"samples": samples.out / "samples.npz"}
    reference = run_stage(
        "reference_onnx", "tools", {"model": before.parent, **read}, {"file": before.name, "inline": models.LARGE}
    )
    assert reference.facts, reference.refused
    params = {"providers": models.CPU, "session": models.SESSION, "rtol": 1e-4, "atol": 1e-5}
    inputs = {"model": after, **read, "expected": reference.out / "outputs.npz"}
    done = run_stage("verify", "onnxruntime-1.31.1", inputs, params)
    assert done.facts, done.log
    verdict: dict[str, Any] = done.facts["onnx"]
    return verdict


ONE = "(float[2,3,4] x) => (float[2,3,4] y)"
PICTURE = "(float[1,1,4,4] x) => (float[1,1,8,8] y)"
SCALES = "s = Constant<value = float[4] {1., 1., 2., 2.}>()"
MEAN = "(float[2,3] x) => (float[2,1] y)"
LOOP = """(float[2,3] x, int64 n) => (float[2,3] y) {
    t = Constant<value = bool {1}>()
    y = Loop(n, t, x)<body = b(int64 i, bool c, float[2,3] a) => (bool d, float[2,3] e) {
        d = Identity(c) s = ReduceSum<axes = [1]>(a) e = Add(a, s)
    }>
}"""
HALF = "s = Constant<value = float[4] {1., 1., 0.5, 0.5}>()"
POOL = "AveragePool<kernel_shape = [2,2], strides = [2,2], dilations = [1,1]>"
AXES = {"a": np.array([1], np.int64)}

Case = tuple[str, int, int, dict[str, NDArray[Any]]]
CONVERTED: dict[str, Case] = {
    # up
    "softmax over several axes": (f"{ONE} {{ y = Softmax<axis = 1>(x) }}", 11, 17, {}),
    "softmax with a dynamic axis": ("(float[N,3,4] x) => (float[N,3,4] y) { y = Softmax(x) }", 11, 17, {}),
    "dropout": (f"{ONE} {{ y = Dropout<ratio = 0.5>(x) }}", 8, 17, {}),
    "clip": (f"{ONE} {{ y = Clip<min = -0.5, max = 0.5>(x) }}", 9, 17, {}),
    "upsample nearest": (f'{PICTURE} {{ {SCALES} y = Upsample<mode = "nearest">(x, s) }}', 9, 17, {}),
    "upsample linear": (f'{PICTURE} {{ {SCALES} y = Upsample<mode = "linear">(x, s) }}', 9, 17, {}),
    "upsample with scales inside": (f'{PICTURE} {{ y = Upsample<mode = "linear", scales = [1., 1., 2., 2.]>(x) }}', 8, 17, {}),
    "resize linear": (f'{PICTURE} {{ {SCALES} y = Resize<mode = "linear">(x, s) }}', 10, 17, {}),
    "resize down, nearest": (
        f"(float[1,1,7,7] x) => (float[1,1,3,3] y) {{ {HALF} y = Resize(x, s) }}", 10, 17, {},
    ),
    "squeeze in both branches": (
        "(float[1,2] x, bool c) => (float[2] y) { "
        + models.branches("t = Squeeze<axes = [0]>(x)", "z = Neg(x) e = Squeeze<axes = [0]>(z)") + " }", 11, 17, {},
    ),
    "reduction in a loop": (LOOP, 11, 17, {}),
    # down
    "mean, axes that the older one keeps inside": (
        f"{MEAN} {{ y = ReduceMean<noop_with_empty_axes = 0>(x, a) }}", 18, 17, AXES,
    ),
    "mean, idle attribute set": (f"{MEAN} {{ y = ReduceMean<noop_with_empty_axes = 1>(x, a) }}", 18, 17, AXES),
    "split into equal parts": ("(float[4,4] x) => (float[2,4] y, float[2,4] z) { y, z = Split<num_outputs = 2>(x) }", 18, 17, {}),
    "split into unequal parts": ("(float[5,4] x) => (float[3,4] y, float[2,4] z) { y, z = Split<num_outputs=2>(x) }", 18, 17, {}),
    "pad": ("(float[2,3] x) => (float[4,5] y) { y = Pad(x, p) }", 18, 17, {"p": np.array([1, 1, 1, 1], np.int64)}),
    "pooling with idle dilations": (
        f"(float[1,1,4,4] x) => (float[1,1,2,2] y) {{ y = {POOL}(x) }}", 19, 17, {},
    ),
    "cast with an idle attribute": ("(float[2,3] x) => (int32[2,3] y) { y = Cast<to = 6, saturate = 1>(x) }", 19, 17, {}),
    "an operator that older ones define": (f"{ONE} {{ y = Gelu(x) }}", 20, 17, {}),
    "softmax over the last axis": (f"{ONE} {{ y = Softmax(x) }}", 17, 11, {}),
    "the newest opset": (f"{ONE} {{ y = Relu(x) }}", 26, 17, {}),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", CONVERTED)
def test_converted_models_mean_the_same(run_stage: RunStage, tmp_path: Path, name: str) -> None:
    text, source, target, weights = CONVERTED[name]
    path = models.write(models.graph(text, source, weights=weights), tmp_path / "m" / "m.onnx")
    done = normalise(run_stage, path, target)
    assert done.facts, done.refused
    assert (done.facts["given"], done.facts["asked"], done.facts["found"]) == (source, target, target)
    assert done.facts["opsets"] == {"ai.onnx": target}
    verdict = same_outputs(run_stage, path, done.out / "model.onnx")
    assert verdict["close"], verdict


UNCONVERTED: dict[str, tuple[str, int, int, dict[str, NDArray[Any]], list[str]]] = {
    "softmax that older ones cannot say": (
        f"{ONE} {{ [n1] y = Softmax<axis = 1>(x) }}", 17, 11, {}, ["Softmax", "'n1'", "axis 1 of 3"],
    ),
    "batch norm per activation": (
        "(float[2,3] x, float[3] s) => (float[2,3] y) { y = BatchNormalization<spatial = 0>(x, s, s, s, s) }", 8, 17, {},
        ["BatchNormalization", "spatial"],
    ),
    "no older form": (
        "(float[1,1,4,4] x, float[1,2,2,2] g) => (float[1,1,2,2] y) { y = GridSample(x, g) }", 20, 17, {}, ["GridSample"],
    ),
    "pad along some axes": (
        "(float[2,3] x) => (float[4,3] y) { y = Pad(x, p, , a) }", 18, 17,
        {"p": np.array([1, 1], np.int64), "a": np.array([0], np.int64)}, ["Pad"],
    ),
    "dilated pooling": (
        "(float[1,1,5,5] x) => (float[1,1,3,3] y) { y = AveragePool<kernel_shape = [2,2], dilations = [2,2]>(x) }", 19, 17, {},
        ["AveragePool", "dilations"],
    ),
    "axes that are computed": (
        "(float[2,3] x, int64[1] a) => (float[2,1] y) { y = ReduceMean(x, a) }", 18, 17, {}, ["ReduceMean"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNCONVERTED)
def test_what_cannot_be_converted_names_the_operator_and_what_to_try(run_stage: RunStage, tmp_path: Path, name: str) -> None:
    text, source, target, weights, words = UNCONVERTED[name]
    done = normalise(run_stage, models.write(models.graph(text, source, weights=weights), tmp_path / "m.onnx"), target)
    assert done.refused, done.log
    message = " | ".join(done.refused.values())
    assert [word for word in words if word not in message] == []
    assert done.refused["hint"]
    assert not (done.out / "model.onnx").exists()


def test_a_model_at_its_opset_is_only_made_canonical(run_stage: RunStage, tmp_path: Path) -> None:
    one = normalise(run_stage, models.write(models.with_metadata(models.convnet(), at="/a"), tmp_path / "a.onnx"), 17)
    other = normalise(run_stage, models.write(models.with_metadata(models.convnet(), b="c", d="e"), tmp_path / "b.onnx"), 17)
    assert (one.out / "model.onnx").read_bytes() == (other.out / "model.onnx").read_bytes()


def test_conversion_gives_equal_bytes_every_time(run_stage: RunStage, tmp_path: Path) -> None:
    path = models.write(models.graph(f"{ONE} {{ y = Softmax<axis = 1>(x) }}", 11), tmp_path / "m.onnx")
    runs = [(normalise(run_stage, path, 17).out / "model.onnx").read_bytes() for _ in range(2)]
    assert runs[0] == runs[1]


def test_every_node_has_a_name_afterwards(run_stage: RunStage, tmp_path: Path) -> None:
    model = models.graph(f"{ONE} {{ a = Softmax<axis = 1>(x) y = Relu(a) }}", 11)
    done = normalise(run_stage, models.write(model, tmp_path / "m.onnx"), 17)
    names = [node.name for node in onnx.load(done.out / "model.onnx").graph.node]
    assert all(names)
    assert len(set(names)) == len(names)


def test_a_used_domain_keeps_its_opset(run_stage: RunStage, tmp_path: Path) -> None:
    model: ModelProto = models.graph(f"{ONE} {{ g = com.microsoft.Gelu(x) y = Relu(g) }}", 13, com_microsoft=1)
    done = normalise(run_stage, models.write(model, tmp_path / "m.onnx"), 17)
    assert done.facts, done.refused
    assert done.facts["opsets"] == {"ai.onnx": 17, "com.microsoft": 1}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "before"), [("gtcrn_simple", 11), ("mnist_cntk", 8), ("ultraface_rfb320", 9)])
def test_real_models_reach_opset_17_and_mean_the_same(
    run_stage: RunStage, shared_data: Path, tmp_path: Path, name: str, before: int
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    original = folder / f"{name}.onnx"
    original.write_bytes((shared_data / "onnx" / original.name).read_bytes())
    imported = run_stage("import_onnx", "tools", {"model": folder}, {"file": original.name, "inline": models.LARGE})
    done = normalise(run_stage, imported.out / "model.onnx", 17)
    assert done.facts, done.refused
    assert (done.facts["given"], done.facts["opsets"], done.facts["ir"]) == (before, {"ai.onnx": 17}, 8)
    verdict = same_outputs(run_stage, original, done.out / "model.onnx")
    assert verdict["close"], verdict

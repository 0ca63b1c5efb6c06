"""Fixing shapes and making samples: what gets a size, what does not and why, and that equal recipes give equal samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto

import models
from conftest import RunStage
from ortolan.stages.lib import tensors


def fixed(run_stage: RunStage, model: ModelProto, folder: Path, **shapes: int) -> tuple[dict[str, Any], ModelProto]:
    done = run_stage("fix_shapes", "tools", {"model": models.write(model, folder / "m.onnx")}, {"shapes": shapes})
    assert done.facts, done.refused or done.log
    return done.facts, onnx.load(done.out / "model.onnx")


def test_a_named_axis_gets_its_size_everywhere(run_stage: RunStage, tmp_path: Path) -> None:
    facts, found = fixed(run_stage, models.convnet(), tmp_path, batch=4)
    assert facts["fixed"] == {"batch": 4}
    assert (facts["unknown"], facts["dynamic_inputs"], facts["dynamic_inside"]) == ([], {}, [])
    assert facts["inputs"][0]["shape"] == [4, 1, 8, 8]
    assert facts["outputs"][0]["shape"] == [4, 3]
    inner = {info.name: [dim.dim_value for dim in info.type.tensor_type.shape.dim] for info in found.graph.value_info}
    assert inner["c"] == [4, 4, 8, 8]


def test_an_axis_that_is_not_given_stays_dynamic(run_stage: RunStage, tmp_path: Path) -> None:
    model = models.graph("(float[batch,time] x) => (float[batch,time] y) { y = Relu(x) }")
    facts, _ = fixed(run_stage, model, tmp_path, batch=1)
    assert facts["dynamic_inputs"] == {"x": [1, "time"]}
    assert facts["outputs"][0]["shape"] == [1, "time"]


def test_a_name_that_no_input_has_is_a_fact(run_stage: RunStage, tmp_path: Path) -> None:
    facts, _ = fixed(run_stage, models.convnet(batch=2), tmp_path, batch=1, time=7)
    assert facts["fixed"] == {}
    assert facts["unknown"] == ["batch", "time"]
    assert facts["inputs"][0]["shape"] == [2, 1, 8, 8]


def test_an_axis_without_a_name_answers_to_its_place(run_stage: RunStage, tmp_path: Path) -> None:
    model = models.graph("(float[?,3] x) => (float[?,3] y) { y = Relu(x) }")
    assert fixed(run_stage, model, tmp_path)[0]["dynamic_inputs"] == {"x": [None, 3]}
    facts, _ = fixed(run_stage, model, tmp_path, **{"x.0": 5, "x.1": 9})
    assert facts["fixed"] == {"x.0": 5}
    assert facts["unknown"] == ["x.1"]
    assert facts["outputs"][0]["shape"] == [5, 3]


def test_a_size_of_minus_one_is_dynamic(run_stage: RunStage, tmp_path: Path) -> None:
    model = models.convnet()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = -1
    facts, _ = fixed(run_stage, model, tmp_path, **{"image.0": 3})
    assert facts["inputs"][0]["shape"] == [3, 1, 8, 8]


def test_shapes_that_depend_on_data_are_named_with_their_node(run_stage: RunStage, tmp_path: Path) -> None:
    model = models.graph("(float[n,4] x) => (int64[r,k] y) { a = Relu(x) [nz] b = NonZero(a) y = Transpose(b) }")
    facts, _ = fixed(run_stage, model, tmp_path, n=1)
    assert facts["dynamic_inputs"] == {}
    assert [(each["node"], each["op"]) for each in facts["dynamic_inside"]] == [("nz", "NonZero")]


def test_stale_inner_shapes_are_forgotten(run_stage: RunStage, tmp_path: Path) -> None:
    model = onnx.shape_inference.infer_shapes(models.convnet())
    for info in model.graph.value_info:
        info.type.tensor_type.shape.dim[0].dim_value = 77
    facts, found = fixed(run_stage, model, tmp_path, batch=2)
    assert facts["inference"] == ""
    assert all(info.type.tensor_type.shape.dim[0].dim_value == 2 for info in found.graph.value_info)


# --- samples -----------------------------------------------------------------------------------------------------

NOTHING: dict[str, Any] = {"inputs": [], "axes": {}, "count": 2, "data": None}


def make(run_stage: RunStage, model: ModelProto, folder: Path, **params: Any) -> list[dict[str, Any]]:
    done = run_stage("make_samples", "tools", {"model": models.write(model, folder / "m.onnx")}, NOTHING | params)
    assert done.facts, done.refused or done.log
    assert done.facts["source"] == "random"
    return tensors.read_samples(done.out / "samples.npz")


def refused(run_stage: RunStage, model: ModelProto, folder: Path, **params: Any) -> str:
    done = run_stage("make_samples", "tools", {"model": models.write(model, folder / "m.onnx")}, NOTHING | params)
    assert done.refused, done.facts
    return " | ".join(done.refused.values())


MIXED = models.graph(
    "(float[batch,?,3] f, float16[4] h, int64[batch] i, bool[20] b, uint8 u) => (float[batch,?,3] y) { y = Relu(f) }"
)


def test_random_samples_have_the_models_types_and_shapes_and_sensible_values(run_stage: RunStage, tmp_path: Path) -> None:
    first, second = make(run_stage, MIXED, tmp_path)
    found = {name: (array.dtype.name, array.shape) for name, array in first.items()}
    assert found == {
        "f": ("float32", (2, 2, 3)), "h": ("float16", (4,)), "i": ("int64", (2,)), "b": ("bool", (20,)), "u": ("uint8", ()),
    }  # fmt: skip
    assert -1 <= first["f"].min() < 0 < first["f"].max() <= 1
    assert set(first["i"]) <= {0, 1}
    assert set(first["b"]) == {True, False}
    assert not np.array_equal(first["f"], second["f"])


def test_axes_give_sizes_by_name_and_by_place(run_stage: RunStage, tmp_path: Path) -> None:
    first = make(run_stage, MIXED, tmp_path, axes={"batch": 5, "f.1": 7}, count=1)[0]
    assert first["f"].shape == (5, 7, 3)
    assert first["i"].shape == (5,)


def test_the_recipe_gives_ranges_and_names_for_axes(run_stage: RunStage, tmp_path: Path) -> None:
    inputs = [
        {"name": "f", "dtype": "float32", "shape": ["batch", "time", 3], "range": [0.0, 255.0]},
        {"name": "i", "dtype": "int64", "shape": ["batch"], "range": [10, 12]},
    ]
    samples = make(run_stage, MIXED, tmp_path, inputs=inputs, axes={"time": 50, "batch": 60}, count=1)
    assert samples[0]["f"].shape == (60, 50, 3)
    assert samples[0]["f"].min() >= 0
    assert samples[0]["f"].max() > 200
    assert set(samples[0]["i"]) == {10, 11, 12}


def test_equal_recipes_give_equal_samples(run_stage: RunStage, tmp_path: Path) -> None:
    model = {"model": models.write(MIXED, tmp_path / "m.onnx")}
    runs = [(run_stage("make_samples", "tools", model, NOTHING).out / "samples.npz").read_bytes() for _ in range(2)]
    assert runs[0] == runs[1]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"name": "image", "dtype": "float32", "shape": [1]}, "no input 'image' | its inputs: f, h, i, b, u"),
        ({"name": "f", "dtype": "float64", "shape": ["batch", 2, 3]}, "'f' is float32, and the recipe says float64"),
        ({"name": "f", "dtype": "float32", "shape": ["batch", 2, 4]}, "'f' has shape ['batch', None, 3], and the recipe says"),
        ({"name": "f", "dtype": "float32", "shape": ["batch", 3]}, "'f' has shape ['batch', None, 3], and the recipe says"),
    ],
)
def test_a_recipe_that_contradicts_the_model_is_refused(
    run_stage: RunStage, tmp_path: Path, entry: dict[str, Any], words: str
) -> None:
    assert words in refused(run_stage, MIXED, tmp_path, inputs=[entry])


def test_an_input_without_a_shape_needs_the_recipe(run_stage: RunStage, tmp_path: Path) -> None:
    model = models.graph("(float x) => (float y) { y = Relu(x) }")
    model.graph.input[0].type.tensor_type.ClearField("shape")
    assert "does not say the shape of input 'x'" in refused(run_stage, model, tmp_path)
    samples = make(run_stage, model, tmp_path, inputs=[{"name": "x", "dtype": "float32", "shape": ["n", 3]}])
    assert samples[0]["x"].shape == (2, 3)


@pytest.mark.parametrize("dtype", ["bfloat16", "string"])
def test_types_that_nothing_can_be_made_for(run_stage: RunStage, tmp_path: Path, dtype: str) -> None:
    model = models.graph(f"({dtype}[2] x) => ({dtype}[2] y) {{ y = Identity(x) }}")
    assert "no sample can be made for input 'x'" in refused(run_stage, model, tmp_path)


def test_the_first_of_the_users_data_are_taken(run_stage: RunStage, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    images = np.arange(5 * 64, dtype=np.float32).reshape(5, 1, 8, 8)
    np.savez(folder / "d.npz", image=images)
    inputs = {"model": models.write(models.convnet(), tmp_path / "m.onnx"), "data": folder}
    spec = {"kind": "npz", "npz": "d.npz", "labels": None, "limit": None}
    done = run_stage("make_samples", "tools", inputs, NOTHING | {"data": spec, "count": 3})
    assert done.facts == {"source": "data", "count": 3, "shapes": {"image": [1, 1, 8, 8]}}
    found = tensors.read_samples(done.out / "samples.npz")
    assert np.array_equal(np.concatenate([sample["image"] for sample in found]), images[:3])

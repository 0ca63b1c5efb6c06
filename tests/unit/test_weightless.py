"""Tools of onnx that work without the weights give what they give with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, helper, shape_inference, version_converter

import models
from ortolan.stages.lib.weightless import without_weights

WEIGHTS: dict[str, NDArray[Any]] = {
    "w": np.arange(128 * 256, dtype=np.float32).reshape(128, 256),
    "b": np.arange(256, dtype=np.float32),
    "rows": np.arange(20_000, dtype=np.int64) % 4,
}


def model() -> ModelProto:
    return models.graph("(float[n,128] x) => (float[20000,256] y) { h = Gemm(x, w, b) y = Gather(h, rows) }", weights=WEIGHTS)


def infer(given: ModelProto) -> ModelProto:
    return shape_inference.infer_shapes(given, data_prop=True)


def convert(given: ModelProto) -> ModelProto:
    return version_converter.convert_version(given, 18)


@pytest.mark.parametrize("tool", [infer, convert])
def test_the_result_is_that_of_the_whole_model(tool: Callable[[ModelProto], ModelProto]) -> None:
    assert without_weights(tool, model()) == tool(model())


def test_the_tool_sees_no_large_weight_and_the_model_keeps_them() -> None:
    seen: dict[str, int] = {}
    given = model()

    def look(light: ModelProto) -> ModelProto:
        seen.update({tensor.name: len(tensor.raw_data) for tensor in light.graph.initializer})
        return infer(light)

    without_weights(look, given)
    assert seen == {"w": 0, "b": 4 * 256, "rows": 8 * 20_000}  # an index may be followed, so it stays
    assert given == model()


def test_the_model_keeps_its_weights_when_the_tool_fails() -> None:
    def fail(_: ModelProto) -> ModelProto:
        raise ValueError("it cannot")

    given = model()
    with pytest.raises(ValueError, match="it cannot"):
        without_weights(fail, given)
    assert given == model()


def test_a_tool_that_renames_a_weight_gets_the_whole_model() -> None:
    def rename(given: ModelProto) -> ModelProto:
        copy: ModelProto = ModelProto.FromString(given.SerializeToString())
        for tensor in copy.graph.initializer:
            tensor.name = f"{tensor.name}_new"
        return copy

    assert without_weights(rename, model()) == rename(model())


def test_a_tool_that_moves_a_weight_into_a_node_gets_the_whole_model() -> None:
    def embed(given: ModelProto) -> ModelProto:
        copy: ModelProto = ModelProto.FromString(given.SerializeToString())
        tensor = copy.graph.initializer.pop(0)
        copy.graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], value=tensor))
        return copy

    assert without_weights(embed, model()) == embed(model())

"""The names of classes in a model's metadata, as far as its nodes tell them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from ortolan.stages import stamp
from ortolan.stages.lib.class_names import KEY, metadata

_TEXTS: dict[str, Any] = {"keys_strings": ["nein", "já"], "values_int64s": [0, 1]}


def model(output: str = "label", kind: str = "LabelEncoder", **attributes: Any) -> ModelProto:
    """``label`` is the last tensor; ``output`` the one that the node gives."""
    encoder = helper.make_node(kind, ["x"], [output], domain="ai.onnx.ml", **attributes)
    last = [] if output == "label" else [helper.make_node("Identity", [output], ["label"])]
    ends = (
        helper.make_tensor_value_info("x", TensorProto.STRING, [1]),
        helper.make_tensor_value_info("label", TensorProto.INT64, [1]),
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(helper.make_graph([encoder, *last], "g", ends[:1], ends[1:]), opset_imports=opsets)


def test_what_is_stamped_names_the_classes_of_each_output(tmp_path: Path) -> None:
    onnx.save(model(**_TEXTS), tmp_path / "given.onnx")
    (tmp_path / "out").mkdir()
    facts = stamp.run({"model": tmp_path / "given.onnx"}, {"metadata": {"ortolan.tag": "t"}}, tmp_path / "out")
    stamped = {one.key: one.value for one in onnx.load(tmp_path / "out" / "model.onnx").metadata_props}
    assert stamped == facts["metadata"]
    assert stamped["ortolan.tag"] == "t"
    assert json.loads(stamped[KEY]) == {"label": ["nein", "já"]}


@pytest.mark.parametrize(
    "other",
    [
        model("inner", **_TEXTS),
        model(keys_strings=["a", "b"], values_int64s=[1, 0]),
        model(keys_int64s=[0, 1], values_int64s=[0, 1]),
        model(kind="CategoryMapper", cats_strings=["a"], cats_int64s=[0]),
    ],
    ids=["inside", "other numbers", "no texts", "another operator"],
)
def test_what_is_no_class_number_of_an_output_is_not_told(other: ModelProto) -> None:
    assert metadata(other) == {}

"""Canonical models: equal models have equal bytes, and nothing of their meaning is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import models
from ortolan.stages.lib import canon, external, graphs
from ortolan.stages.lib.refused import Refused


def saved(model: ModelProto, folder: Path, name: str = "m.onnx") -> bytes:
    canon.save(model, folder / name)
    return (folder / name).read_bytes()


def test_prose_paths_and_producer_leave_no_trace(tmp_path: Path) -> None:
    one = models.with_metadata(models.convnet(), exported_in="/a")
    other = models.with_metadata(models.convnet(), exported_in="/b", more="c")
    assert saved(one, tmp_path) == saved(other, tmp_path) == saved(models.convnet(), tmp_path)


def test_prose_in_nested_graphs_and_weights_goes_too(tmp_path: Path) -> None:
    text = f"(float[2] x, bool c) => (float[2] y) {{ {models.branches('t = Relu(x)', 'e = Abs(x)')} }}"
    model = models.graph(text, weights={"w": np.ones(2, np.float32)})
    inner = next(graphs.subgraphs(model.graph.node[0]))
    inner.doc_string = inner.node[0].doc_string = model.graph.initializer[0].doc_string = "/secret"
    model.graph.node.append(helper.make_node("Add", ["y", "w"], ["z"]))
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [2]))
    assert b"/secret" not in saved(model, tmp_path)


def test_saving_twice_changes_nothing(tmp_path: Path) -> None:
    first = saved(models.convnet(), tmp_path)
    assert saved(canon.load(tmp_path / "m.onnx"), tmp_path, "again.onnx") == first


def test_saving_leaves_the_model_in_memory_alone(tmp_path: Path) -> None:
    model = models.with_metadata(models.convnet(), a="b")
    before = model.SerializeToString()
    saved(model, tmp_path)
    assert model.SerializeToString() == before


def test_weights_and_attributes_are_sorted_and_nodes_keep_their_order(tmp_path: Path) -> None:
    model = models.convnet()
    backwards = ModelProto.FromString(model.SerializeToString())
    del backwards.graph.initializer[:]
    backwards.graph.initializer.extend(reversed(model.graph.initializer))
    assert saved(model, tmp_path) == saved(backwards, tmp_path)
    assert [node.name for node in canon.canonical(model).graph.node] == [node.name for node in model.graph.node]


def test_a_changed_weight_changes_the_bytes(tmp_path: Path) -> None:
    assert saved(models.convnet(seed=0), tmp_path) != saved(models.convnet(seed=1), tmp_path)


def test_unused_opsets_and_weights_are_pruned_and_used_ones_stay() -> None:
    model = models.graph(
        "(float[2] x) => (float[2] y) { g = com.microsoft.Gelu(x) y = Add(g, w) }",
        weights={"w": np.ones(2, np.float32), "unused": np.ones(99, np.float32)}, ai_onnx_ml=5, com_microsoft=1,
    )  # fmt: skip
    found = canon.canonical(model)
    assert canon.describe(found)["opsets"] == {"ai.onnx": 17, "com.microsoft": 1}
    assert [tensor.name for tensor in found.graph.initializer] == ["w"]


def test_a_weight_that_only_a_nested_graph_reads_stays() -> None:
    model = models.graph(
        f"(float[2] x, bool c) => (float[2] y) {{ {models.branches('t = Add(x, w)', 'e = Abs(x)')} }}",
        weights={"w": np.ones(2, np.float32)},
    )
    assert [tensor.name for tensor in canon.canonical(model).graph.initializer] == ["w"]


@pytest.mark.parametrize(("opset", "ir"), [(8, 4), (11, 6), (17, 8), (18, 8), (20, 9), (21, 10), (23, 11)])
def test_the_smallest_ir_of_an_opset(opset: int, ir: int) -> None:
    assert canon.canonical(models.convnet(opset)).ir_version == ir


def test_float8_weights_need_ir_9() -> None:
    model = models.convnet()
    model.graph.initializer.append(helper.make_tensor("f8", TensorProto.FLOAT8E4M3FN, [1], [1.0]))
    model.graph.node.append(helper.make_node("Identity", ["f8"], ["f"]))
    assert canon.smallest_ir(model) == 9


def test_unsorted_nodes_are_sorted_with_what_nested_graphs_capture() -> None:
    model = models.graph(f"(float[2] x, bool c) => (float[2] y) {{ {models.branches('t = Relu(r)', 'e = Abs(x)')} r = Neg(x) }}")
    assert [node.op_type for node in canon.canonical(model).graph.node] == ["Neg", "If"]


def test_a_cycle_is_refused_with_the_names_of_its_nodes(tmp_path: Path) -> None:
    model = models.graph("(float[2] x) => (float[2] y) { [one] a = Add(x, b) [two] b = Relu(a) [three] y = Relu(b) }")
    with pytest.raises(Refused, match="cycle") as refused:
        saved(model, tmp_path)
    assert "one" in refused.value.why and "two" in refused.value.why  # noqa: PT018


def test_only_our_own_metadata_stays_unless_replaced(tmp_path: Path) -> None:
    model = models.with_metadata(models.convnet(), **{"ortolan.tag": "t", "theirs": "x"})
    saved(model, tmp_path)
    assert [(p.key, p.value) for p in canon.load(tmp_path / "m.onnx").metadata_props] == [("ortolan.tag", "t")]
    canon.save(model, tmp_path / "n.onnx", {"b": "2", "a": "1"})
    assert [(p.key, p.value) for p in canon.load(tmp_path / "n.onnx").metadata_props] == [("a", "1"), ("b", "2")]


def test_describe_says_names_types_shapes_and_operators() -> None:
    found = canon.describe(
        models.graph("(float16[N,3,?] x, int64 n) => (bool[2] y) { a = com.microsoft.Gelu(x) y = Foo(a) }", com_microsoft=1)
    )
    assert found["inputs"] == [
        {"name": "x", "dtype": "float16", "shape": ["N", 3, None]},
        {"name": "n", "dtype": "int64", "shape": []},
    ]
    assert found["outputs"] == [{"name": "y", "dtype": "bool", "shape": [2]}]
    assert found["operators"] == {"Foo": 1, "com.microsoft:Gelu": 1}
    assert found["ir"] == 8


def test_describe_does_not_count_weights_as_inputs() -> None:
    model = models.convnet()
    model.graph.input.append(helper.make_tensor_value_info("w1", TensorProto.FLOAT, [4, 1, 3, 3]))
    assert [value["name"] for value in canon.describe(model)["inputs"]] == ["image"]


def test_external_data_come_in_when_they_stand_beside_the_model(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.float32)
    model = external_model(tmp_path, "w.bin", array.tobytes())
    loaded = canon.load(models.write(model, tmp_path / "m.onnx"))
    assert not external.stored_outside(loaded)
    assert np.array_equal(numpy_helper.to_array(loaded.graph.initializer[0]), array)


def external_model(folder: Path, location: str, data: bytes | None, length: int = 24) -> ModelProto:
    """A model whose only weight, six floats, stands in ``folder / location``, if ``data`` are given."""
    model = models.graph("(float[6] x) => (float[6] y) { y = Add(x, w) }")
    tensor = model.graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=[6], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
    if data is not None:
        (folder / location).write_bytes(data)
    return model


@pytest.mark.parametrize(
    ("location", "data", "length", "words"),
    [
        ("gone.bin", None, 24, "'gone.bin' is missing"),
        ("../w.bin", None, 24, "outside the model's folder"),
        ("/etc/passwd", None, 24, "outside the model's folder"),
        ("", None, 24, "outside the model's folder"),
        ("w.bin", b"short", 24, "too few"),
        ("w.bin", b"x" * 24, -1, "too few"),
    ],
)
def test_external_data_that_cannot_be_taken_in(
    tmp_path: Path, location: str, data: bytes | None, length: int, words: str
) -> None:
    with pytest.raises(Refused) as refused:
        external.inline(external_model(tmp_path, location, data, length), tmp_path)
    assert words in refused.value.what


def test_a_link_out_of_the_folder_is_outside(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x" * 24)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "w.bin").symlink_to(tmp_path / "secret")
    with pytest.raises(Refused, match="outside"):
        external.inline(external_model(tmp_path, "w.bin", None), tmp_path / "model")


def test_more_than_two_gigabytes_are_refused_before_they_are_read(tmp_path: Path) -> None:
    with (tmp_path / "w.bin").open("wb") as stream:
        stream.truncate(3 * 10**9)  # a sparse file
    model = external_model(tmp_path, "w.bin", None, 3 * 10**9)
    model.graph.initializer[0].dims[:] = [750_000_000]
    with pytest.raises(Refused, match="bytes") as refused:
        external.inline(model, tmp_path)
    assert "2 GB" in refused.value.why


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 nothing of ONNX", bytes(range(256)) * 40])
def test_what_is_no_model_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(Refused, match=r"m\.onnx is not a"):
        canon.load(tmp_path / "m.onnx")


def test_every_truncation_is_refused_or_parses_to_a_whole_model(tmp_path: Path) -> None:
    data = models.convnet().SerializeToString()
    for length in range(0, len(data), 7):
        (tmp_path / "m.onnx").write_bytes(data[:length])
        with pytest.raises(Refused):
            canon.load(tmp_path / "m.onnx")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="missing"):
        canon.load(tmp_path / "m.onnx")

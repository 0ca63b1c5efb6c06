"""SavedModels, frozen graphs, Keras and TFLite models: converted, compared with their frameworks, refused with a true reason."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, version_converter
from onnx.reference import ReferenceEvaluator

import tensorflow_models
from conftest import RunStage, Workspace
from ortolan.artifact import Outcome
from ortolan.build import Built
from ortolan.cache import Cache
from ortolan.stages.lib import tensors
from tensorflow_models import case

pytestmark = pytest.mark.slow

TARGETS = ["x86-cpu", "raspberry-pi-5"]
ROWS = "rows.npz"
"""Samples of every small model, by the names of their inputs."""

CASES = {
    "keras": case("image.keras", samples=ROWS),
    "keras NCHW": case("image.keras", samples="turned.npz", layout="NCHW"),
    "keras named": case("image.keras", outputs=["p"], inputs=[{"name": "image", "dtype": "float32", "shape": ["n", 6, 8, 3]}]),
    "keras outputs": case("image.keras", outputs=["p", "q"]),
    "h5": case("image.h5", samples=ROWS),
    "keras by another name": case("image.zip", samples=ROWS),
    "h5 in capitals": case("IMAGE.H5", samples=ROWS),
    "weights": case("only.weights.h5"),
    "half.keras": case("half.keras"),
    "half.h5": case("half.h5"),
    "pair": case("pair.keras", samples=ROWS),
    "lambda": case("lambda.keras"),
    "lambda trusted": case("lambda.keras", trust=True, samples=ROWS),
    "lambda.h5": case("lambda.h5"),
    "own": case("own.keras"),
    "own.h5": case("own.h5"),
    "own trusted": case("own.keras", trust=True),
    "module": case("module.keras", trust=True),
    "one": case("one", samples=ROWS),
    "two": case("two"),
    "two named": case("two", signature="scaled", samples=ROWS),
    "two misspelt": case("two", signature="logit"),
    "two constant": case("two", signature="scaled", constants={"gain": 2}, samples=ROWS),
    "constant misspelt": case("two", signature="scaled", constants={"gian": 2}),
    "none": case("none"),
    "inc": case("inc"),
    "zero": case("zero"),
    "half graph": case("half_graph"),
    "half weights": case("half_weights"),
    "foreign": case("foreign"),
    "training": case("training"),
    "flat NCHW": case("one", layout="NCHW"),
    "twins": case("twins.pb"),
    "frozen": case("one.pb"),
    "frozen constant": case("one.pb", constants={"keep_prob": 1.0}, samples=ROWS),
    "frozen drops": case("one.pb", constants={"keep_prob": 0.5}),
    "frozen two": case("two.pb"),
    "frozen named": case("two.pb", output_tensors=["up"], constants={"keep_prob": 1.0, "rate": 3.0}, samples=ROWS),
    "frozen misspelt": case("two.pb", output_tensors=["ups:0"]),
    "frozen inc": case("betainc.pb"),
    "frozen variable": case("variable.pb"),
    "half.pb": case("half.pb"),
    "foreign.pb": case("foreign.pb"),
    "tflite": case("float.tflite", samples=ROWS),
    "tflite NCHW": case("float.tflite", samples="turned.npz", layout="NCHW"),
    "tflite int8": case("int8.tflite", samples=ROWS),
    "tflite dense": case("dense8.tflite", samples=ROWS),
    "tflite flex": case("flex.tflite"),
    "tflite custom": case("custom.tflite"),
    "half.tflite": case("half.tflite"),
}


def rows() -> dict[str, Any]:
    draw = np.random.default_rng(1)
    image = draw.random((2, 6, 8, 3), dtype=np.float32)
    flat = {name: draw.normal(size=(2, 4)).astype(np.float32) for name in ("a", "b", "x")}
    return {"image": image, "gain": np.float32(3.0), **flat}


@pytest.fixture(scope="module")
def made(shared_cache: Cache) -> Path:
    """A folder with all small models, and what the stages' code said to ``CASES``: one process each, of all workers."""
    folder = shared_cache.root / "tensorflow-models"
    folder.mkdir(parents=True, exist_ok=True)
    with (shared_cache.root / "tensorflow.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "told.json").exists():
            tensorflow_models.make(folder)
            samples = rows()
            turned = np.transpose(samples["image"], (0, 3, 1, 2))
            tensors.write_samples(folder / ROWS, [samples])
            tensors.write_samples(folder / "turned.npz", [{"image": turned}])
            tensorflow_models.ask(folder, list(CASES.values()))
    return folder


@pytest.fixture(scope="module")
def told(made: Path) -> Mapping[str, Any]:
    return dict(zip(CASES, json.loads((made / "told.json").read_text()), strict=True))


def facts(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    assert "facts" in told[name], told[name]
    found: Mapping[str, Any] = told[name]["facts"]
    return found


def model(made: Path, name: str) -> onnx.ModelProto:
    return onnx.load(made / f"{list(CASES).index(name)}.onnx")


def ends(found: Mapping[str, Any], side: str) -> list[tuple[str, str, Any]]:
    return [(one["name"], one["dtype"], one["shape"]) for one in found[side]]


# --- what is converted ---------------------------------------------------------------------------------------------------


def test_inputs_and_outputs_bear_the_names_of_the_signature(told: Mapping[str, Any]) -> None:
    image = [("image", "float32", ["batch", 6, 8, 3])]
    for name in ("keras", "h5", "tflite", "keras by another name", "h5 in capitals"):
        assert ends(facts(told, name), "inputs") == image
    assert ends(facts(told, "keras"), "outputs") == ends(facts(told, "h5"), "outputs") == [("scores", "float32", ["batch", 5])]
    assert ends(facts(told, "pair"), "inputs") == [("a", "float32", ["batch", 4]), ("b", "float32", ["batch", 4])]
    assert ends(facts(told, "pair"), "outputs") == [("sum", "float32", ["batch", 2]), ("gap", "float32", ["batch", 3])]
    assert ends(facts(told, "one"), "outputs") == [("logits", "float32", ["batch", 3])]
    assert ends(facts(told, "two named"), "inputs") == [("gain", "float32", []), ("x", "float32", ["batch", 4])]
    assert ends(facts(told, "two named"), "outputs") == [("best", "int64", ["batch"]), ("y", "float32", ["batch", 3])]
    assert facts(told, "one")["signature"] == "serving_default"
    assert facts(told, "two named")["signature"] == "scaled"


def test_the_recipe_names_axes_and_outputs(told: Mapping[str, Any]) -> None:
    named = facts(told, "keras named")
    assert ends(named, "inputs") == [("image", "float32", ["n", 6, 8, 3])]
    assert [one["name"] for one in named["outputs"]] == ["p"]


def test_nothing_of_paths_and_of_the_converter_is_left(made: Path) -> None:
    for name in ("keras", "one", "frozen constant", "tflite"):
        found = model(made, name)
        assert (found.graph.name, found.graph.doc_string, found.producer_name) == ("tensorflow", "", "")
        assert b"unk__" not in found.SerializeToString()
        assert str(made).encode() not in found.SerializeToString()


def test_layout_turns_inputs_with_four_axes(told: Mapping[str, Any]) -> None:
    for name in ("keras NCHW", "tflite NCHW"):
        assert facts(told, name)["turned"] == ["image"]
        assert ends(facts(told, name), "inputs") == [("image", "float32", ["batch", 3, 6, 8])]
        assert "Transpose" not in facts(told, name)["operators"]


def test_what_is_quantised_stays_so(told: Mapping[str, Any]) -> None:
    assert facts(told, "tflite int8")["quantised"] == {"int8": 9}
    assert {"QuantizeLinear", "DequantizeLinear"} <= facts(told, "tflite int8")["operators"].keys()
    assert "quantised" not in facts(told, "tflite")


def test_a_quantised_dense_layer_is_one_operator(told: Mapping[str, Any]) -> None:
    found = facts(told, "tflite dense")["operators"]
    assert (found["Gemm"], "MatMul" in found, "Add" in found) == (2, False, False)


def test_a_constant_is_no_input_any_more(told: Mapping[str, Any]) -> None:
    assert [one["name"] for one in facts(told, "two constant")["inputs"]] == ["x"]
    assert facts(told, "frozen constant")["defaults"] == ["rate"]
    assert "defaults" not in facts(told, "frozen named")


@pytest.mark.parametrize("name", [name for name, one in CASES.items() if one["samples"]])
def test_the_frameworks_tensors_inside_are_those_of_the_model(made: Path, name: str) -> None:
    """Among them its outputs; each by the operators' definition, in the layout that it has in the model."""
    found = version_converter.convert_version(model(made, name), 21)  # the oldest whose Q/DQ the evaluator has
    given = {one.name for one in found.graph.input}
    sample = rows() | ({"image": np.transpose(rows()["image"], (0, 3, 1, 2))} if CASES[name]["layout"] == "NCHW" else {})
    wanted = np.load(made / f"{list(CASES).index(name)}.npz")
    values: Any = ReferenceEvaluator(found).run(None, {key: sample[key] for key in given}, intermediate=True)
    names = [key.removeprefix("0/") for key in wanted.files]
    assert {one.name for one in found.graph.output} <= set(names)
    assert len(names) >= min(3, len(found.graph.node))
    for one in names:
        step = (
            (1 if values[one].dtype == np.int8 else 1 / 64) if name in {"tflite int8", "tflite dense"} else 1e-5
        )  # of its tensors, of its output
        assert values[one].dtype == wanted[f"0/{one}"].dtype
        np.testing.assert_allclose(values[one].astype(float), wanted[f"0/{one}"].astype(float), rtol=1e-4, atol=step, err_msg=one)


def test_the_first_diverging_tensor_is_named(made: Path, run_stage: RunStage, tmp_path: Path) -> None:
    found = model(made, "keras")
    conv = next(node for node in found.graph.node if node.op_type == "Conv")
    weights = next(one for one in found.graph.initializer if one.name == conv.input[1])
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * np.float32(1.5), weights.name))
    onnx.save(found, tmp_path / "model.onnx")
    tensors.write_samples(tmp_path / "samples.npz", [{"image": rows()["image"]}])
    traced = made / f"{list(CASES).index('keras')}.npz"
    read = {"model": tmp_path / "model.onnx", "samples": tmp_path / "samples.npz", "tensors": traced}
    done = run_stage("locate", "onnxruntime-1.31.1", read, {"rtol": 1e-3, "atol": 1e-5})
    assert done.facts
    assert done.facts["first"]["op"] in {"Conv", "Relu"}


def test_another_process_gives_the_same_bytes_and_is_confined(made: Path, run_stage: RunStage) -> None:
    params = {key: value for key, value in CASES["twins"].items() if key != "samples"}
    done = run_stage("export_tensorflow", "tensorflow", {"source": made}, params)
    assert done.facts, done.log
    assert (done.out / "model.onnx").read_bytes() == (made / f"{list(CASES).index('twins')}.onnx").read_bytes()
    assert set(done.facts["confined"]) == {"network", "files"}


# --- what is refused -----------------------------------------------------------------------------------------------------

REFUSED = [
    ("none", "the SavedModel has no signatures", "", "model.export(folder)"),
    ("two", "the SavedModel has 2 signatures: logits, scaled", "none is named", '[source] signature = "logits"'),
    ("two misspelt", "the SavedModel has no signature 'logit'", "it has logits, scaled", "did you mean logits?"),
    ("constant misspelt", "the model has no input 'gian'", "its inputs: gain, x", ""),
    ("inc", "operator Betainc (node StatefulPartitionedCall/StatefulPartitionedCall/inc) has no counterpart in ONNX", "", ""),
    ("frozen inc", "operator Betainc (node inc) has no counterpart in ONNX", "tf2onnx has no converter", ""),
    ("foreign", "operator TheirOwnOp (node theirs) is unknown", "library of custom operators", ""),
    ("foreign.pb", "operator TheirOwnOp (node theirs) is unknown", "library of custom operators", ""),
    ("training", "the SavedModel has no graph for serving", "train; tune", "tag serve"),
    ("zero", "input 'x' has shape [?, 0]", "holds no values", ""),
    ("half graph", "saved_model.pb is no SavedModel", "do not parse", "whole"),
    ("half weights", "TensorFlow cannot load the SavedModel", "RestoreV2", "whole"),
    ("flat NCHW", 'layout = "NCHW" has nothing to turn', "none of x has four axes", ""),
    ("frozen", "the model draws random numbers", "RandomUniform", "constants = { keep_prob = 1.0 }"),
    ("frozen drops", "the model draws random numbers", "RandomUniform", ""),
    ("frozen two", "the graph does not say what its outputs are", "nothing reads up:0, down:0", 'output_tensors = ["up:0"]'),
    ("frozen misspelt", "the graph has no tensor 'ups:0'", "", "did you mean up:0?"),
    ("frozen variable", "the graph is not frozen", "it has a variable, bias", "SavedModel"),
    ("half.pb", "half.pb is no graph of TensorFlow's", "do not parse", "whole"),
    ("weights", "only.weights.h5 holds weights only", "", "save the whole model"),
    ("half.keras", "half.keras cannot be read", "", "whole"),
    ("half.h5", "half.h5 cannot be read", "truncated", "whole"),
    ("keras outputs", "the recipe names 2 output(s): p, q", "the model has 1: scores", ""),
    ("lambda", "lambda.keras holds Python code in layer twice", "runs that code", "trust = true"),
    ("lambda.h5", "lambda.h5 holds Python code in layer twice", "runs that code", "trust = true"),
    ("own", "own.keras has custom objects: Own (layer mine)", "its code is not in the file", "SavedModel"),
    ("own.h5", "own.h5 has custom objects: shop>Own (layer mine)", "its code is not in the file", "SavedModel"),
    ("own trusted", "own.keras has custom objects: Own (layer mine)", "", ""),
    ("module", "module.keras has custom objects: system (layer conv)", "", ""),
    ("tflite custom", "the model has custom operators: Betainc (it makes inc)", "neither LiteRT nor ONNX", "TFLITE_BUILTINS"),
    ("tflite flex", "the model has custom operators: FlexMatrixInverse (it makes Identity)", "", ""),
    ("half.tflite", "LiteRT cannot open half.tflite", "", "whole"),
]


@pytest.mark.parametrize(("name", "what", "why", "hint"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_is_wrong_is_named(told: Mapping[str, Any], name: str, what: str, why: str, hint: str) -> None:
    assert "refused" in told[name], told[name]
    refused = told[name]["refused"]
    assert what in refused["what"]
    assert why in refused["why"]
    assert hint in refused["hint"]


def test_code_of_a_trusted_layer_reaches_nothing_outside(made: Path, run_stage: RunStage) -> None:
    params = {key: value for key, value in case("reach.keras", trust=True).items() if key != "samples"}
    done = run_stage("export_tensorflow", "tensorflow", {"source": made}, params)
    assert done.refused, done.log
    assert (done.out.parent / "ran").exists()
    assert not (made / "reached-out").exists()


# --- builds ---------------------------------------------------------------------------------------------------------------


def outcomes(built: Built, gate: str) -> set[Outcome]:
    return {one.outcome for one in built.gates if one.name.partition("@")[0] == gate}


def said(built: Built) -> str:
    return "\n".join([*map(str, built.errors), *(f"{one.name}: {one.measured} {one.why}" for one in built.gates)])


def assert_built(every: list[Built]) -> None:
    assert [built.job.target.name for built in every] == TARGETS
    for built in every:
        assert built.ok, said(built)
        assert outcomes(built, "parity") == outcomes(built, "load") == outcomes(built, "opset") == {Outcome.PASS}


@pytest.mark.parametrize(
    "name",
    ["tensorflow/kws_saved_model", "tensorflow/mlperftiny_pretrainedResnet.h5", "tflite/mlperftiny_pretrainedResnet.tflite"],
)
def test_a_real_model_builds_from_its_file_alone(workspace: Workspace, shared_data: Path, name: str) -> None:
    assert_built(workspace.build(TARGETS, str(shared_data / name)))


def test_a_real_graph_builds_once_its_dropout_is_settled(workspace: Workspace, shared_data: Path) -> None:
    (workspace.root / "recipes" / "models" / "lstm.pb").symlink_to(shared_data / "tensorflow" / "lstm" / "frozen.pb")
    workspace.add("models/lstm.toml", '[source]\nfile = "lstm.pb"\nconstants = { keep_prob = 1.0 }\n')
    assert_built(workspace.build(TARGETS, "lstm"))


def test_a_quantised_model_keeps_its_scales(made: Path, workspace: Workspace) -> None:
    """Also where the recipe brings calibration data: nothing is calibrated, and the gate says why."""
    (workspace.root / "recipes" / "models" / "small8.tflite").write_bytes((made / "int8.tflite").read_bytes())
    np.savez(workspace.root / "recipes" / "models" / "small8.npz", image=np.ones((4, 6, 8, 3), np.float32))
    data = '[[input]]\nname = "image"\nshape = ["batch", 6, 8, 3]\n[data]\ncalibration = { npz = "small8.npz" }\n'
    workspace.add("models/small8.toml", '[source]\nfile = "small8.tflite"\n[parity]\natol = 0.008\n' + data)
    every = workspace.build(TARGETS, "small8")
    assert_built(every)
    assert [label for label in workspace.ran() if "calibrate" in label or "quantise" in label] == []
    for built in every:
        assert built.folder
        assert next(gate.measured for gate in built.gates if gate.name == "quantised") == "already quantised: 17 Q/DQ nodes, kept"
        shipped = [node.op_type for node in onnx.load(built.folder / "model.onnx").graph.node]
        assert (shipped.count("QuantizeLinear"), shipped.count("DequantizeLinear")) == (6, 11)

"""The PyTorch stages, run for real in the torch runtime."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from ortolan import runtime
from ortolan.cache import user_cache
from ortolan.stages.lib.tensors import read_samples, write_samples

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "recipes" / "models"
CODE = ROOT / "tests" / "data" / "torch"
X = [{"name": "x", "dtype": "float32", "shape": ["batch", 4]}]
IMAGE = [{"name": "image", "dtype": "float32", "shape": ["batch", 1, 8, 8]}]
BUILT: dict[str, Any] = {"file": None, "trust": False}
pytestmark = pytest.mark.slow

Run = Callable[..., Any]


@pytest.fixture
def export(run_stage: Run) -> Run:
    def run(factory: str, recipe: Any = X, *, weights: Path | None = None, code: Path = CODE, **changes: Any) -> Any:
        params = BUILT | {"factory": factory, "exporter": "dynamo", "opset": 17, "inputs": recipe, "outputs": [], "axes": {}}
        params |= changes
        return run_stage("export_pytorch", "torch", {"code": code} | ({"weights": weights} if weights else {}), params)

    return run


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    code = tmp_path / "digits"
    code.mkdir()
    shutil.copy(MODELS / "digits.py", code)
    return code


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[str], Path]:
    """A file that PyTorch writes: an expression for what to save."""

    def save(expression: str) -> Path:
        made = runtime.ensure(runtime.find("torch", [ROOT / "runtimes"]), user_cache().runtimes)
        path = tmp_path / "weights.pt"
        program = f"import torch\nfrom torch import nn\ntorch.save({expression}, {str(path)!r})"
        subprocess.run([made.interpreter, "-c", program], check=True)
        return path

    return save


def evaluate(path: Path, sample: Mapping[str, Any], *, every: bool = False) -> dict[str, Any]:
    """The model's outputs by ONNX's own reference; with ``every``, all its tensors."""
    model = onnx.load(path)
    outputs = [value.name for value in model.graph.output]
    if every:
        outputs = [name for node in model.graph.node for name in node.output if name]
        del model.graph.output[:]
        model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in outputs)
    return dict(zip(outputs, ReferenceEvaluator(model).run(None, dict(sample)), strict=True))


def samples(path: Path, *found: Mapping[str, Any]) -> Path:
    write_samples(path, found)
    return path


# --- exporters and opsets ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exporter", "emitted", "route"), [("dynamo", 18, "converted after repair"), ("torchscript", 17, "direct")]
)
def test_digits_comes_out_at_opset_17_and_still_classifies(
    export: Run, run_stage: Run, digits: Path, exporter: str, emitted: int, route: str
) -> None:
    weights = MODELS / "digits.safetensors"
    ran = export("digits.py:build", IMAGE, weights=weights, code=digits, exporter=exporter, outputs=["logits"])
    wanted = {"opset": 17, "emitted_opset": emitted, "exporter": exporter, "route": route}
    assert {name: ran.facts[name] for name in wanted} == wanted
    assert ran.facts["inputs"] == [{"name": "image", "dtype": "float32", "shape": ["batch", 1, 8, 8]}]
    assert ran.facts["outputs"] == [{"name": "logits", "dtype": "float32", "shape": ["batch", 10]}]
    model = onnx.load(ran.out / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    assert sorted(path.name for path in ran.out.iterdir()) == ["model.onnx"]
    with np.load(MODELS / "digits-evaluation.npz") as data:
        logits = evaluate(ran.out / "model.onnx", {"image": data["image"][:200]})["logits"]
        assert (logits.argmax(1) == data["label"][:200]).mean() > 0.97
    normal = run_stage("normalise", "tools", {"model": ran.out / "model.onnx"}, {"opset": 17})
    assert normal.facts["found"] == 17


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_two_working_directories_give_the_same_bytes(export: Run, run_stage: Run, exporter: str) -> None:
    runs = [export("models.py:random_weights", exporter=exporter) for _ in range(2)]
    first, second = ((run.out / "model.onnx").read_bytes() for run in runs)
    assert first == second
    assert runs[0].out != runs[1].out
    normal = [run_stage("normalise", "tools", {"model": run.out / "model.onnx"}, {"opset": 17}) for run in runs]
    assert (normal[0].out / "model.onnx").read_bytes() == (normal[1].out / "model.onnx").read_bytes()
    assert b"stage-" not in first
    assert b"models.py" not in first


@pytest.mark.parametrize(("exporter", "opset", "emitted", "route"), [
    ("dynamo", 20, 20, "direct"), ("dynamo", 15, 18, "converted"),
    ("torchscript", 13, 13, "direct"), ("torchscript", 21, 21, "direct"),
])  # fmt: skip
def test_other_opsets_are_what_was_asked_for(export: Run, exporter: str, opset: int, emitted: int, route: str) -> None:
    ran = export("models.py:linear", exporter=exporter, opset=opset)
    assert (ran.facts["opset"], ran.facts["emitted_opset"], ran.facts["route"]) == (opset, emitted, route)
    assert onnx.load(ran.out / "model.onnx").opset_import[0].version == opset


@pytest.mark.parametrize("factory", ["split_and_pad", "mish"])
def test_what_the_converter_lacks_is_repaired_without_changing_the_model(
    export: Run, run_stage: Run, tmp_path: Path, factory: str
) -> None:
    recipe = [{"name": "x", "dtype": "float32", "shape": ["batch", 8, 5]}]
    ran = export(f"models.py:{factory}", recipe)
    assert ran.facts["route"] == "converted after repair"
    sample = {"x": np.random.default_rng(0).standard_normal((3, 8, 5), np.float32)}
    inputs = {"code": CODE, "model": ran.out / "model.onnx", "samples": samples(tmp_path / "samples.npz", sample)}
    reference = run_stage("reference_pytorch", "torch", inputs, BUILT | {"factory": f"models.py:{factory}", "inputs": recipe})
    for name, value in read_samples(reference.out / "outputs.npz")[0].items():
        np.testing.assert_allclose(evaluate(ran.out / "model.onnx", sample)[name], value, rtol=1e-5, atol=1e-6)


def test_an_operator_that_no_older_opset_has_is_refused(export: Run) -> None:
    refused = export("models.py:bitwise").refused
    assert "opset 18 to opset 17" in refused["what"]
    assert "BitwiseAnd" in refused["why"]
    assert 'exporter = "torchscript"' in refused["hint"]


def test_an_opset_out_of_range_is_refused_with_the_range(export: Run) -> None:
    refused = export("models.py:linear", exporter="torchscript", opset=24).refused
    assert "opset 24" in refused["what"]
    assert "7 to 23" in refused["why"]


# --- names, axes, inputs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_inputs_are_bound_by_name_and_dict_outputs_keep_their_order(
    export: Run, run_stage: Run, tmp_path: Path, exporter: str
) -> None:
    recipe = [{"name": "scale", "dtype": "float32", "shape": ["rows", 1]}, {"name": "index", "dtype": "int64", "shape": ["rows"]}]
    ran = export("models.py:two_inputs", recipe, exporter=exporter, outputs=["scaled", "moved"], axes={"rows": 3})
    found = {item["name"]: item["shape"] for item in ran.facts["inputs"]}
    assert found == {"scale": ["rows", 1], "index": ["rows"]}
    assert [item["shape"][0] for item in ran.facts["outputs"]] == ["rows", "rows"]
    sample = {"scale": np.array([[2], [3], [4], [5]], np.float32), "index": np.array([4, 0, 1, 3])}
    inputs = {"code": CODE, "model": ran.out / "model.onnx", "samples": samples(tmp_path / "samples.npz", sample)}
    reference = run_stage("reference_pytorch", "torch", inputs, BUILT | {"factory": "models.py:two_inputs", "inputs": recipe})
    expected = read_samples(reference.out / "outputs.npz")[0]
    assert sorted(expected) == ["moved", "scaled"]
    for name, value in evaluate(ran.out / "model.onnx", sample).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-6)


@pytest.mark.parametrize(("factory", "recipe", "changes", "what"), [
    ("fixed_batch", X, {}, "cannot export"),
    ("fixed_batch", [{"name": "x", "dtype": "float32", "shape": [2, 4]}], {"outputs": ["a", "b"]}, "names 2 output(s)"),
    ("linear", [*X, {"name": "y", "dtype": "float32", "shape": [1]}], {}, "cannot take the recipe's inputs x, y"),
    ("sign_dependent", X, {}, "cannot export"),
])  # fmt: skip
def test_what_does_not_fit_the_recipe_is_refused(export: Run, factory: str, recipe: Any, changes: Any, what: str) -> None:
    refused = export(f"models.py:{factory}", recipe, **changes).refused
    assert what in refused["what"]
    assert refused["why"]
    assert refused["hint"]
    assert "stage-" not in str(refused), "a verdict is stored: it may not name the folder of this run"


def test_a_refused_export_names_the_users_line(export: Run) -> None:
    assert "models.py line" in export("models.py:sign_dependent").refused["why"]


def test_traced_control_flow_exports_and_differs_on_another_sample(export: Run, run_stage: Run, tmp_path: Path) -> None:
    ran = export("models.py:sign_dependent", exporter="torchscript")
    above, below = np.ones((3, 4), np.float32), -3 * np.ones((3, 4), np.float32)
    inputs = {"code": CODE, "model": ran.out / "model.onnx"}
    inputs["samples"] = samples(tmp_path / "samples.npz", {"x": above}, {"x": below})
    reference = run_stage("reference_pytorch", "torch", inputs, BUILT | {"factory": "models.py:sign_dependent", "inputs": X})
    same, other = (next(iter(found.values())) for found in read_samples(reference.out / "outputs.npz"))
    name = ran.facts["outputs"][0]["name"]
    np.testing.assert_array_equal(evaluate(ran.out / "model.onnx", {"x": above})[name], same)
    assert not np.allclose(evaluate(ran.out / "model.onnx", {"x": below})[name], other)


# --- the factory -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("factory", "what"), [
    ("absent.py:build", "absent.py is missing"),
    ("models.py:line", "no callable 'line'"),
    ("models.py:NOT_CALLABLE", "no callable"),
    ("models.py:a_number", "returned a int"),
])  # fmt: skip
def test_a_factory_that_gives_no_module_is_refused(export: Run, factory: str, what: str) -> None:
    refused = export(factory).refused
    assert what in refused["what"]
    assert refused["hint"]


@pytest.mark.parametrize(("factory", "words"), [
    ("raising", ("models.py:raising", "OSError: the mirror is down", "models.py line", "in raising")),
    ("exiting", ("models.py:exiting", "sys.exit(3)", "in exiting")),
    ("exits_in_forward", ("forward", "sys.exit('stop')", "models.py line")),
    ("fails_in_forward", ("forward", "RuntimeError", "models.py line")),
])  # fmt: skip
def test_code_that_raises_or_exits_is_a_crash_that_names_its_line(export: Run, factory: str, words: tuple[str, ...]) -> None:
    ran = export(f"models.py:{factory}")
    assert ran.facts is None
    assert ran.refused is None
    assert [word for word in words if word not in ran.error] == []


def test_a_factory_that_prints_is_harmless(export: Run) -> None:
    ran = export("models.py:printing", exporter="torchscript")
    assert ran.facts["opset"] == 17
    assert "on both" in ran.log


# --- weights -----------------------------------------------------------------------------------------------------


def test_weights_that_do_not_fit_are_refused_by_name_and_shape(export: Run, saved: Run) -> None:
    weights = saved("{'weight': torch.zeros(3, 5), 'bais': torch.zeros(3)}")
    why = export("models.py:linear", weights=weights).refused["why"]
    assert why == (
        "missing in the weights: bias; unknown to the model: bais; "
        "of other shapes: weight is [3, 5] in the weights and [3, 4] in the model"
    )


def test_only_a_handful_of_names_is_listed(export: Run, saved: Run) -> None:
    weights = saved("{'weight': torch.zeros(3, 4), 'bias': torch.zeros(3)} | {f'extra.{i}': torch.zeros(1) for i in range(40)}")
    why = export("models.py:linear", weights=weights).refused["why"]
    assert why.endswith("and 35 more")
    assert why.count("extra.") == 5


@pytest.mark.parametrize(("expression", "what", "hint"), [
    ("{'epoch': 3, 'opt': {}, 'net': nn.Linear(4, 3).state_dict()}", "more than a state dict", 'such as checkpoint["net"]'),
    ("[torch.zeros(3)]", "hold a list", "state_dict"),
    ("nn.Linear(4, 3)", "cannot be read", "state_dict"),
])  # fmt: skip
def test_other_things_that_torch_saves_are_refused(export: Run, saved: Run, expression: str, what: str, hint: str) -> None:
    refused = export("models.py:linear", weights=saved(expression)).refused
    assert what in refused["what"]
    assert hint in refused["hint"]


@pytest.mark.parametrize("data", [b"", b"not weights at all", b"PK\x03\x04truncated", b'\x10\0\0\0\0\0\0\0{"half": '])
def test_files_that_are_no_weights_are_refused(export: Run, tmp_path: Path, data: bytes) -> None:
    weights = tmp_path / "weights"
    weights.write_bytes(data)
    assert export("models.py:linear", weights=weights).refused["what"].startswith("the weights ")


def test_a_state_dict_is_loaded(export: Run, saved: Run) -> None:
    weights = saved("{'weight': torch.arange(12.).reshape(3, 4), 'bias': torch.ones(3)}")
    ran = export("models.py:linear", weights=weights, outputs=["y"], exporter="torchscript")
    expected = np.arange(12, dtype=np.float32).reshape(3, 4).sum(1) + 1
    np.testing.assert_array_equal(evaluate(ran.out / "model.onnx", {"x": np.ones((1, 4), np.float32)})["y"], [expected])


def test_a_tied_parameter_may_be_stored_once(export: Run, saved: Run) -> None:
    ran = export("models.py:tied", weights=saved("{'a.weight': torch.eye(4) * 3, 'b.bias': torch.zeros(4)}"), outputs=["y"])
    found = evaluate(ran.out / "model.onnx", {"x": np.ones((1, 4), np.float32)})["y"]
    np.testing.assert_array_equal(found, np.full((1, 4), 9, np.float32))


# --- tracing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("exporter", "by", "least"), [("dynamo", "fx node", 12), ("torchscript", "scope", 11)])
def test_traced_tensors_are_those_of_the_export(
    export: Run, run_stage: Run, tmp_path: Path, exporter: str, by: str, least: int
) -> None:
    recipe = [{"name": "x", "dtype": "float32", "shape": ["batch", 1, 8, 8]}]
    ran = export("models.py:repeated", recipe, exporter=exporter, outputs=["y"])
    model = run_stage("normalise", "tools", {"model": ran.out / "model.onnx"}, {"opset": 17}).out / "model.onnx"
    found = [{"x": np.random.default_rng(n).standard_normal((n, 1, 8, 8), np.float32)} for n in (1, 3)]
    inputs = {"code": CODE, "model": model, "samples": samples(tmp_path / "samples.npz", *found)}
    params = BUILT | {"factory": "models.py:repeated", "exporter": exporter, "inputs": recipe, "axes": {}}
    traced = run_stage("trace_pytorch", "torch", inputs, params)
    assert traced.facts["by"] == by
    assert least <= traced.facts["matched"] <= traced.facts["tensors"]
    for sample, values in zip(found, read_samples(traced.out / "tensors.npz"), strict=True):
        actual = evaluate(model, sample, every=True)
        assert "y" in values
        for name, value in values.items():
            np.testing.assert_allclose(actual[name], value, rtol=1e-4, atol=1e-5, err_msg=name)

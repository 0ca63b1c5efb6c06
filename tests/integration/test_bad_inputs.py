"""Recipes that contradict a device or a model, told by the program: which file and line, which axis, which key to write."""

from __future__ import annotations

import json

import pytest

import models
from conftest import Workspace
from ortolan.artifact import Outcome
from ortolan.stages.lib import tensors
from program import call

MODEL = "recipes/models/digits-mlp.onnx"
RECIPES: list[tuple[str, str, str, str]] = [
    ("jetson-orin", "[quantize]", '[quantize]\npolicy = "never"', "trt_int8_enable: there would be nothing in 8 bits"),
    ("jetson-orin", "trt_fp16_enable   ", "trt_fp16_enabel   ", "Did you mean trt_fp16_enable?"),
    ("jetson-orin", "trt_fp16_enable                = true", 'trt_fp16_enable = "yes"', 'wants true or false, found "yes"'),
    ("jetson-orin", '"CPUExecutionProvider"', '"CoreMLExecutionProvider"', '"CPUExecutionProvider" is missing'),
    ("x86-cuda", '"CUDAExecutionProvider"', '"CPUExecutionProvider"', 'the provider "CPUExecutionProvider" stands here twice'),
    ("android-qnn", '"SM8650"', '"SM8660"', 'Did you mean "SM8650"?'),
    ("android-qnn", "backend_type      ", 'htp_arch = "99"\nbackend_type      ', 'htp_arch: "99" is not one of'),
    ("x86-rtx", '"12.0"', '"8.7"', '"8.7" is not a compute capability that engines can be built for'),
    ("x86-rtx", "min = 1, opt = 4", "min = 5, opt = 4", "min = 5 is more than opt = 4"),
    ("x86-rtx", "{ min = 1, opt = 4, max = 16 }", '"dynamic"', "TensorRT-RTX builds engines for a size or a profile"),
    ("android-qnn", "batch = 1", 'batch = "dynamic"', "QNN takes fixed shapes only. Give the axis one size."),
]  # fmt: skip


@pytest.mark.parametrize(("target", "old", "new", "words"), RECIPES)
def test_a_recipe_that_contradicts_the_device_is_told_with_its_line(
    workspace: Workspace, target: str, old: str, new: str, words: str
) -> None:
    workspace.edit(f"targets/{target}.toml", old, new)
    for words_of_verb in (("build", "--model", "digits-mlp"), ("coverage", MODEL)):
        done = call(workspace, *words_of_verb, "--target", target)
        assert (done.returncode, done.stdout) == (2, "")
        assert words in done.stderr
        assert f"recipes/targets/{target}.toml:" in done.stderr
        assert "Traceback" not in done.stderr


def test_the_cpu_before_others_is_told(workspace: Workspace) -> None:
    workspace.edit("targets/x86-cuda.toml", '"CPUExecutionProvider"', '"ElsewhereExecutionProvider"')
    workspace.edit("targets/x86-cuda.toml", '"CUDAExecutionProvider"', '"CPUExecutionProvider"')
    workspace.edit("targets/x86-cuda.toml", '"ElsewhereExecutionProvider"', '"CUDAExecutionProvider"')
    workspace.edit("targets/x86-cuda.toml", 'cudnn_conv_algo_search = "HEURISTIC"', "")
    done = call(workspace, "build", "--target", "x86-cuda", "--model", "digits-mlp")
    assert done.returncode == 2
    assert 'what comes after the CPU never gets a node. Move "CPUExecutionProvider" to the end.' in done.stderr


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("android-qnn", "QNN takes fixed shapes only, and time has none: say time = <size> in [shapes] of android-qnn"),
        ("android-arm64", "NNAPI takes fixed shapes only, and time has none: say time = <size> in [shapes] of android-arm64"),
        (
            "x86-rtx",
            "time has none: say time = <size> or a profile { min = 1, opt = 4, max = 8 } in [shapes] of x86-rtx",
        ),
    ],
)
def test_an_axis_without_a_value_is_named_with_the_key_to_write(workspace: Workspace, target: str, words: str) -> None:
    model = models.graph("(float[time,4] x) => (float[time,4] y) { y = Relu(x) }")
    models.write(model, workspace.root / "net.onnx")
    done = call(workspace, "build", "--target", target, "--model", "net.onnx", "--json")
    assert done.returncode == 3, done.stderr
    gates = {gate["name"]: gate for gate in json.loads(done.stdout.splitlines()[-1])["gates"]}
    assert gates["shapes"]["outcome"] == "fail"
    assert words in gates["shapes"]["why"]
    assert not list((workspace.root / "build").glob("*/*/manifest.json"))


def test_with_the_key_that_was_named_it_builds(workspace: Workspace) -> None:
    models.write(models.graph("(float[time,4] x) => (float[time,4] y) { y = Relu(x) }"), workspace.root / "net.onnx")
    workspace.edit("targets/x86-rtx.toml", "[shapes]", "[shapes]\ntime = { min = 1, opt = 4, max = 8 }")
    done = call(workspace, "build", "--target", "x86-rtx", "--model", "net.onnx", "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    gates = {gate["name"]: gate for gate in json.loads(done.stdout.splitlines()[-1])["gates"]}
    assert gates["shapes"]["outcome"] == "pass"
    assert "time 1…4…8 dynamic" in gates["shapes"]["measured"]


def test_sizes_that_depend_on_data_are_named(workspace: Workspace) -> None:
    model = models.graph("(float[2,4] x) => (int64[r,k] y) { a = Relu(x) [nz] b = NonZero(a) y = Transpose(b) }")
    models.write(model, workspace.root / "net.onnx")
    done = call(workspace, "build", "--target", "x86-cpu", "--model", "net.onnx", "--json")
    assert done.returncode == 0, done.stderr
    gates = {gate["name"]: gate for gate in json.loads(done.stdout.splitlines()[-1])["gates"]}
    assert "sizes that depend on data come from NonZero nz" in gates["shapes"]["why"]


def test_a_float_model_does_not_ask_for_int8(workspace: Workspace) -> None:
    """The target's trt_int8_enable is for Q/DQ nodes, and a model without calibration data has none."""
    models.write(models.convnet(), workspace.root / "net.onnx")
    floating, quantised = (workspace.build("jetson-orin", model)[0] for model in (str(workspace.root / "net.onnx"), "digits-mlp"))
    asked = [
        json.loads((built.folder / "session.json").read_text())["providers"][0]["options"].get("trt_int8_enable", "False")
        for built in (floating, quantised)
        if built.folder
    ]
    assert (floating.precision, quantised.precision, asked) == ("fp32", "int8", ["False", "True"])


def test_an_input_with_an_axis_of_size_zero_builds_and_keeps_it(workspace: Workspace) -> None:
    """As the first step of a decoder has it, whose past is empty."""
    text = "(float[2,0,4] past, float[2,1,4] x) => (float[2,1,4] y) { a = Concat<axis=1>(past, x) y = Relu(a) }"
    models.write(models.graph(text), workspace.root / "net.onnx")
    (built,) = workspace.build("x86-cpu", str(workspace.root / "net.onnx"))
    assert built.folder, built.errors
    golden = tensors.read_samples(built.folder / "golden-inputs.npz")
    assert {sample["past"].shape for sample in golden} == {(2, 0, 4)}
    assert {gate.outcome for gate in built.gates if gate.name.startswith("parity@")} == {Outcome.PASS}

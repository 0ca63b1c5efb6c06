"""``coverage`` as people and programs use it: any .onnx file alone, what is said of it, exit codes, and every bad input."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper

import models
from conftest import ROOT, Workspace
from program import call

TARGETS = sorted(path.stem for path in (ROOT / "recipes" / "targets").glob("*.toml"))
MLP = "recipes/models/digits-mlp.onnx"
LEVELS = {"runs", "built", "accepted", "registered", "listed"}


def asked(workspace: Workspace, model: Path | str, *targets: str) -> subprocess.CompletedProcess[str]:
    """What the program says of a model, in text."""
    return call(workspace, "coverage", str(model), *(word for name in targets for word in ("--target", name)))


def told(workspace: Workspace, model: Path | str, *targets: str) -> tuple[int, dict[str, Any]]:
    """Its exit code, and its JSON by target. Never a traceback."""
    done = call(workspace, "coverage", str(model), *(word for name in targets for word in ("--target", name)), "--json")
    assert "Traceback" not in done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, {line["target"]: line for line in lines if line["kind"] == "coverage"}


def reasons(said: dict[str, Any]) -> str:
    """Why gates failed, and what went wrong."""
    return "; ".join([*(gate["why"] for gate in said["gates"] if gate["outcome"] == "fail"), *said["errors"]])


# --- what is said ------------------------------------------------------------------------------------------------------


def test_a_person_reads_who_takes_what_by_which_evidence_and_what_falls_back(workspace: Workspace) -> None:
    done = asked(workspace, MLP, "raspberry-pi-5")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "digits-mlp for raspberry-pi-5"
    assert lines[1].split() == ["provider", "evidence", "nodes", "MACs", "parts", "asked"]
    cells = {line.split()[0]: line for line in lines[2:4]}
    assert "listed 4" in cells["Xnnpack"]
    assert "runs 3" in cells["CPU"]
    assert "a session of onnxruntime 1.20.1 on CPUExecutionProvider" in cells["CPU"]
    assert "XNNPACK's list of operators" in cells["Xnnpack"]
    assert any(line.split()[:1] == ["Flatten"] and "Xnnpack → CPU" in line for line in lines)
    assert [line.split()[0] for line in lines[-4:] if line] == ["shapes", "coverage", "partitions"]
    assert {line.split()[2] for line in lines[-4:] if line} == {"pass"}
    assert all(line.startswith(("  done ", "  making runtime ")) for line in done.stderr.splitlines()), done.stderr


def test_a_program_reads_one_object_for_each_target(workspace: Workspace) -> None:
    done = call(workspace, "coverage", MLP, "--target", "windows-iot", "--target", "android-arm64", "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (0, "")
    assert next(line["kind"] for line in lines if line["kind"] != "runtime") == "plan"  # runtimes are made first
    assert [line["target"] for line in lines if line["kind"] == "coverage"] == ["windows-iot", "android-arm64"]
    said = lines[-1]
    assert (said["model"], said["errors"]) == ("digits-mlp", [])
    assert [(gate["name"], gate["outcome"]) for gate in said["gates"]] == [
        ("shapes", "pass"),
        ("coverage", "pass"),
        ("partitions", "pass"),
    ]
    assert [one["name"].removesuffix("ExecutionProvider") for one in said["providers"]] == ["Nnapi", "Xnnpack", "CPU"]
    assert sum(one["node_share"] for one in said["providers"]) == pytest.approx(1)
    assert all(set(one["levels"]) <= LEVELS for one in said["providers"])
    assert {"partitions", "switches", "fallbacks", "nowhere"} <= said.keys()


@pytest.mark.slow
def test_without_a_target_it_is_all_of_them_and_each_says_how_it_knows(workspace: Workspace) -> None:
    code, said = told(workspace, MLP)
    assert (code, list(said)) == (0, TARGETS)
    levels = {name: set().union(*(one["levels"] for one in found["providers"])) for name, found in said.items()}
    assert {name for name, seen in levels.items() if seen == {"runs"}} >= {
        "x86-cpu",
        "arm64-cpu",
        "intel-openvino",
        "android-qnn",
        "web",
    }
    assert {name for name, seen in levels.items() if "built" in seen} == set(), "nothing was built"
    assert levels["x86-rtx"] == {"accepted"}
    assert levels["x86-cuda"] == levels["windows-iot"] == {"registered"}
    assert levels["android-arm64"] == levels["jetson-orin"] == {"listed"}


def test_a_recipe_of_the_project_can_be_asked_about_by_name(workspace: Workspace) -> None:
    code, said = told(workspace, "digits-mlp", "x86-cpu")
    assert (code, said["x86-cpu"]["model"]) == (0, "digits-mlp")


def test_a_second_time_nothing_runs(workspace: Workspace) -> None:
    told(workspace, MLP, "x86-cpu")
    done = call(workspace, "coverage", MLP, "--target", "x86-cpu", "--json")
    kinds = [json.loads(line)["kind"] for line in done.stdout.splitlines()]
    assert "start" not in kinds
    assert "recalled" in kinds


# --- gates and exit codes ------------------------------------------------------------------------------------------------


def test_too_small_a_share_is_exit_code_3_and_says_what_to_change(workspace: Workspace) -> None:
    workspace.edit("targets/arm-acl.toml", 'max_size = "64 MB"', "min_coverage = 1.0")
    models.write(models.convnet(), workspace.root / "net.onnx")
    done = asked(workspace, "net.onnx", "arm-acl")
    assert done.returncode == 3
    (line,) = [line for line in done.stdout.splitlines() if line.split()[:1] == ["coverage"]]
    assert " fail " in line
    assert "every node on a provider, ≥ 100% before the last" in line
    assert "Gemm is not ACL's: Gemm of opset 17 (as of 13) is not in ACL's list of kernels" in line
    assert "needs opset 12 or older" in line


def test_too_many_partitions_is_exit_code_3(workspace: Workspace) -> None:
    workspace.edit("targets/arm-acl.toml", 'max_size = "64 MB"', "max_partitions = 2")
    code, said = told(workspace, "digits", "arm-acl")
    outcomes = {gate["name"]: (gate["outcome"], gate["limit"]) for gate in said["arm-acl"]["gates"]}
    assert (code, outcomes["partitions"]) == (3, ("fail", "≤ 2"))
    assert "is not ACL's" in reasons(said["arm-acl"])


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ((MLP, "--target", "android-arm46"), 2, "Did you mean android-arm64?"),
        ((MLP, "--target", "toaster"), 2, "There are: android-arm64"),
        (("recipes/models/digits-mpl.onnx", "--target", "x86-cpu"), 2, "Did you mean digits-mlp.onnx?"),
        (("digit-mlp", "--target", "x86-cpu"), 2, "Did you mean digits-mlp?"),
        (("recipes", "--target", "x86-cpu"), 2, "recipes"),
        ((), 1, "'coverage' did not receive required positional arguments: 'model'"),
        ((MLP, "--target", "x86-cpu", "--jobs", "0"), 1, "--jobs wants a number, 1 or more"),
        ((MLP, "--targt", "x86-cpu"), 1, "No idea what '--targt' is!"),
    ],
)
def test_a_mistake_in_the_command_is_one_message(workspace: Workspace, words: tuple[str, ...], code: int, text: str) -> None:
    done = call(workspace, "coverage", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_a_mistake_in_a_model_is_told_once_for_all_targets(workspace: Workspace) -> None:
    (workspace.root / "bad.onnx").write_bytes(b"no model")
    done = asked(workspace, "bad.onnx", "x86-cpu", "windows-iot", "android-arm64")
    assert done.returncode == 1
    assert done.stderr.count("error: ") == 1
    assert done.stdout.count("not known: see the error") == 3


# --- files that are no models, and models that are odd ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"", 2, "it is empty"),
        (b"hello, I am a letter\n" * 9, 1, "is not an ONNX model"),
        (None, 2, "this is a folder"),
    ],
)
def test_a_file_that_is_no_model(workspace: Workspace, data: bytes | None, code: int, words: str) -> None:
    path = workspace.root / "odd.onnx"
    if data is None:
        path.mkdir()
    else:
        path.write_bytes(data)
    done = asked(workspace, path, "x86-cpu")
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def sparse() -> ModelProto:
    """A MatMul with a sparse weight."""
    model = models.graph("(float[2,4] x) => (float[2,3] y) { y = MatMul(x, w) }")
    weight = model.graph.sparse_initializer.add(dims=[4, 3])
    weight.values.CopyFrom(numpy_helper.from_array(np.array([1, 2], np.float32), "w"))
    weight.indices.CopyFrom(numpy_helper.from_array(np.array([0, 7], np.int64), "i"))
    return model


TWICE = '<domain: "own", opset_import: ["": 17]> Twice (a) => (b) { b = Add(a, a) }'
LOOP = """(float[2] x) => (float[2] y) {
    n = Constant<value_int = 3>()
    c = Constant<value = bool {1}>()
    y = Loop(n, c, x)<body = b(int64 i, bool k, float[2] s) => (bool l, float[2] t) { l = Identity(k) t = Add(s, s) }>
}"""
GROUPS = {"g": np.ones(32, np.float32), "b": np.zeros(32, np.float32)}
GROUP_NORM = """(float[2,4,4,32] x) => (float[2,4,4,32] y) {
    a = Relu(x)
    y = com.microsoft.GroupNorm<epsilon = 0.00001, groups = 8, activation = 0>(a, g, b)
}"""

DEFORMED = "(float[1,1,3,3] x, float[1,8,2,2] o) => (float[1,1,2,2] y) { y = DeformConv<kernel_shape = [2,2]>(x, w, o) }"
MADE: dict[str, Callable[[], ModelProto]] = {
    "unknown domain": lambda: models.graph("(float[2] x) => (float[2] y) { a = Relu(x) y = my.thing.Foo(a) }", my_thing=1),
    "local function": lambda: models.graph("(float[2] x) => (float[2] y) { y = own.Twice(x) }", own=1, functions=TWICE),
    "loop": lambda: models.graph(LOOP),
    "sparse": sparse,
    "bf16 inside": lambda: models.graph(
        "(float[2] x) => (float[2] y) { a = Cast<to = 16>(x) b = Mul(a, a) y = Cast<to = 1>(b) }"
    ),
    "bf16": lambda: models.graph("(bfloat16[2] x) => (bfloat16[2] y) { y = Relu(x) }"),
    "data-dependent": lambda: models.graph("(float[2,4] x) => (int64[r,k] y) { a = Relu(x) b = NonZero(a) y = Transpose(b) }"),
    "nobody's operator": lambda: models.graph(GROUP_NORM, com_microsoft=1, weights=GROUPS),
    "newer": lambda: models.graph("(float[2] x) => (float[2] y) { y = Relu(x) }", opset=22, ir=10),
    "too new": lambda: models.graph(DEFORMED, opset=19, ir=9, weights={"w": np.ones((1, 1, 2, 2), np.float32)}),
    "dynamic": lambda: models.graph("(float[time,4] x) => (float[time,4] y) { y = Relu(x) }"),
}
"""The bad inputs, each with as little else as can be."""

SAID: list[tuple[str, str, int, str]] = [
    ("unknown domain", "x86-cpu", 1, "domain 'my.thing' is not one that ONNX Runtime knows without a custom operator library"),
    ("local function", "x86-cpu", 0, ""),
    ("local function", "x86-rtx", 0, ""),
    ("loop", "x86-cpu", 0, ""),
    ("loop", "windows-iot", 3, "Loop is not Dml's: onnxruntime-directml 1.24.4 has no kernel for Loop"),
    ("loop", "intel-openvino", 3, "Loop"),
    ("sparse", "x86-cpu", 0, ""),
    ("sparse", "x86-rtx", 3, "make its sparse weights dense"),
    ("bf16 inside", "windows-iot", 3, "no provider takes Mul ('a' is bfloat16"),
    ("bf16", "x86-cuda", 1, "no sample can be made for input 'x' of type bfloat16"),
    ("data-dependent", "android-arm64", 0, ""),
    ("data-dependent", "android-qnn", 3, "is known only when the model runs; QNN takes fixed shapes only"),
    ("data-dependent", "x86-rtx", 3, "NonZero is not NvTensorRTRTX's"),
    ("nobody's operator", "x86-cpu", 3, "no provider takes com.microsoft:GroupNorm"),
    ("nobody's operator", "windows-iot", 0, ""),
    ("newer", "x86-cpu", 0, ""),
    ("too new", "x86-cpu", 3, "no provider takes DeformConv"),
    (
        "dynamic",
        "android-qnn",
        3,
        "axis 'time' of 'x' is dynamic; QNN takes fixed shapes only; give time a size in the target's",
    ),
]


@pytest.mark.parametrize(("name", "target", "code", "words"), SAID)
def test_a_bad_input_is_told_in_words(workspace: Workspace, name: str, target: str, code: int, words: str) -> None:
    path = models.write(MADE[name](), workspace.root / "odd.onnx")
    found, said = told(workspace, path, target)
    assert (found, words in reasons(said[target])) == (code, True), reasons(said[target])
    assert code or not reasons(said[target])


def test_every_bad_input_is_asked_about() -> None:
    assert {name for name, *_ in SAID} == MADE.keys()


ODD: dict[str, tuple[int, str]] = {
    "bad_graph_with_duplicate_node_names": (0, ""),
    "bad_graph_with_no_name": (0, ""),
    "capability": (1, "operator 'FAKE!' of domain 'ai.onnx' is unknown"),
    "conv": (0, ""),
    "custom_op_node": (1, "operator 'NegPos' of domain 'ai.onnx.contrib' is unknown"),
    "dim_param": (0, ""),
    "empty": (1, "the model is empty"),
    "ext_weights": (1, "external data file 'ext_weights.data' is missing"),
    "ext_weights_same_dir/ext_weights": (0, ""),
    "identity": (0, ""),
    "loop": (3, "Loop is not Dml's"),
    "matmul.bf16": (1, "no sample can be made for input 'a' of type bfloat16"),
    "nonzero": (3, "NonZero is not Dml's: 'input' is int64"),
    "qdq_conv": (0, ""),
    "scan": (3, "Scan is not Dml's"),
    "unsorted": (0, ""),
    "weightless.conv": (1, "initializer 'b' does not hold its data"),
}
"""For x86-cpu and windows-iot: the exit code, and what is said."""


def test_the_table_speaks_of_every_odd_file(shared_data: Path) -> None:
    odd = shared_data / "odd"
    assert {path.relative_to(odd).with_suffix("").as_posix() for path in odd.rglob("*.onnx")} == ODD.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", ODD)
def test_an_odd_file_is_told_in_words(workspace: Workspace, shared_data: Path, name: str) -> None:
    path = workspace.root / "odd" / f"{Path(name).name}.onnx"
    path.parent.mkdir()
    source = shared_data / "odd" / f"{name}.onnx"
    for file in [source, *source.parent.glob("*.data")]:
        shutil.copy(file, path.parent)
    code, said = told(workspace, path, "x86-cpu", "windows-iot")
    wanted, words = ODD[name]
    assert code == wanted
    assert words in "; ".join(map(reasons, said.values()))
    assert code or not any(map(reasons, said.values()))
    if code != 1:
        nodes = {sum(one["nodes"] for one in found["providers"]) + len(found["nowhere"]) for found in said.values()}
        assert nodes == {sum(node.op_type != "Constant" for node in onnx.load(source, load_external_data=False).graph.node)}


@pytest.mark.slow
def test_a_real_loop_on_every_target(workspace: Workspace, shared_data: Path) -> None:
    code, said = told(workspace, shared_data / "odd" / "loop.onnx")
    assert (code, list(said)) == (3, TARGETS)
    failed = {name for name, found in said.items() if reasons(found)}
    assert failed == {"android-qnn", "intel-openvino", "web", "windows-iot", "x86-rtx"}
    assert all("Loop" in reasons(said[name]) for name in failed)
    assert "does not open because of Loop 'while_loop'" in reasons(said["intel-openvino"])
    assert not any(found["nowhere"] for found in said.values())

"""Builds by each scheme: what ships, with which gates, and what a gate or the recipe keeps back."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import Workspace
from ortolan.artifact import Outcome
from ortolan.build import Built
from ortolan.errors import RecipeError
from ortolan.manifest import Manifest, read
from scheme_models import LENGTH, encoder

pytestmark = pytest.mark.slow

TARGET = """
description = "A board"
platform = "linux/amd64"
[runtime]
versions = ["1.17.3", "1.31.1"]
opset = 17
[session]
enable_mem_pattern = false
[shapes]
batch = 1
[quantize]
policy = "require"
scheme = "{}"
[outputs]
snippets = ["python"]
[gates]
min_agreement = 0.5
{}
"""
MODEL = f"""
[source]
kind = "onnx"
file = "encoder.onnx"
[[input]]
name = "ids"
dtype = "int64"
shape = ["batch", {LENGTH}]
range = [0, 99]
"""


@pytest.fixture
def project(workspace: Workspace) -> Workspace:
    """With an encoder, which has no data."""
    encoder(workspace.root / "recipes" / "models" / "encoder.onnx")
    workspace.add("models/encoder.toml", MODEL)
    return workspace


def built(project: Workspace, scheme: str, model: str = "encoder", gates: str = "") -> Built:
    project.add("targets/board.toml", TARGET.format(scheme, gates))
    (one,) = project.build("board", model)
    return one


def gate(one: Built, name: str) -> Any:
    (found,) = [found for found in one.gates if found.name == name and found.subject not in {"fp32", "shipped"}]
    return found


def manifest(one: Built) -> Manifest:
    assert one.folder is not None, [*one.errors, *(found for found in one.gates if found.outcome is Outcome.FAIL)]
    return read(one.folder / "manifest.json")


@pytest.mark.parametrize(
    ("scheme", "precision", "gates"),
    [
        ("dynamic", "int8-dynamic", "min_speedup = 0.001"),
        ("fp16", "fp16", ""),
        ("weight-only", "int4-weights", ""),
    ],
)
def test_a_model_without_data_ships_by_each_scheme(project: Workspace, scheme: str, precision: str, gates: str) -> None:
    made = manifest(built(project, scheme, gates=gates))
    assert made.precision == precision
    assert made.precision_reason == f"policy require: every {precision} gate that ran passed"
    assert made.golden.min_snr_db is not None
    assert {part.name for part in made.gates if part.subject == precision} >= {
        "quantised", "load@1.17.3", "load@1.31.1", "sane@1.17.3", "agreement", f"{precision}-faster",
    }  # fmt: skip
    (project.root / "build").rename(project.root / "first")
    again = manifest(project.build("board", "encoder")[0])
    assert again == made
    assert not project.ran()


def test_float16_at_the_border_by_choice(project: Workspace) -> None:
    made = manifest(built_with(project, "digits", 'scheme = "fp16"\nfloat_io = false'))
    assert [tensor.dtype for tensor in (*made.signature.inputs, *made.signature.outputs)] == ["float16", "float16"]
    assert made.precision == "fp16"


def built_with(project: Workspace, model: str, lines: str) -> Built:
    """A build for a target whose ``[quantize]`` has these lines."""
    project.add("targets/board.toml", TARGET.format("static", "").replace('scheme = "static"', lines))
    (one,) = project.build("board", model)
    return one


@pytest.mark.parametrize(
    ("scheme", "name", "why"),
    [
        ("dynamic", "quantised", "convolutions stay in float, as ConvInteger is slower"),
        ("weight-only", "quantised", "MatMul and Gemm with constant weights"),
        ("weight-only", "smaller", ""),
    ],
)
def test_a_convolutional_model_is_kept_back_by_its_share(project: Workspace, scheme: str, name: str, why: str) -> None:
    one = built(project, scheme, "digits")
    assert not one.ok
    assert gate(one, name).outcome is Outcome.FAIL
    assert why in gate(one, name).why


def test_dynamic_convolutions_are_kept_back_unless_seen_to_be_faster(project: Workspace) -> None:
    one = built_with(project, "digits", 'scheme = "dynamic"\nconvolutions = true\nweights = "uint8"')
    assert gate(one, "quantised").outcome is Outcome.PASS
    faster, convolutions = gate(one, "int8-dynamic-faster"), gate(one, "convolutions")
    assert convolutions.outcome is faster.outcome
    assert one.ok is (faster.outcome is Outcome.PASS)


def test_an_operator_that_the_oldest_runtime_lacks_is_a_failed_gate(project: Workspace) -> None:
    one = built_with(project, "digits", 'scheme = "dynamic"\nconvolutions = true')  # its weights are int8
    assert not one.ok
    assert "Could not find an implementation for ConvInteger" in gate(one, "load@1.17.3").why
    assert gate(one, "load@1.31.1").outcome is Outcome.PASS


def test_memory_that_half_precision_mixes_up_is_named(project: Workspace) -> None:
    """ONNX Runtime 1.17.3 answers a fixed shape in half precision wrongly from the second run on, with memory patterns."""
    project.add("targets/board.toml", TARGET.format("fp16", ""))
    project.edit("targets/board.toml", "enable_mem_pattern = false", "enable_mem_pattern = true")
    (one,) = project.build("board", "encoder")
    assert not one.ok
    assert "try enable_mem_pattern = false in [session]" in gate(one, "sane@1.17.3").why
    assert gate(one, "sane@1.31.1").outcome is Outcome.PASS


def test_prefer_ships_fp32_with_the_reason(project: Workspace) -> None:
    project.add("targets/board.toml", TARGET.format("weight-only", "").replace('"require"', '"prefer"'))
    made = manifest(project.build("board", "digits")[0])
    assert made.precision == "fp32"
    assert made.precision_reason.startswith("quantised: too little was quantised")


def test_a_models_own_scheme_goes_before_the_targets(project: Workspace) -> None:
    project.add("models/encoder.toml", '[quantize]\nscheme = "fp16"\npolicy = "require"\n')
    (one,) = project.build("arm64-cpu", "encoder")
    assert manifest(one).precision == "fp16"
    assert gate(one, "fp16-faster").outcome is Outcome.NOT_RUN


def test_what_the_target_cannot_do_is_refused_before_anything_runs(project: Workspace) -> None:
    project.add("models/encoder.toml", '[quantize]\nscheme = "weight-only"\nbits = 8\n')
    with pytest.raises(RecipeError, match=r"encoder.toml:12: quantize.bits: for x86-cpu: ONNX Runtime 1.17.3"):
        project.build("x86-cpu", "encoder")
    assert not project.ran()

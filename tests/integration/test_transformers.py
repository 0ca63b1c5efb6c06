"""Transformers from the package of that name: fused, compared, with fixed sequences, in 8 bits; and where fusion fails."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import models
from conftest import ROOT, RunStage, Workspace
from ortolan.artifact import Gate, Outcome
from ortolan.build import Built

pytestmark = pytest.mark.slow
CODE = ROOT / "tests" / "data" / "torch" / "files" / "transformer.py"
_FUSED = '[optimise]\nfusion = "{}"\nheads = 4\nhidden = 32\n'
_SOURCE = '[source]\nfactory = "transformer.py:{}"\nruntime = "transformers"\nexporter = "torchscript"\n'
_MASKED = "".join(
    f'[[input]]\nname = "{name}"\ndtype = "int64"\nshape = ["batch", "sequence"]\nrange = [0, {last}]\n'
    for name, last in (("input_ids", 99), ("attention_mask", 1))
)
_INPUTS = {
    "bert": _MASKED + "[axes]\nsequence = 12\n",
    "vit": '[[input]]\nname = "x"\nshape = ["batch", 3, 32, 32]\n',
    "whisper": '[[input]]\nname = "x"\nshape = ["batch", 16, 50]\n',
}
_DATA = """import numpy as np
def tokens():
    draw = np.random.Generator(np.random.PCG64(0))
    for _ in range(16):
        yield {"input_ids": draw.integers(0, 100, (1, 8)), "attention_mask": np.ones((1, 8), np.int64)}
"""


_EACH = """import numpy as np
def draws(**inputs):
    draw = np.random.Generator(np.random.PCG64(0))
    for _ in range(8):
        yield {name: make(draw) for name, make in inputs.items()}
def bert():
    return draws(input_ids=lambda d: d.integers(0, 100, (1, 12)), attention_mask=lambda d: d.integers(0, 2, (1, 12)))
def vit():
    return draws(x=lambda d: d.random((1, 3, 32, 32), np.float32))
def whisper():
    return draws(x=lambda d: d.random((1, 16, 50), np.float32))
"""
_SCHEMES = {"fp16": "fp16", "dynamic": "int8-dynamic", "static": "int8", "weight-only": "int4-weights"}


def gate(built: Built, name: str, subject: str = "fp32") -> Gate:
    (found,) = [one for one in built.gates if (one.name, one.subject) == (name, subject)]
    return found


def add(workspace: Workspace, family: str, more: str = "") -> None:
    shutil.copy(CODE, workspace.root / "recipes" / "models")
    workspace.add(f"models/{family}.toml", _SOURCE.format(family) + _FUSED.format(family) + more + _INPUTS[family])


def test_each_family_is_fused_and_computes_the_same_on_two_devices(workspace: Workspace) -> None:
    for family in _INPUTS:
        add(workspace, family)
    built = workspace.build(["x86-cpu", "raspberry-pi-5"], *_INPUTS)
    assert [one.ok for one in built] == [True] * 6, [str(error) for one in built for error in one.errors]
    fused = {one.job.model.name: gate(one, "fusion").measured for one in built}
    assert fused["bert"].startswith("3 Attention, 3 BiasGelu, 1 EmbedLayerNormalization, 6 SkipLayerNormalization; ")
    assert fused["vit"].startswith("3 BiasGelu, 3 MultiHeadAttention, 6 SkipLayerNormalization; ")
    assert fused["whisper"].startswith("3 Attention, 3 BiasGelu, 2 Gelu, 6 SkipLayerNormalization; ")
    for one in built:  # the masks have gaps: counted as lengths, they would not pass
        assert all(found.outcome is Outcome.PASS for found in one.gates if found.name.startswith(("parity@", "load@", "fusion")))


@pytest.mark.parametrize(
    ("target", "only", "wanted"),
    [
        ("raspberry-pi-5", ', "1.31.1"', {"bert": "static", "vit": "dynamic", "whisper": "fp16"}),
        ("x86-cpu", '"1.17.3", ', {"bert": "weight-only", "vit": "fp16", "whisper": "weight-only"}),
    ],
)
def test_families_ship_fused_and_in_fewer_bits(workspace: Workspace, target: str, only: str, wanted: dict[str, str]) -> None:
    """Each scheme, with one version of the fleet. What is in ``Attention`` is no matrix product by itself: one keeps 43%."""
    (workspace.root / "recipes" / "models" / "each.py").write_text(_EACH)
    workspace.edit(f"targets/{target}.toml", only, "")
    workspace.edit(f"targets/{target}.toml", "max_size =", "min_quantized_macs = 0.4\nmax_size =")
    for family, scheme in wanted.items():
        data = f'[data]\ncalibration = {{ callable = "each.py:{family}" }}\n' if scheme == "static" else ""
        add(workspace, family, f'[quantize]\npolicy = "require"\nscheme = "{scheme}"\n{data}')
    for one in workspace.build(target, *wanted):
        assert one.ok, (one.gates, one.errors)
        assert one.precision == _SCHEMES[wanted[one.job.model.name]]
        assert gate(one, "fusion").outcome is Outcome.PASS
        assert {gate(one, name, one.precision).outcome for name in ("quantised", "agreement")} == {Outcome.PASS}


def test_a_fixed_sequence_is_quantised_with_attention_left_in_float(workspace: Workspace) -> None:
    (workspace.root / "recipes" / "models" / "tokens.py").write_text(_DATA)
    add(workspace, "bert", '[data]\ncalibration = { callable = "tokens.py:tokens" }\n')
    workspace.edit("targets/x86-cpu.toml", "batch = 1\n", "batch = 1\nsequence = 8\n")
    (built,) = workspace.build("x86-cpu", "bert")
    assert built.ok, [str(error) for error in built.errors]
    assert gate(built, "shapes").measured == "batch = 1, sequence = 8"
    quantised = gate(built, "quantised", "int8")
    assert quantised.outcome is Outcome.PASS
    share = float(quantised.measured.partition(", ")[2].partition("%")[0])
    assert 40 < share < 70, "the projections in front of attention are within Attention, which stays in float"


def test_a_model_with_nothing_to_fuse_fails_and_says_so(workspace: Workspace) -> None:
    file = models.write(models.convnet(), workspace.root / "recipes" / "models" / "net.onnx")
    workspace.add("models/net.toml", f'[source]\nfile = "{file.name}"\n{_FUSED.format("bert")}')
    (built,) = workspace.build("x86-cpu", "net")
    assert not built.ok
    assert gate(built, "fusion").outcome is Outcome.FAIL
    assert 'none of the patterns of fusion = "bert" is in the graph' in gate(built, "fusion").why
    workspace.edit("models/net.toml", "hidden = 32", 'hidden = 32\ntargets = ["arm*"]')
    (built,) = workspace.build("x86-cpu", "net")
    assert built.ok
    assert not [one for one in built.gates if one.name == "fusion"]


def test_an_opset_without_layer_normalisation_is_refused(tmp_path: Path, run_stage: RunStage) -> None:
    file = models.write(models.convnet(opset=13), tmp_path / "net.onnx")
    refused = run_stage("fuse", "tools", {"model": file}, {"family": "bert", "heads": 4, "hidden": 32}).refused
    assert refused
    assert refused["what"] == "fusion needs opset 17, this model has 13"

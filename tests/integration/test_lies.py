"""Lies that a whole build notices; what stages notice stands in their tests, and docs/silent-lies.md lists them all."""

from __future__ import annotations

import pytest

from conftest import Workspace
from ortolan.artifact import Gate, Outcome
from ortolan.build import Built


def gate(built: Built, name: str) -> Gate:
    """What ships, judged by the gate of this name."""
    return next(one for one in built.gates if one.name == name and one.subject == "shipped")


def test_a_device_that_is_not_there_fails_coverage(workspace: Workspace) -> None:
    """ONNX Runtime drops OpenVINO, which it was asked for, and computes the right outputs on the CPU."""
    workspace.edit("targets/intel-openvino.toml", 'device_type = "CPU"', 'device_type = "GPU"')
    (built,) = workspace.build("intel-openvino", "digits-mlp")
    assert not built.ok
    assert gate(built, "parity@1.24.1").outcome is Outcome.PASS
    assert gate(built, "providers@1.24.1").why == "OpenVINOExecutionProvider: is there, and took no node"
    covered = gate(built, "coverage")
    assert covered.outcome is Outcome.FAIL
    assert covered.measured == "CPU 100.0% runs (of MACs)"
    assert "ONNX Runtime dropped the provider: [OpenVINO] Device GPU is not available" in covered.why


@pytest.mark.slow
def test_the_wrong_bundle_fails_the_gate_of_the_browser(workspace: Workspace) -> None:
    """ort.all.min.js runs the INT8 model on WebGPU without an error; its outputs are noise."""
    workspace.edit("targets/web.toml", "[quantize]", '[quantize]\npolicy = "require"')
    workspace.edit("targets/web.toml", "web  = {", 'web  = { bundle = "ort.all.min.js",')
    workspace.edit("targets/web.toml", "min_coverage   = 0.9", "min_coverage   = 0.0")
    workspace.edit("targets/web.toml", "max_partitions = 8", "max_partitions = 80")
    (built,) = workspace.build("web", "digits-mlp")
    assert not built.ok
    assert [one.name for one in built.gates if one.outcome is Outcome.FAIL] == ["web@chromium-webgpu"]
    assert gate(built, "web@chromium-webgpu").measured.startswith("SNR -")
    assert gate(built, "web@chromium-wasm").outcome is Outcome.PASS
    workspace.edit("targets/web.toml", 'bundle = "ort.all.min.js",', "")
    (right,) = workspace.build("web", "digits-mlp")
    assert (right.ok, right.precision) == (True, "int8")

"""Lies that a whole build notices; what stages notice stands in their tests, and docs/silent-lies.md lists them all."""

from __future__ import annotations

import json

from conftest import Workspace
from ortolan.artifact import Gate, Outcome
from ortolan.build import Built


def gate(built: Built, name: str) -> Gate:
    """What ships, judged by the gate of this name."""
    return next(one for one in built.gates if one.name == name and one.subject == "shipped")


def test_a_device_that_is_not_there_proves_nothing(workspace: Workspace) -> None:
    """ONNX Runtime drops OpenVINO, which it was asked for, and computes the right outputs on the CPU."""
    workspace.edit("targets/intel-openvino.toml", 'device_type = "CPU"', 'device_type = "GPU"')
    (built,) = workspace.build("intel-openvino", "digits-mlp")
    assert built.folder
    assert gate(built, "load@1.24.1").outcome is Outcome.PASS
    assert gate(built, "providers@1.24.1").why == "OpenVINOExecutionProvider: is there, and took no node"
    for name in ("coverage", "partitions"):
        judged = gate(built, name)
        assert judged.outcome is Outcome.NOT_RUN
        assert judged.why == "OpenVINO could not be asked here: [OpenVINO] Device GPU is not available"
    covered = json.loads((built.folder / "coverage.json").read_text())
    assert covered["providers"][0]["levels"] == {}, "nothing is claimed for it"

"""Whole results that are compared with what is kept in tests/golden (``--update`` writes it anew)."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from conftest import ROOT, Workspace
from ortolan import manifest
from ortolan.manifest import Manifest
from ortolan.platforms import host_platform
from ortolan.report.tables import table

GOLDEN = ROOT / "tests" / "golden"


@pytest.mark.skipif(host_platform() != "linux/amd64", reason="the golden gates were seen on linux/amd64")
def test_the_gates_of_a_build(workspace: Workspace, request: pytest.FixtureRequest) -> None:
    """Names, subjects, outcomes, limits: what a gate measures may differ by processor."""
    made = built(workspace, "raspberry-pi-5", "digits-mlp")
    rows = [(gate.name, gate.subject, str(gate.outcome), gate.limit) for gate in made.gates]
    found = "\n".join(table(("gate", "of", "outcome", "limit"), rows)) + "\n"
    same(GOLDEN / "digits-mlp.raspberry-pi-5.gates.txt", found, request)


@pytest.mark.parametrize("target", ["raspberry-pi-5", "x86-cpu"])
def test_a_built_manifest_fits_the_published_schema(workspace: Workspace, target: str) -> None:
    made = built(workspace, target, "digits-mlp")
    schema = json.loads((ROOT / "docs" / "manifest.schema.json").read_text())
    document = json.loads(made.to_bytes())
    jsonschema.Draft202012Validator(schema).validate(document)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(document | {"gates": [{"name": "x"}]})


def built(workspace: Workspace, target: str, model: str) -> Manifest:
    """The manifest of a build."""
    (one,) = workspace.build(target, model)
    assert one.folder, [str(error) for error in one.errors]
    return manifest.read(one.folder / manifest.NAME)


def same(path: Path, found: str, request: pytest.FixtureRequest) -> None:
    """Compare with a golden file, or write it."""
    if request.config.getoption("--update"):
        path.write_text(found)
    assert path.is_file(), f"there is no {path.name}: run pytest {request.node.nodeid} --update"
    assert found == path.read_text(), f"if this is what you meant: pytest {request.node.nodeid} --update"


def test_the_record_of_a_build_is_for_other_programs(workspace: Workspace) -> None:
    (one,) = workspace.build("x86-cpu", "digits-mlp")
    record = json.loads((workspace.root / "build" / "x86-cpu" / "digits-mlp.json").read_text())
    assert (record["ok"], record["tag"], record["precision"]) == (True, one.tag, one.precision)
    assert {gate["name"]: gate["varies"] for gate in record["gates"]} == {gate.name: gate.varies for gate in one.gates}
    assert all(gate["outcome"] in {"pass", "fail", "not-run"} for gate in record["gates"])

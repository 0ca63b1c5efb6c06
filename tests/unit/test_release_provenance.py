"""The provenance: valid by in-toto's own definitions, the same for equal builds, and each digest of what it says it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement

from builds import FILES, built
from conftest import ROOT
from ortolan.digest import of_bytes
from ortolan.manifest import ModelPart, RuntimePart, StepPart
from ortolan.release.bundle import Bundled, Options, bundle
from ortolan.release.layout import PROVENANCE, TAR, ZST
from ortolan.release.provenance import BUILD_TYPE, BUILDER
from ortolan.release.source import source
from ortolan.revision import Revision

COMMIT = "c" * 40
CHANGES: dict[str, Any] = {
    "model": ModelPart(
        name="net", recipe="recipe:" + "2" * 64, hash="sha256:" + "3" * 64, licence="MIT", source="onnx",
        files={"source": {"net.onnx": "sha256:" + "4" * 64}, "evaluation": {"a.npz": "sha256:" + "5" * 64}},
    ),
    "runtimes": [
        RuntimePart(name="tools", python="3.11.7", platform="linux/x86_64", lock="sha256:" + "7" * 64, packages={"numpy": "2"}),
        RuntimePart(name="web", python="3.11.7", platform="linux/x86_64", lock="tree:" + "8" * 64, packages={"npm:a": "1"}),
    ],
    "steps": [
        StepPart(
            label="net: normalise", stage="normalise", source="tree:" + "9" * 64, runtime="tools", cpu=[], key="key:" + "a" * 64,
            params={"opset": 17, "range": [0.0, 1.0], "none": None}, inputs={"model": "sha256:" + "4" * 64},
            outputs={"model.onnx": "sha256:" + "b" * 64, "golden.bin": of_bytes(FILES["golden.bin"])},
        )
    ],
}  # fmt: skip


def released(root: Path, revision: str = COMMIT) -> Bundled:
    return bundle(source(built(root, **CHANGES), date(2026, 1, 1)), Options(root / "dist", Revision(revision, 1_700_000_000)))


def statement(root: Path, revision: str = COMMIT) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((released(root, revision).folder / PROVENANCE).read_bytes())
    return value


def validate(value: dict[str, Any]) -> None:
    """By the definitions of in-toto: of the statement, and of its predicate."""
    Statement.copy_from_pb(json_format.Parse(json.dumps(value), statement_pb2.Statement())).validate()
    json_format.Parse(json.dumps(value["predicate"]), provenance_pb2.Provenance())


def test_statement_and_predicate_are_valid_by_their_definitions(tmp_path: Path) -> None:
    value = statement(tmp_path)
    validate(value)
    assert value["_type"] == "https://in-toto.io/Statement/v1"
    assert value["predicateType"] == "https://slsa.dev/provenance/v1"


BREAKS: dict[str, Callable[[dict[str, Any]], object]] = {
    "another type": lambda d: d.update(_type="https://in-toto.io/Statement/v0.1"),
    "no subject": lambda d: d.update(subject=[]),
    "a subject without a digest": lambda d: d["subject"][0].pop("digest"),
    "no predicate type": lambda d: d.pop("predicateType"),
    "a key that is none": lambda d: d["predicate"].update(builder={}),
    "a key of nobody's in the details": lambda d: d["predicate"]["runDetails"].update(steps=[]),
    "a digest that is no text": lambda d: d["predicate"]["buildDefinition"]["resolvedDependencies"][0].update(
        digest={"sha256": 1}
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_the_definitions_refuse_a_broken_statement(tmp_path: Path, name: str) -> None:
    value = statement(tmp_path)
    BREAKS[name](value)
    with pytest.raises((ValueError, json_format.ParseError)):
        validate(value)


def test_equal_builds_of_one_commit_have_equal_statements_and_no_time(tmp_path: Path) -> None:
    one = statement(tmp_path / "a")
    assert one == statement(tmp_path / "b")
    assert "metadata" not in one["predicate"]["runDetails"]


def test_its_subjects_are_both_archives_and_every_file(tmp_path: Path) -> None:
    release = released(tmp_path).release
    found = {one["name"]: f"sha256:{one['digest']['sha256']}" for one in statement(tmp_path)["subject"]}
    files = {path: part.digest for path, part in release.files.items()}
    assert found == {TAR: release.tar.digest, ZST: release.zst.digest, **files}


def test_it_says_what_was_asked_for_and_what_was_done(tmp_path: Path) -> None:
    definition = statement(tmp_path)["predicate"]["buildDefinition"]
    assert definition["buildType"] == BUILD_TYPE
    assert definition["externalParameters"] == {
        "target": "device", "model": "net", "recipes": {"target": "recipe:0", "model": "recipe:" + "2" * 64},
    }  # fmt: skip
    (step,) = definition["internalParameters"]["steps"]
    assert (step["key"], step["params"]["opset"], step["runtime"]) == ("key:" + "a" * 64, 17, "tools")
    assert definition["internalParameters"]["licence"] == "MIT"


def test_only_what_is_a_sha256_of_bytes_is_called_one(tmp_path: Path) -> None:
    needed = {one["name"]: one for one in statement(tmp_path)["predicate"]["buildDefinition"]["resolvedDependencies"]}
    assert needed["project"]["digest"] == {"gitCommit": COMMIT}
    assert needed["source/net.onnx"]["digest"] == {"sha256": "4" * 64}
    assert needed["evaluation/a.npz"]["annotations"] == {"role": "evaluation"}
    assert needed["runtimes/tools"]["digest"] == {"sha256": "7" * 64}
    assert "digest" not in needed["runtimes/web"]
    assert needed["runtimes/web"]["uri"] == "urn:ortolan:tree:" + "8" * 64
    assert needed["recipes/models/net"]["uri"] == "urn:ortolan:recipe:" + "2" * 64


def test_what_was_made_on_the_way_stands_apart_from_what_ships(tmp_path: Path) -> None:
    details = statement(tmp_path)["predicate"]["runDetails"]
    assert details["builder"]["id"] == BUILDER
    assert [one["name"] for one in details["byproducts"]] == ["net: normalise: model.onnx"]


@pytest.mark.parametrize(
    ("revision", "stated"),
    [
        (COMMIT, [{"name": "project", "digest": {"gitCommit": COMMIT}}]),
        (f"{COMMIT}-dirty", [{"name": "project", "digest": {"gitCommit": COMMIT}, "annotations": {"dirty": True}}]),
        ("d" * 64, [{"name": "project", "digest": {"gitCommit": "d" * 64}}]),
        ("unknown", []),
    ],
)
def test_the_commit_is_named_where_there_is_one(tmp_path: Path, revision: str, stated: list[dict[str, Any]]) -> None:
    needed = statement(tmp_path, revision)["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert [one for one in needed if one["name"] == "project"] == stated


def test_the_types_that_it_names_are_explained() -> None:
    text = (ROOT / "docs" / "provenance.md").read_text()
    assert f"`{BUILD_TYPE}`" in text
    assert f"`{BUILDER}`" in text

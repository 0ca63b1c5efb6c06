"""Manifests: what is written can be read, and their JSON Schema, like those of the recipes, is published and current."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, TypeVar, cast

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from ortolan import manifest
from ortolan.artifact import Gate, Outcome
from ortolan.errors import OrtolanError
from ortolan.manifest import Manifest, find, gate_part, read
from ortolan.report.manifest import told
from ortolan.verbs.lists import schema

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
KINDS = ("target", "model", "fleet", "manifest")
STALE = "docs/*.schema.json is stale: run pytest tests/unit/test_manifest.py --update"

TEXT = st.text(max_size=20)
P = TypeVar("P", bound=BaseModel)


def parts(kind: type[P], **given: st.SearchStrategy[Any]) -> st.SearchStrategy[P]:
    """A part of a manifest with any contents."""
    fields = {
        name: st.from_type(cast("type[Any]", field.annotation)) for name, field in kind.model_fields.items() if field.annotation
    }
    return st.fixed_dictionaries(fields | given).map(kind.model_validate)


PARAMS = st.dictionaries(TEXT, st.none() | TEXT | st.integers() | st.lists(TEXT, max_size=2), max_size=2)
MANIFESTS = parts(
    Manifest,
    model=parts(manifest.ModelPart),
    target=parts(manifest.TargetPart),
    signature=parts(
        manifest.SignaturePart,
        session_options=PARAMS,
        sharing=PARAMS,
        inputs=st.lists(parts(manifest.TensorPart), max_size=2),
        outputs=st.lists(parts(manifest.TensorPart), max_size=2),
        providers=st.lists(parts(manifest.ProviderPart), max_size=2),
    ),
    golden=parts(
        manifest.GoldenPart,
        rtol=st.floats(0, 1),
        atol=st.floats(0, 1),
        min_snr_db=st.none() | st.floats(0, 99),
        samples=st.lists(st.dictionaries(TEXT, st.dictionaries(TEXT, PARAMS, max_size=2), max_size=2), max_size=2),
    ),
    packages=st.lists(parts(manifest.PackagePart), max_size=2),
    artifacts=st.lists(parts(manifest.ArtifactPart), max_size=2),
    preflight=parts(
        manifest.PreflightPart,
        providers=st.lists(parts(manifest.NeededProvider), max_size=2),
        engines=st.lists(parts(manifest.EnginePart), max_size=2),
    ),
    gates=st.lists(parts(manifest.GatePart), max_size=2),
    waivers=st.lists(parts(manifest.WaiverPart), max_size=2),
    steps=st.lists(parts(manifest.StepPart, params=PARAMS), max_size=2),
    runtimes=st.lists(parts(manifest.RuntimePart), max_size=2),
)
ONE = Manifest(
    manifest_version=1, tag="net-0123456789ab-opset17-ort1.20.1", precision="int8", precision_reason="policy prefer",
    model=manifest.ModelPart(
        name="net", recipe="recipe:0", hash="sha256:0123456789abcdef", licence="MIT", source="onnx", files={}
    ),
    target=manifest.TargetPart(
        name="board", recipe="recipe:1", platform="linux/arm64", package="onnxruntime", versions=["1.20.1"], opset=17,
        providers=["CPU"],
    ),
    signature=manifest.SignaturePart(
        inputs=[manifest.TensorPart(name="x", dtype="float32", shape=["batch", 3])], outputs=[], session_options={},
        config_entries={}, providers=[], sharing={"sessions": 1, "concurrent_run": True},
    ),
    golden=manifest.GoldenPart(runtime="1.20.1", rtol=1e-3, atol=1e-5, min_snr_db=30.0, samples=[]),
    artifacts=[manifest.ArtifactPart(name="model.onnx", digest="sha256:aa", size=31_376, media_type="x")],
    preflight=manifest.PreflightPart(
        platform="linux/arm64", package="onnxruntime", oldest="1.20.1", api=20, opset=17, providers=[], engines=[], size=31_376
    ),
    gates=[gate_part(Gate("size", "shipped", Outcome.PASS, "31,376 B", "≤ 1,000,000 B"))], steps=[],
    runtimes=[manifest.RuntimePart(name="tools", python="3.11.2", platform="linux", lock="sha256:bb", packages={})],
)  # fmt: skip


# --- the published schemas -----------------------------------------------------------------------------------------


def test_the_schemas_in_the_documents_are_current(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """They are what ``./inv schema --out docs`` writes."""
    schema(tmp_path)
    if request.config.getoption("--update"):
        schema(DOCS)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{kind}.schema.json" for kind in KINDS)
    for path in tmp_path.iterdir():
        assert (DOCS / path.name).is_file(), STALE
        assert (DOCS / path.name).read_text() == path.read_text(), STALE


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_is_one_and_knows_no_other_keys(kind: str) -> None:
    found = published(kind)
    jsonschema.Draft202012Validator.check_schema(found)
    assert found["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert found["additionalProperties"] is False
    assert all(part["additionalProperties"] is False for part in found["$defs"].values() if "properties" in part)


@pytest.mark.parametrize("kind", ["target", "model"])
def test_another_tool_accepts_the_recipes_and_refuses_a_slip(kind: str, tmp_path: Path) -> None:
    recipes = sorted((ROOT / "recipes" / f"{kind}s").glob("*.toml"))
    assert checked(kind, *recipes).returncode == 0
    slip = tmp_path / "slip.toml"
    slip.write_text(recipes[0].read_text().replace("description", "descripton"))
    refused = checked(kind, slip)
    assert refused.returncode == 1
    assert "descripton" in refused.stdout


def checked(kind: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    """check-jsonschema with a published schema."""
    command = [sys.executable, "-m", "check_jsonschema", "--schemafile", str(DOCS / f"{kind}.schema.json"), *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def published(kind: str) -> dict[str, Any]:
    """A schema as people get it."""
    found: dict[str, Any] = json.loads((DOCS / f"{kind}.schema.json").read_text())
    return found


# --- reading and writing -------------------------------------------------------------------------------------------


@given(made=MANIFESTS)
@settings(max_examples=30, deadline=None)
def test_what_is_written_is_read_and_fits_the_schema(made: Manifest, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "some-manifest.json"
    path.write_bytes(made.to_bytes())
    assert read(path) == made
    assert read(path).to_bytes() == made.to_bytes()
    jsonschema.validate(json.loads(path.read_text()), published("manifest"))


def test_equal_manifests_have_equal_bytes() -> None:
    turned = json.loads(json.dumps(dict(reversed(json.loads(ONE.to_bytes()).items()))))
    assert Manifest.model_validate(turned).to_bytes() == ONE.to_bytes()
    assert ONE.to_bytes().endswith(b"\n}\n")


@pytest.mark.parametrize("change", [{"manifest_version": 2}, {"colour": "red"}, {"precision": "int4"}, {"gates": None}, None])
def test_what_is_not_a_manifest_is_one_clear_error(tmp_path: Path, change: dict[str, object] | None) -> None:
    path = tmp_path / "manifest.json"
    path.write_text("not JSON" if change is None else json.dumps(json.loads(ONE.to_bytes()) | change))
    with pytest.raises(OrtolanError, match="not a manifest") as caught:
        read(path)
    assert caught.value.where == str(path)
    assert caught.value.hint


def test_a_missing_manifest_is_the_same_error(tmp_path: Path) -> None:
    with pytest.raises(OrtolanError, match="not a manifest"):
        read(tmp_path / "manifest.json")


@given(measured=TEXT, why=TEXT)
def test_what_varies_is_left_out(measured: str, why: str) -> None:
    kept = gate_part(Gate("int8-faster", "int8", Outcome.FAIL, measured, "≥ 1.1×", why, varies=True))
    assert (kept.outcome, kept.measured, kept.limit, kept.why) == (Outcome.FAIL, "", "≥ 1.1×", "")
    kept = gate_part(Gate("size", "int8", Outcome.FAIL, measured, "", why))
    assert (kept.measured, kept.why) == (measured, why)


# --- finding and showing -------------------------------------------------------------------------------------------


def put(output: Path, target: str, tag: str) -> Path:
    """A manifest in a build folder."""
    path = output / target / tag / manifest.NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(ONE.to_bytes())
    return path


def test_a_tag_is_found_in_every_target_that_has_it(tmp_path: Path) -> None:
    both = [put(tmp_path, target, ONE.tag) for target in ("a", "b")]
    put(tmp_path, "a", "other-0123456789ab-opset17-ort1.20.1")
    assert find(tmp_path, ONE.tag) == both


def test_a_slip_in_a_tag_names_the_nearest(tmp_path: Path) -> None:
    put(tmp_path, "a", ONE.tag)
    with pytest.raises(OrtolanError) as caught:
        find(tmp_path, ONE.tag.replace("opset17", "opset18"))
    assert caught.value.hint == f"./inv show {ONE.tag}"
    assert ONE.tag in caught.value.why


def test_nothing_built_is_said(tmp_path: Path) -> None:
    with pytest.raises(OrtolanError) as caught:
        find(tmp_path / "build", "net")
    assert (caught.value.why, caught.value.hint) == ("nothing is built yet", "")


@pytest.mark.parametrize("glob", ["*", "net-*", "../a/x", ""])
def test_a_tag_is_a_name_and_not_a_pattern(tmp_path: Path, glob: str) -> None:
    put(tmp_path, "a", ONE.tag)
    with pytest.raises(OrtolanError, match="no build has the tag"):
        find(tmp_path, glob)


def test_a_manifest_in_words_holds_what_one_looks_for() -> None:
    said = "\n".join(told(ONE, []))
    for words in (ONE.tag, "for board", "hash 0123456789ab, MIT", "opset 17", "int8: policy prefer", "31.38 kB", "≤ 1,000,000 B"):
        assert words in said
    assert "DAMAGED" not in said


def test_a_damaged_artifact_is_marked() -> None:
    assert "aa  DAMAGED: build again" in "\n".join(told(ONE, ["model.onnx"]))

"""The artifact follows the CNCF ModelPack specification (docs/spec.md, annotations.md, config.md), and is the same each time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import builds
import outgoing as made
from ortolan.digest import of_bytes
from ortolan.release.publish.artifact import Artifact, artifact
from ortolan.release.publish.modelpack import _kind
from ortolan.release.publish.outgoing import Outgoing, outgoing

TEXT = {"type": "string"}
CONFIG = {
    "type": "object",
    "additionalProperties": False,
    "required": ["descriptor", "config", "modelfs"],
    "properties": {
        "descriptor": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                **dict.fromkeys(("name", "version", "title", "revision"), TEXT),
                "licenses": {"type": "array", "items": TEXT},
            },
        },
        "config": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"format": {"const": "onnx"}, "precision": {"enum": ["float32", "int8"]}},
        },
        "modelfs": {
            "type": "object",
            "additionalProperties": False,
            "required": ["type", "diffIds"],
            "properties": {"type": {"const": "layers"}, "diffIds": {"type": "array", "items": TEXT, "minItems": 1}},
        },
    },
}
"""Of docs/config.md, what a release uses; nothing else may be there."""


@pytest.fixture
def released(tmp_path: Path) -> Outgoing:
    return outgoing(made.release(tmp_path))


def config_of(found: Artifact) -> tuple[dict[str, Any], bytes]:
    manifest = json.loads(found.data)
    piece = next(one for one in found.pieces if one.digest == manifest["config"]["digest"])
    assert isinstance(piece.source, bytes)
    return manifest, piece.source


def test_the_manifest_has_the_types_of_the_specification(released: Outgoing) -> None:
    manifest, config = config_of(artifact(released))
    assert manifest["schemaVersion"] == 2
    assert manifest["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert manifest["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    assert manifest["config"] == {
        "mediaType": "application/vnd.cncf.model.config.v1+json", "digest": of_bytes(config), "size": len(config),
    }  # fmt: skip


def test_the_configuration_is_one_of_the_specification(released: Outgoing) -> None:
    manifest, config = config_of(artifact(released))
    value = json.loads(config)
    jsonschema.validate(value, CONFIG)
    assert value["modelfs"]["diffIds"] == [layer["digest"] for layer in manifest["layers"]]
    assert value["descriptor"]["name"] == made.MODEL
    assert value["descriptor"]["licenses"] == ["Apache-2.0"]


def test_each_file_is_a_raw_layer_with_its_path_and_metadata(released: Outgoing) -> None:
    layers = json.loads(artifact(released).data)["layers"]
    paths = [layer["annotations"]["org.cncf.model.filepath"] for layer in layers]
    assert paths == [*sorted([*builds.FILES, "manifest.json"]), "release.json", "SHA256SUMS"]
    for layer, path in zip(layers, paths, strict=True):
        assert layer["mediaType"].startswith("application/vnd.cncf.model.")
        assert layer["mediaType"].endswith(".v1.raw")
        metadata = json.loads(layer["annotations"]["org.cncf.model.file.metadata+json"])
        assert set(metadata) == {"name", "mode", "uid", "gid", "size", "mtime", "typeflag"}
        assert (metadata["name"], metadata["size"], metadata["typeflag"]) == (Path(path).name, layer["size"], 48)
        assert layer["annotations"]["org.cncf.model.file.mediatype.untested"] in {"true", "false"}
        assert layer["annotations"]["org.opencontainers.image.title"] == path
    modes = {json.loads(layer["annotations"]["org.cncf.model.file.metadata+json"])["mode"] for layer in layers}
    assert modes == {0o644, 0o755}


@pytest.mark.parametrize(
    ("path", "media", "kind"),
    [
        ("model.onnx", "application/vnd.onnx.model", ("weight", False)),
        ("model.engine", "application/octet-stream", ("weight", True)),
        ("session.json", "application/json", ("weight.config", False)),
        ("required_operators.config", "application/octet-stream", ("weight.config", False)),
        ("manifest.json", "", ("weight.config", False)),
        ("golden-inputs.npz", "application/zip", ("dataset", False)),
        ("golden.bin", "application/octet-stream", ("dataset", False)),
        ("c/golden.c", "", ("code", False)),
        ("python/model.py", "", ("code", False)),
        ("python/README.md", "", ("doc", False)),
        ("release.json", "", ("doc", False)),
        ("coverage.json", "application/json", ("doc", False)),
    ],
)
def test_files_are_weights_their_configuration_documents_code_or_data(path: str, media: str, kind: tuple[str, bool]) -> None:
    assert _kind(path, media) == kind


def test_the_same_release_is_the_same_artifact_wherever_it_lies(tmp_path: Path) -> None:
    first, second = (artifact(outgoing(made.release(tmp_path / name))) for name in ("a", "b"))
    assert first.data == second.data
    other = artifact(outgoing(made.release(tmp_path / "c", sequence=11)))
    assert other.digest != first.digest


def test_signatures_and_bills_of_materials_refer_to_the_manifest(released: Outgoing) -> None:
    found = artifact(released)
    kinds = {one.artifact_type for one in found.referrers}
    assert kinds == {"application/vnd.ortolan.ssh-signature.v1", "application/vnd.cyclonedx+json", "application/vnd.in-toto+json"}
    for one in found.referrers:
        assert json.loads(one.to_bytes())["subject"] == {
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": found.digest, "size": len(found.data),
        }  # fmt: skip


def test_files_with_the_same_bytes_are_one_blob(tmp_path: Path) -> None:
    found = artifact(outgoing(made.release(tmp_path, {**builds.FILES, "copy.onnx": builds.FILES["model.onnx"]})))
    assert len({one.digest for one in found.pieces}) == len(found.pieces)
    assert sum(layer["digest"] == of_bytes(builds.FILES["model.onnx"]) for layer in json.loads(found.data)["layers"]) == 2

"""The bill of materials: valid by CycloneDX's own schema, the same for equal builds, and without a claim that nobody made."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from builds import FILES, built, described
from manifests import tensor
from ortolan.artifact import Outcome
from ortolan.manifest import GatePart, Manifest, ModelPart, RuntimePart
from ortolan.release.bundle import Options, bundle
from ortolan.release.layout import SBOM, Release
from ortolan.release.licences import licences
from ortolan.release.purl import locked, on_device
from ortolan.release.sbom import sbom
from ortolan.release.source import source
from ortolan.revision import Revision

MODEL = ModelPart(
    name="net", recipe="recipe:" + "2" * 64, hash="sha256:" + "3" * 64, licence="Apache-2.0", source="pytorch",
    files={
        "calibration": {"images/1.png": "sha256:" + "4" * 64, "images/2.png": "sha256:" + "5" * 64},
        "weights": {"net.safetensors": "sha256:" + "6" * 64},
    },
)  # fmt: skip
RUNTIMES = [
    RuntimePart(name=name, python="3.11.7", platform="linux/x86_64", lock="sha256:" + "7" * 64, packages=packages)
    for name, packages in {
        "tools": {"numpy": "2.4.6", "onnx": "1.23.2"},
        "web": {"numpy": "2.4.6", "npm:onnxruntime-web": "1.30.0", "npm:@types/a/node_modules/long": "5.2.3"},
    }.items()
]


def gate(name: str, outcome: Outcome, subject: str, measured: str = "", why: str = "") -> GatePart:
    return GatePart(name=name, subject=subject, outcome=outcome, measured=measured, limit="", why=why)


GATES = [
    gate("accuracy", Outcome.PASS, "int8", "top1 0.9889 → 0.9880"),
    gate("agreement@vnni", Outcome.PASS, "int8", "99.0% of 450 samples"),
    gate("parity@1.17.3", Outcome.WAIVED, "shipped", "2", "waived by me@example.com until 2027-01-31: seen by eye"),
    gate("on-device", Outcome.NOT_RUN, "shipped", "", "seen on linux/amd64"),
    gate("load@1.17.3", Outcome.PASS, "fp32", "runs"),
]
CHANGES: dict[str, Any] = {"model": MODEL, "runtimes": RUNTIMES, "gates": GATES, "precision": "int8"}


def release(root: Path, **changes: Any) -> tuple[Manifest, Release, Path]:
    changes = {key: value for key, value in changes.items() if key != "gates"}
    one = bundle(source(built(root, **changes), date(2026, 1, 1)), Options(root / "dist", Revision("0" * 40, 1)))
    return described(FILES, **changes), one.release, one.folder


def document(root: Path, **changes: Any) -> dict[str, Any]:
    made, one, _ = release(root, **changes)
    value: dict[str, Any] = json.loads(sbom(made.model_copy(update=changes), one))
    return value


def problem(value: Any) -> object:
    return JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(value))


@pytest.mark.parametrize("changes", [{}, CHANGES, {**CHANGES, "model": MODEL.model_copy(update={"licence": "MIT OR Zlib"})}])
def test_it_is_valid_by_the_published_schema(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert problem(document(tmp_path, **changes)) is None


def test_the_release_folder_has_it(tmp_path: Path) -> None:
    made, one, folder = release(tmp_path, model=MODEL)
    assert (folder / SBOM).read_bytes() == sbom(made, one)


BREAKS: dict[str, Callable[[dict[str, Any]], object]] = {
    "a name that is missing": lambda d: d["metadata"]["component"].pop("name"),
    "a key of nobody's": lambda d: d["metadata"]["component"]["modelCard"].update(ortolan="1"),
    "a hash that is none": lambda d: d["metadata"]["component"]["hashes"][0].update(alg="tree"),
    "a digest that is none": lambda d: d["metadata"]["component"]["hashes"][0].update(content="sha256:00"),
    "a licence that SPDX lacks": lambda d: d["metadata"]["component"]["licenses"][0]["license"].update(id="Apache-3.0"),
    "a type that is none": lambda d: d["components"][0].update(type="neural-network"),
    "the same component twice": lambda d: d["components"].append(d["components"][0]),
}


@pytest.mark.parametrize("name", BREAKS)
def test_the_schema_refuses_a_broken_document(tmp_path: Path, name: str) -> None:
    value = document(tmp_path, **CHANGES)
    BREAKS[name](value)
    assert problem(value) is not None


def test_equal_builds_have_equal_documents_and_no_time(tmp_path: Path) -> None:
    one, other = document(tmp_path / "a", **CHANGES), document(tmp_path / "b", **CHANGES)
    assert one == other
    assert "timestamp" not in json.dumps(one)
    changed = document(tmp_path / "c", **{**CHANGES, "model": MODEL.model_copy(update={"licence": "MIT"})})
    assert changed["serialNumber"] != one["serialNumber"]


def test_the_model_is_described_by_what_the_manifest_knows(tmp_path: Path) -> None:
    inputs = [tensor("image", shape=("batch", 3, None)), tensor("any", "int64", None)]
    signature = described(FILES).signature.model_copy(update={"inputs": inputs})
    made, one, _ = release(tmp_path, **CHANGES)
    model = json.loads(sbom(made.model_copy(update={**CHANGES, "signature": signature}), one))["metadata"]["component"]
    assert (model["type"], model["name"], model["version"]) == ("machine-learning-model", "net", made.tag)
    assert model["hashes"] == [{"alg": "SHA-256", "content": one.tar.digest.removeprefix("sha256:")}]
    assert model["pedigree"]["ancestors"][0]["hashes"] == [{"alg": "SHA-256", "content": "3" * 64}]
    assert model["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    card = model["modelCard"]
    assert card["modelParameters"] == {
        "inputs": [{"format": "image: float32 [batch, 3, ?]"}, {"format": "any: int64 of any shape"}],
        "outputs": [{"format": "y: float32 [1, 2]"}],
        "datasets": [{"ref": "data:calibration"}],
    }
    metrics = card["quantitativeAnalysis"]["performanceMetrics"]
    assert [(one["type"], one["value"]) for one in metrics] == [
        ("accuracy", "top1 0.9889 → 0.9880"), ("agreement@vnni", "99.0% of 450 samples"),
    ]  # fmt: skip
    assert card["considerations"]["technicalLimitations"] == [
        "parity@1.17.3 of shipped was waived: waived by me@example.com until 2027-01-31: seen by eye",
        "on-device of shipped was not run: seen on linux/amd64",
    ]


def test_what_does_not_ship_or_is_not_known_is_left_out(tmp_path: Path) -> None:
    value = document(tmp_path, gates=GATES[:2], precision="fp32", model=MODEL.model_copy(update={"licence": "", "files": {}}))
    model = value["metadata"]["component"]
    assert "licenses" not in model
    assert set(model["modelCard"]) == {"modelParameters"}
    assert set(model["modelCard"]["modelParameters"]) == {"inputs", "outputs"}
    assert not [part for part in value["components"] if part["type"] == "data"]


def test_files_data_and_packages_stand_with_their_digests_and_urls(tmp_path: Path) -> None:
    value = document(tmp_path, **CHANGES)
    parts = {part["bom-ref"]: part for part in value["components"]}
    assert {ref for ref in parts if ref.startswith("file:")} == {f"file:{path}" for path in (*FILES, "manifest.json")}
    assert [one["hashes"][0]["content"][0] for one in parts["data:calibration"]["components"]] == ["4", "5"]
    packages = {ref for ref in parts if ref.startswith("pkg:")}
    assert packages == {"pkg:pypi/numpy@2.4.6", "pkg:pypi/onnx@1.23.2", "pkg:npm/onnxruntime-web@1.30.0", "pkg:npm/long@5.2.3"}
    scopes = {ref: part.get("scope") for ref, part in parts.items()}
    assert scopes["device:pkg:pypi/onnxruntime@1.17.3"] == "required"
    assert {scopes[ref] for ref in (*packages, "runtime:tools", "runtime:web")} == {"excluded"}


def test_the_graph_names_only_what_there_is(tmp_path: Path) -> None:
    value = document(tmp_path, **CHANGES)
    refs = {part["bom-ref"] for part in [*value["components"], value["metadata"]["component"]]}
    graph = {one["ref"]: one["dependsOn"] for one in value["dependencies"]}
    assert {*graph, *(ref for on in graph.values() for ref in on)} <= refs
    assert "device:pkg:pypi/onnxruntime@1.17.3" in graph["model"]
    assert graph["runtime:web"] == ["pkg:npm/long@5.2.3", "pkg:npm/onnxruntime-web@1.30.0", "pkg:pypi/numpy@2.4.6"]


@pytest.mark.parametrize(
    ("named", "stated"),
    [
        ("Apache-2.0", {"license": {"id": "Apache-2.0"}}),
        ("apache-2.0", {"license": {"id": "Apache-2.0"}}),
        ("MIT OR Apache-2.0", {"expression": "MIT OR Apache-2.0"}),
        ("proprietary, see LICENCE", {"license": {"name": "proprietary, see LICENCE"}}),
    ],
)
def test_a_licence_is_spdx_where_it_can_be(named: str, stated: dict[str, Any]) -> None:
    assert licences(named) == {"licenses": [stated]}
    assert licences("") == {}


@pytest.mark.parametrize(
    ("package", "link"),
    [
        ("onnxruntime-gpu", "pkg:pypi/onnxruntime-gpu@1.20.2"),
        ("onnxruntime-web", "pkg:npm/onnxruntime-web@1.20.2"),
        ("onnxruntime-android", "pkg:maven/com.microsoft.onnxruntime/onnxruntime-android@1.20.2"),
        ("onnxruntime-c", "pkg:cocoapods/onnxruntime-c@1.20.2"),
    ],
)
def test_a_devices_runtime_has_the_url_of_its_registry(package: str, link: str) -> None:
    assert on_device(package, "1.20.2") == link


def test_a_scoped_package_of_npm_keeps_its_scope() -> None:
    assert locked("npm:@protobufjs/float", "1.0.2").to_string() == "pkg:npm/%40protobufjs/float@1.0.2"
    assert locked("npm:a/node_modules/@b/c", "1").to_string() == "pkg:npm/%40b/c@1"


RECORD: dict[str, Any] = {
    "runtime_version": 1, "key": "key:" + "1" * 64, "onnxruntime": "1.21.0", "platform": "linux/arm64",
    "config": "sha256:" + "2" * 64,
    "sources": [
        {"name": "onnxruntime", "version": "1.21.0", "file": "onnxruntime_1.21.0.orig.tar.xz", "digest": "sha256:" + "3" * 64,
         "licence": "MIT"},
        {"name": "libeigen3-dev", "version": "3.4.0-4", "file": "libeigen3-dev_3.4.0-4_all.deb", "digest": "sha256:" + "4" * 64,
         "licence": "MPL-2.0"},
        {"name": "libstdc++-14-dev", "version": "14.2.0-19", "file": "libstdc++-14-dev.deb", "digest": "sha256:" + "5" * 64,
         "licence": "GPL-3.0-or-later WITH GCC-exception-3.1"},
    ],
    "flags": {"onnxruntime_MINIMAL_BUILD": "ON"},
    "patches": [{"file": "0001-eigen.patch", "digest": "sha256:" + "6" * 64, "why": "Debian's Eigen has no PropagateNaN"}],
    "toolchain": {"compiler": "aarch64-linux-gnu-gcc", "version": "14.2.0", "packages": "sha256:" + "7" * 64},
    "knobs": {"exceptions": True, "static_cxx": True, "xnnpack": False},
    "library": {"file": "libonnxruntime.so", "digest": "sha256:" + "8" * 64, "size": 1_382_432},
    "needed": ["libc.so.6"], "symbol_versions": {"GLIBC": "2.34"},
}  # fmt: skip


def test_a_library_that_is_carried_has_its_sources_flags_edits_and_licences_in_it(tmp_path: Path) -> None:
    made, one, _ = release(tmp_path)
    value: dict[str, Any] = json.loads(sbom(made, one, RECORD))
    assert problem(value) is None
    parts = {part["bom-ref"]: part for part in value["components"]}
    library = parts["reduced:onnxruntime"]
    assert library["hashes"] == [{"alg": "SHA-256", "content": "8" * 64}]
    assert library["licenses"] == [{"license": {"id": "MIT"}}]
    assert library["pedigree"]["patches"] == [{"type": "unofficial", "diff": {"url": "0001-eigen.patch"}}]
    assert "no PropagateNaN" in library["pedigree"]["notes"]
    told = {each["name"]: each["value"] for each in library["properties"]}
    assert told["ortolan:flags"] == '{"onnxruntime_MINIMAL_BUILD":"ON"}'
    assert parts["reduced-source:libstdc++-14-dev"]["licenses"] == [{"expression": "GPL-3.0-or-later WITH GCC-exception-3.1"}]
    assert parts["reduced-source:onnxruntime"]["externalReferences"][0]["hashes"][0]["content"] == "3" * 64
    needs = {each["ref"]: each["dependsOn"] for each in value["dependencies"]}
    assert needs["reduced:onnxruntime"] == sorted(f"reduced-source:{each['name']}" for each in RECORD["sources"])
    assert "reduced:onnxruntime" in needs["model"]
    devices = [part for part in value["components"] if part["bom-ref"].startswith("device:")]
    assert {part["scope"] for part in devices} == {"optional"}


def test_unchanged_sources_have_no_pedigree(tmp_path: Path) -> None:
    made, one, _ = release(tmp_path)
    value: dict[str, Any] = json.loads(sbom(made, one, RECORD | {"patches": []}))
    (library,) = [part for part in value["components"] if part["bom-ref"] == "reduced:onnxruntime"]
    assert "pedigree" not in library
    assert problem(value) is None

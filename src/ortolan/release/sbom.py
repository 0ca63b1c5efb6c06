"""What a release consists of, as a CycloneDX 1.6 ML-BOM in JSON: the model, its data sets by digest, its files, its runtimes.

The schema is https://cyclonedx.org/docs/1.6/json/. Nothing is stated that the manifest does not hold. There is no time in it,
and its serial number is made from the manifest's digest: equal builds have equal documents.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from .. import __version__
from ..artifact import SHIPPED, Outcome
from ..disk import json_bytes
from ..manifest import GatePart, Manifest, TensorPart
from . import sbom_library
from .layout import TAR, Release
from .licences import hashed, licences
from .purl import locked, on_device

DATA_SETS = ("calibration", "evaluation")
_METRICS = ("accuracy", "agreement")
_MODEL = "model"
_Json = dict[str, Any]


def sbom(made: Manifest, release: Release, library: Mapping[str, Any] | None = None) -> bytes:
    """The document, as indented JSON; ``library`` is the record of the ONNX Runtime that the release carries, if it does."""
    own = list(sbom_library.components(library)) if library else []
    devices = _devices(made, "optional" if own else "required")
    parts = [*_files(made, release), *own, *devices, *_data_sets(made), *_runtimes(made), *_packages(made)]
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, release.manifest)}",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "ortolan", "version": __version__}]},
            "component": _model(made, release),
        },
        "components": parts,
        "dependencies": [
            _depends(ref, on) for ref, on in [*_graph(made, parts), *([sbom_library.graph(library)] if library else [])]
        ],
    }
    return json_bytes(document)


def _properties(found: Mapping[str, str]) -> list[_Json]:
    return [{"name": f"ortolan:{name}", "value": value} for name, value in sorted(found.items())]


def _model(made: Manifest, release: Release) -> _Json:
    """The model as it ships: its digest is that of its archive, its ancestor the normalised model that it was made from."""
    ancestor = {"type": "machine-learning-model", "name": made.model.name, "hashes": hashed(made.model.hash)}
    told = {"target": made.target.name, "platform": made.target.platform, "precision": made.precision, "hashes-of": TAR}
    return {
        "type": "machine-learning-model", "bom-ref": _MODEL, "name": made.model.name, "version": made.tag,
        "hashes": hashed(release.tar.digest), "pedigree": {"ancestors": [ancestor]}, "modelCard": _card(made),
        "properties": _properties(told), **licences(made.model.licence),
    }  # fmt: skip


def _card(made: Manifest) -> _Json:
    sets = [{"ref": f"data:{role}"} for role in DATA_SETS if made.model.files.get(role)]
    parameters = {
        "inputs": [{"format": _format(one)} for one in made.signature.inputs],
        "outputs": [{"format": _format(one)} for one in made.signature.outputs],
        **({"datasets": sets} if sets else {}),
    }
    ships = [gate for gate in made.gates if gate.subject in {SHIPPED, made.precision}]
    metrics = [
        {"type": gate.name, "value": gate.measured, "slice": gate.subject}
        for gate in ships if gate.measured and gate.name.partition("@")[0] in _METRICS
    ]  # fmt: skip
    limits = [_limitation(gate) for gate in ships if gate.outcome in {Outcome.NOT_RUN, Outcome.WAIVED}]
    card: _Json = {"modelParameters": parameters}
    card |= {"quantitativeAnalysis": {"performanceMetrics": metrics}} if metrics else {}
    return card | ({"considerations": {"technicalLimitations": limits}} if limits else {})


def _format(one: TensorPart) -> str:
    shape = "of any shape" if one.shape is None else f"[{', '.join('?' if size is None else str(size) for size in one.shape)}]"
    return f"{one.name}: {one.dtype} {shape}"


def _limitation(gate: GatePart) -> str:
    outcome = "was waived" if gate.outcome is Outcome.WAIVED else "was not run"
    return f"{gate.name} of {gate.subject} {outcome}: {gate.why}"


def _files(made: Manifest, release: Release) -> Iterator[_Json]:
    media = {one.name: one.media_type for one in made.artifacts}
    for path, part in sorted(release.files.items()):
        told = {"mime-type": media[path]} if path in media else {}
        yield {"type": "file", "bom-ref": f"file:{path}", "name": path, "hashes": hashed(part.digest), **told}


def _devices(made: Manifest, scope: str) -> Iterator[_Json]:
    """The runtime that the device brings, in each version that the fleet runs: no part of the bundle, and needed by it.

    It may be there, and need not, beside a bundle that carries its own.
    """
    for version in made.target.versions:
        link = on_device(made.target.package, version)
        yield {
            "type": "framework", "bom-ref": f"device:{link}", "name": made.target.package, "version": version, "purl": link,
            "scope": scope, "properties": _properties({"role": "device runtime"}),
        }  # fmt: skip


def _data_sets(made: Manifest) -> Iterator[_Json]:
    for role in DATA_SETS:
        files = made.model.files.get(role)
        if files:
            yield {
                "type": "data", "bom-ref": f"data:{role}", "name": role, "scope": "excluded",
                "data": [{"type": "dataset", "name": role}],
                "components": [_data_file(role, name, digest) for name, digest in sorted(files.items())],
            }  # fmt: skip


def _data_file(role: str, name: str, digest: str) -> _Json:
    told: _Json = {"type": "data", "bom-ref": f"data:{role}/{name}", "name": PurePosixPath(name).name, "hashes": hashed(digest)}
    return told | {"data": [{"type": "dataset", "name": name}]}


def _runtimes(made: Manifest) -> Iterator[_Json]:
    """The pinned environments that the model was made and checked in; none of them is needed on the device."""
    for one in made.runtimes:
        told = {"role": "build runtime", "lock": one.lock, "platform": one.platform}
        yield {
            "type": "platform", "bom-ref": f"runtime:{one.name}", "name": one.name, "version": f"python {one.python}",
            "scope": "excluded", "properties": _properties(told),
        }  # fmt: skip


def _packages(made: Manifest) -> Iterator[_Json]:
    """What the locks of those environments pin, each once."""
    found = {locked(name, version): version for one in made.runtimes for name, version in one.packages.items()}
    for link, version in sorted(found.items()):
        yield {
            "type": "library", "bom-ref": link.to_string(), "name": link.name, "version": version, "purl": link.to_string(),
            "scope": "excluded", **({"group": link.namespace} if link.namespace else {}),
        }  # fmt: skip


def _graph(made: Manifest, parts: list[_Json]) -> Iterator[tuple[str, list[str]]]:
    """What depends on what: the model on its files and the device's runtime, each build runtime on its packages."""
    yield _MODEL, [part["bom-ref"] for part in parts if part["type"] in {"file", "framework"}]
    for one in made.runtimes:
        yield f"runtime:{one.name}", [locked(name, version).to_string() for name, version in one.packages.items()]


def _depends(ref: str, on: list[str]) -> _Json:
    return {"ref": ref, "dependsOn": sorted(set(on))}

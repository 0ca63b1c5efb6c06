"""How a release came to be, as an in-toto Statement v1 with a SLSA Provenance v1 predicate; docs/provenance.md explains it.

Formats: https://in-toto.io/Statement/v1 and https://slsa.dev/provenance/v1. There is no clock time in it: equal builds of one
commit have equal statements.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .. import __version__
from ..disk import json_bytes
from ..manifest import Manifest, StepPart
from .layout import TAR, ZST, Release

BUILD_TYPE = "urn:ortolan:build:v1"
BUILDER = "urn:ortolan:builder:v1"
_COMMIT = re.compile(r"(?P<commit>[0-9a-f]{40}|[0-9a-f]{64})(?P<dirty>-dirty)?")
_Json = dict[str, Any]


def statement(made: Manifest, release: Release) -> bytes:
    """The statement about both archives and each file in them, as indented JSON."""
    predicate = {"buildDefinition": _definition(made, release), "runDetails": _details(made, release)}
    return json_bytes(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": _subjects(release),
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": predicate,
        }
    )


def _subjects(release: Release) -> list[_Json]:
    archives = {TAR: release.tar.digest, ZST: release.zst.digest}
    files = {path: part.digest for path, part in sorted(release.files.items())}
    return [_resource(name, digest) for name, digest in (archives | files).items()]


def _resource(name: str, digest: str, **more: Any) -> _Json:
    """A ResourceDescriptor. What is no SHA-256 of bytes (the digest of a recipe, of a tree) is a URI, not a hash."""
    kind, _, content = digest.partition(":")
    named = {"digest": {"sha256": content}} if kind == "sha256" else {"uri": f"urn:ortolan:{digest}"}
    return {"name": name, **named, **more}


def _definition(made: Manifest, release: Release) -> _Json:
    return {
        "buildType": BUILD_TYPE,
        "externalParameters": {
            "target": made.target.name,
            "model": made.model.name,
            "recipes": {"target": made.target.recipe, "model": made.model.recipe},
        },
        "internalParameters": {
            "tag": made.tag,
            "precision": made.precision,
            "sequence": release.sequence,
            "licence": made.model.licence,
            "steps": [_step(one) for one in made.steps],
        },
        "resolvedDependencies": [*_revision(release.revision), *_sources(made), *_locks(made)],
    }


def _step(one: StepPart) -> _Json:
    """A step as the manifest tells it: ``key`` is the digest of all that its outputs depend on."""
    return one.model_dump(mode="json")


def _revision(named: str) -> Iterator[_Json]:
    """The project's commit; a tree that differed from it says so."""
    match = _COMMIT.fullmatch(named)
    if match:
        dirty = {"annotations": {"dirty": True}} if match["dirty"] else {}
        yield {"name": "project", "digest": {"gitCommit": match["commit"]}, **dirty}


def _sources(made: Manifest) -> Iterator[_Json]:
    """The recipes, and the model's own files: code, weights, data sets, and the tables that it was judged by."""
    yield _resource(f"recipes/targets/{made.target.name}", made.target.recipe)
    yield _resource(f"recipes/models/{made.model.name}", made.model.recipe)
    for role, files in sorted(made.model.files.items()):
        for name, digest in sorted(files.items()):
            yield _resource(f"{role}/{name}", digest, annotations={"role": role})


def _locks(made: Manifest) -> Iterator[_Json]:
    for one in made.runtimes:
        yield _resource(f"runtimes/{one.name}", one.lock, annotations={"python": one.python, "platform": one.platform})


def _details(made: Manifest, release: Release) -> _Json:
    shipped = {part.digest for part in release.files.values()}
    byproducts = [
        _resource(f"{step.label}: {name}", digest)
        for step in made.steps for name, digest in sorted(step.outputs.items()) if digest not in shipped
    ]  # fmt: skip
    return {"builder": {"id": BUILDER, "version": {"ortolan": __version__}}, "byproducts": byproducts}

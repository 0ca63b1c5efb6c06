"""The files of a build that ship: their names, digests and media types, and how each is put in its place."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from .artifact import Artifact
from .contract import BESIDE
from .execute import Executor, Results, weights_of
from .plan import Shipment
from .sources import Job
from .step import Ref

_MEDIA = {
    ".onnx": "application/vnd.onnx.model",
    ".ort": "application/vnd.onnxruntime.model",
    ".json": "application/json",
    ".npz": "application/zip",
    ".xml": "application/xml",
    ".config": "text/plain",
    ".py": "text/x-python",
    ".sh": "text/x-shellscript",
    ".so": "application/x-sharedlib",
    ".txt": "text/plain",
    ".h": "text/x-c",
}
"""Media types of artifacts by suffix; all else is bytes."""


def artifacts(ship: Shipment, results: Results, executor: Executor) -> dict[Artifact, partial[None]]:
    """The files that ship, each with how it is put in its place."""
    said = _about(ship, results)
    return {
        _artifact(name, ref, results, said.get(name, {})): partial(_fetch, executor, ref, results)
        for name, ref in _with_weights(ship.files, results).items()
    }


def loads(job: Job, ship: Shipment) -> dict[str, str]:
    """The providers that the outputs' files are for, as far as they are for one."""
    tables = job.target.recipe.outputs.tables().values()
    return {name: table.provider for table, made in zip(tables, ship.made, strict=True) for name in made.files if table.provider}


def _with_weights(files: Mapping[str, Ref], results: Results) -> dict[str, Ref]:
    """The files, and beside each model the one that holds its weights, where there is one."""
    weights = {name + BESIDE: found for name, ref in files.items() if (found := weights_of(ref, results))}
    return {**files, **weights}


def _about(ship: Shipment, results: Results) -> dict[str, Mapping[str, str]]:
    """What the outputs say of their files."""
    told = [made.about({name: results[step.id].facts for name, step in made.steps.items()}) for made in ship.made]
    return {name: about for one in told for name, about in one.items()}


def _fetch(executor: Executor, ref: Ref, results: Results, to: Path) -> None:
    executor.fetch(ref, to, results)


def _artifact(name: str, ref: Ref, results: Results, about: Mapping[str, str]) -> Artifact:
    output, media = results[ref.step.id].output(ref.name), _MEDIA.get(Path(name).suffix, "application/octet-stream")
    return Artifact(name, output.digest, output.size, media, tuple(sorted(about.items())))

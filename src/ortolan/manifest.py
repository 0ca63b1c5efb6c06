"""What was built, from what, with which gates. No clock times and no paths: equal builds have equal manifests."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from .artifact import Gate, Outcome, Precision
from .disk import json_bytes
from .errors import OrtolanError

NAME = "manifest.json"
VERSION = 1


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class ModelPart(_Part):
    """The model and the digests of everything of the user's that it was made from."""

    name: str
    recipe: str
    hash: str
    licence: str
    source: str
    files: dict[str, dict[str, str]]


class TargetPart(_Part):
    """The device that the artifacts are for."""

    name: str
    recipe: str
    platform: str
    package: str
    versions: list[str]
    opset: int
    providers: list[str]


class TensorPart(_Part):
    """An input or output: a text in ``shape`` is a dynamic axis by name, None one without a name."""

    name: str
    dtype: str
    shape: list[int | str | None] | None


class ProviderPart(_Part):
    """An execution provider with its options as ONNX Runtime takes them."""

    name: str
    options: dict[str, str]


class ArtifactPart(_Part):
    """One file beside the manifest; ``about`` is what a device compares with itself before it loads the file."""

    name: str
    digest: str
    size: int
    media_type: str
    about: dict[str, str] = {}


class GatePart(_Part):
    """One claim; ``measured`` is empty where it would differ between equal builds (timings)."""

    name: str
    subject: str
    outcome: Outcome
    measured: str
    limit: str
    why: str


class StepPart(_Part):
    """One step: its key, and the digests that went in and came out."""

    label: str
    stage: str
    source: str
    runtime: str
    cpu: list[str]
    key: str
    params: dict[str, Any]
    inputs: dict[str, str]
    outputs: dict[str, str]


class RuntimePart(_Part):
    """One pinned environment and its packages."""

    name: str
    python: str
    platform: str
    lock: str
    packages: dict[str, str]


class SignaturePart(_Part):
    """What a program feeds the model and gets from it, and how it opens it: the contents of ``session.json``."""

    inputs: list[TensorPart]
    outputs: list[TensorPart]
    session_options: dict[str, Any]
    config_entries: dict[str, str]
    providers: list[ProviderPart]
    sharing: dict[str, Any]


class GoldenPart(_Part):
    """Samples with the outputs that the shipped model gave to them, and how near others must come.

    ``samples`` is what ``golden.json`` says of ``golden.bin``. Outputs are near when ``|a - b| <= atol + rtol * |b|`` for all
    elements; of a model of fewer bits also when their signal-to-noise ratio is ``min_snr_db`` or more.
    """

    runtime: str
    rtol: float
    atol: float
    min_snr_db: float | None
    samples: list[dict[str, dict[str, dict[str, Any]]]]


class PackagePart(_Part):
    """Files rendered from a folder of templates: a snippet, or what an image is built from."""

    kind: str
    templates: str
    files: dict[str, str]


class WaiverPart(_Part):
    """A failed gate that ships all the same: who answers for it, why, and until which day (``YYYY-MM-DD``, UTC, inclusive)."""

    gate: str
    subject: str
    reason: str
    who: str
    expires: str


class NeededProvider(_Part):
    """An execution provider of the recipe; ``required`` where a bundle is no use without it.

    That is the last one, which takes all nodes that others leave, and one that alone opens an artifact.
    """

    name: str
    required: bool


class EnginePart(_Part):
    """A file made for some devices alone, the provider that it was asked for, and what the device compares with itself first."""

    file: str
    provider: str
    about: dict[str, str]


class PreflightPart(_Part):
    """What a device must be for this bundle, as its ``device/preflight.py`` checks it and a server can before a download.

    ``platform`` is ``os/architecture`` as in container images. ``api`` is the number that a program asks ``OrtApiBase.GetApi``
    for: the minor version of ``oldest``. ``size`` is that of all artifacts and packages in bytes, the manifest itself left out.
    """

    platform: str
    package: str
    oldest: str
    api: int
    opset: int
    providers: list[NeededProvider]
    engines: list[EnginePart]
    size: int


class Manifest(_Part):
    """A build's manifest, version 1."""

    manifest_version: Literal[1]
    tag: str
    precision: Precision
    precision_reason: str
    model: ModelPart
    target: TargetPart
    signature: SignaturePart
    golden: GoldenPart
    artifacts: list[ArtifactPart]
    packages: list[PackagePart] = []
    preflight: PreflightPart
    gates: list[GatePart]
    waivers: list[WaiverPart] = []
    steps: list[StepPart]
    runtimes: list[RuntimePart]

    def to_bytes(self) -> bytes:
        """Indented canonical JSON with a newline at the end."""
        return json_bytes(json.loads(self.model_dump_json()))


def gate_part(gate: Gate) -> GatePart:
    """A gate as the manifest keeps it."""
    measured = "" if gate.varies else gate.measured
    return GatePart(
        name=gate.name, subject=gate.subject, outcome=gate.outcome, measured=measured, limit=gate.limit,
        why="" if gate.varies else gate.why,
    )  # fmt: skip


def read(path: Path) -> Manifest:
    """Read a manifest; OrtolanError when there is none, or when it is not one."""
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise OrtolanError("not a manifest", where=str(path), why=str(error).splitlines()[0], hint="build again") from error


def find(output: Path, tag: str) -> list[Path]:
    """The manifests of a tag, of every target that has it; OrtolanError with the nearest tag when none has."""
    found = {path.parent.name: path for path in sorted(output.glob(f"*/*/{NAME}"))}
    paths = sorted(output.glob(f"*/{tag}/{NAME}")) if tag in found else []
    if not paths:
        near = difflib.get_close_matches(tag, found, n=1, cutoff=0.3)
        why = f"built are: {', '.join(found)}" if found else "nothing is built yet"
        raise OrtolanError(
            f"no build has the tag '{tag}'", where=str(output), why=why, hint=f"./inv show {near[0]}" if near else ""
        )
    return paths

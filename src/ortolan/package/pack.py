"""All that a target's recipe wants rendered, and the manifest that lists it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import digest, preflight
from ..errors import OrtolanError
from ..manifest import Manifest, PackagePart
from ..recipe.outputs import DEVICE, Outputs
from .context import context
from .docker import docker
from .render import Rendered, find_templates, render

PROGRAMS = ("preflight.py", "selftest.py")
"""What a device runs of a build: whether it fits, before anything is loaded, and whether it gives the golden outputs."""


@dataclass(frozen=True)
class Packed:
    """The files by path below the build's folder, and the manifest with their digests."""

    manifest: Manifest
    files: dict[str, bytes]


def pack(manifest: Manifest, outputs: Outputs, folders: Sequence[Path], runtimes: Sequence[Path]) -> Packed:
    """Render every kind that is asked for; the wheels of images stand in the locks of ``runtimes``.

    OrtolanError for a kind without templates, for a mistake in one, and when no model ships that a program could load.
    """
    kinds = outputs.templates()
    given = _given(manifest, outputs, runtimes) if set(kinds) > {DEVICE} else {}
    made = [render(kind, find_templates(kind, folders), given if kind != DEVICE else {}) for kind in kinds]
    files = {f"{one.kind}/{name}": data for one in made for name, data in one.files.items()}
    _know_device(files, folders)
    rules = preflight.grown(manifest.preflight, sum(map(len, files.values())))
    return Packed(manifest.model_copy(update={"packages": [_part(one) for one in made], "preflight": rules}), files)


def _know_device(files: Mapping[str, bytes], folders: Sequence[Path]) -> None:
    """A project's own templates of this kind hold at least what devices are asked to run."""
    for name in PROGRAMS:
        if f"{DEVICE}/{name}" not in files:
            where = str(find_templates(DEVICE, folders))
            raise OrtolanError(f"no {name} among what every build has for its device", where=where, hint="copy the shipped one")


def _given(manifest: Manifest, outputs: Outputs, runtimes: Sequence[Path]) -> dict[str, Any]:
    given = context(manifest) | _docker(manifest, outputs, runtimes)
    if not given["model"]["file"]:
        hint = "set onnx = true under [outputs], or ask for no snippets and no image"
        raise OrtolanError(f"{manifest.target.name} ships no model that a program could load", hint=hint)
    return given


def _docker(manifest: Manifest, outputs: Outputs, runtimes: Sequence[Path]) -> dict[str, Any]:
    """The recipe's checked words on images; they are plain text, as their patterns allow nothing else."""
    return {"docker": docker(manifest.target, outputs.docker, runtimes)} if outputs.docker else {}


def _part(one: Rendered) -> PackagePart:
    files = {name: digest.of_bytes(data) for name, data in one.files.items()}
    return PackagePart(kind=one.kind, templates=one.templates, files=files)

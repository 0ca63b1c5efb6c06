"""What a device must be for a build: the rules that its ``device/preflight.py`` checks, taken from the manifest's own parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from .manifest import ArtifactPart, EnginePart, NeededProvider, PreflightPart, TargetPart


def rules(target: TargetPart, artifacts: Sequence[ArtifactPart], loads: Mapping[str, str]) -> PreflightPart:
    """The rules of a build that holds ``artifacts`` alone; ``loads`` says of files which provider they were made for."""
    oldest = target.versions[0]
    engines = [EnginePart(file=one.name, provider=loads[one.name], about=one.about) for one in artifacts if _engine(one, loads)]
    return PreflightPart(
        platform=target.platform,
        package=target.package,
        oldest=oldest,
        api=int(oldest.split(".")[1]),
        opset=target.opset,
        providers=_providers(target.providers, engines),
        engines=engines,
        size=sum(one.size for one in artifacts),
    )


def grown(part: PreflightPart, size: int) -> PreflightPart:
    """The rules of the same build with ``size`` bytes of packages beside its artifacts."""
    return part.model_copy(update={"size": part.size + size})


def _engine(one: ArtifactPart, loads: Mapping[str, str]) -> bool:
    return bool(one.about and loads.get(one.name))


def _providers(names: Sequence[str], engines: Sequence[EnginePart]) -> list[NeededProvider]:
    """ONNX Runtime opens an engine that is an ``.onnx`` with its provider alone; others are opened by their makers' libraries."""
    alone = {one.provider for one in engines if PurePosixPath(one.file).suffix == ".onnx"}
    return [NeededProvider(name=name, required=name in alone or name == names[-1]) for name in names]

"""Builds an image, starts it, asks it, judges it; what passes gets its name, what fails leaves none."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from ..artifact import Gate, Outcome
from ..disk import write_json
from . import context, gates, page
from .gates import Bytes
from .order import Order
from .parts import Builder, BuildFailed, CannotStart, Container, Image

_SAMPLES = ("session.json", "golden.bin", "golden.json", "web.json")


@dataclass(frozen=True)
class Imaged:
    """How it ended: the image's name (empty when a gate failed) and id, its builder, and where its bytes go."""

    order: Order
    builder: str
    gates: Sequence[Gate]
    id: str = ""
    bytes: Bytes | None = None

    @property
    def ok(self) -> bool:
        """Whether no gate failed."""
        return not any(gate.outcome is Outcome.FAIL for gate in self.gates)

    @property
    def name(self) -> str:
        """What the image is called, if it got its name."""
        return self.order.name if self.ok else ""

    def told(self) -> dict[str, Any]:
        """For a file beside the build, and for other programs. ``same_twice`` is None where nobody looked."""
        twice = {gate.outcome for gate in self.gates if gate.name == "image-reproducible"}
        return {
            "format": 1,
            "tag": self.order.manifest.tag,
            "image": self.name,
            "id": self.id,
            "platform": self.order.platform,
            "base": self.order.docker.base,
            "builder": self.builder,
            "same_twice": None if twice <= {Outcome.NOT_RUN} else twice == {Outcome.PASS},
            "bytes": asdict(self.bytes) | {"rest": self.bytes.rest} if self.bytes else {},
            "gates": [asdict(gate) for gate in self.gates],
        }


def record_path(order: Order) -> Path:
    """Where the outcome is kept: beside the build's folder."""
    return order.folder.with_name(f"{order.folder.name}.image.json")


def image(order: Order, builder: Builder) -> Imaged:
    """Build, try and name one image. OrtolanError when its base or its wheels cannot be had."""
    trial = f"{order.name}-trial-{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix="ortolan-", dir=_scratch(order)) as scratch:
        folder = Path(scratch) / "context"
        try:
            made = _tried(order, builder, folder, trial)
            if made.ok:
                builder.rename(trial, order.name)
        finally:
            builder.remove(trial)
    write_json(record_path(order), made.told())
    return made


def _scratch(order: Order) -> Path:
    """On the cache's disk, so that unpacked wheels need not be copied."""
    place = order.cache.root / "images"
    place.mkdir(parents=True, exist_ok=True)
    return place


def _tried(order: Order, builder: Builder, folder: Path, trial: str) -> Imaged:
    runtime = context.fill(order, folder)
    wanted = order.wanted(folder)
    try:
        made = builder.build(wanted, trial)
    except BuildFailed as error:
        failed = gates.gate("image-builds", False, "not built", "", error.why)
        return Imaged(order, builder.name, [failed])
    found = Bytes(made.size, made.base_size, context.size(runtime) if runtime else 0, _model(order))
    judged = [gates.built(made, builder), *_asked(order, builder, trial, made, folder), gates.sized(found)]

    def again() -> Image:
        """With other folders, and another time of day."""
        second, name = folder.with_name("again"), f"{trial}-again"
        shutil.copytree(folder, second)
        try:
            return builder.build(order.wanted(second), name)
        finally:
            builder.remove(name)

    judged.append(gates.reproducible(made, again, builder))
    return Imaged(order, builder.name, judged, made.id, found)


def _model(order: Order) -> int:
    names = {one.name for one in order.manifest.artifacts if one.name.startswith("model.")}
    loaded = sorted(names, key=lambda name: not name.endswith(".onnx"))[:1]  # what the image holds: see package.context
    return sum((order.folder / name).stat().st_size for name in (*loaded, *_SAMPLES) if (order.folder / name).is_file())


def _asked(order: Order, builder: Builder, name: str, made: Image, folder: Path) -> list[Gate]:
    try:
        with builder.start(name, made, order.wanted(folder)) as container:
            judged = [*_answers(order, container, made, folder)]
            return [*judged, gates.stops(container)] if judged[0].outcome is Outcome.PASS else judged
    except CannotStart as reason:
        return [gates.not_started(reason)]


def _answers(order: Order, container: Container, made: Image, folder: Path) -> list[Gate]:
    web = order.web
    if web is None:
        return [gates.answers(container, order, made)]
    try:
        why = gates.waited(container, "/")
        problems = [why] if why else [*page.problems(container, folder, order.docker.templates, web)]
    except (OSError, HTTPException) as error:
        problems = [str(error)]
    problems = problems or [text for text in (gates.checked(container, made),) if text]
    measured = f"{len(web['files']) + len(web['models'])} files and the page; {container.how}"
    judged = gates.gate("image-answers", not problems, measured, "same bytes, COOP and COEP", "; ".join(problems))
    return [judged, *([page.in_browser(container, order.manifest.golden)] if not problems else [])]

"""``image``: build a target's container images, start them and compare their answers."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from invoke.exceptions import Exit

from ..build import Built, build
from ..cache import Cache
from ..errors import GateError
from ..image import Imaged, image
from ..image import pick as pick_builder
from ..image.make import record_path
from ..image.order import order, table_of
from ..recipe.project import Project
from ..report import coloured
from ..report.progress import shown
from ..report.tables import gate_table
from ..revision import revision
from . import pick


def run(
    root: Path,
    targets: Sequence[str],
    models: Sequence[str],
    *,
    builder: str,
    jobs: int,
    as_json: bool,
    cache: Cache,
    emulation: bool,
) -> None:
    """One block, or one line of JSON, for each image; exit with 3 for a failed gate of the build or the image."""
    picked = pick.jobs(Project(root), targets, models)
    for job in picked:
        table_of(job.target)  # before anything is built
    chosen = pick_builder(builder)
    options = pick.options(root, cache, jobs, emulation=emulation)
    with shown(as_json=as_json) as emit:
        built = build(picked, options, emit)
    codes = [_unbuilt(one) for one in built if not one.ok]
    for one in built:
        if one.folder is None:
            continue
        made = image(order(one.job.target, one.folder, cache, options.runtimes, revision(root).name), chosen)
        print(_json(one, made) if as_json else _text(one, made, root), flush=True)
        codes += [] if made.ok else [GateError.exit_code]
    if codes:
        raise Exit(code=max(codes))


def _unbuilt(one: Built) -> int:
    """Say why there is nothing to make an image of; the exit code."""
    for error in one.errors:
        print(f"error: {error}", file=sys.stderr)
    if not one.errors:
        print(f"error: {one.job.name}: a gate of the build failed; ./inv build shows it", file=sys.stderr)
    return max([error.exit_code for error in one.errors] or [GateError.exit_code])


def _text(one: Built, made: Imaged, root: Path) -> str:
    table = [f"  {line}" for line in gate_table(made.gates, colour=coloured())]
    kept = record_path(made.order).relative_to(root)
    end = f"  {made.name}  ({kept})" if made.ok else f"  no image: a gate failed  ({kept})"
    return "\n".join([one.job.name, *table, end, ""])


def _json(one: Built, made: Imaged) -> str:
    value = {"kind": "image", "model": one.job.model.name, "target": one.job.target.name, "ok": made.ok, **made.told()}
    return json.dumps(value, sort_keys=True)

"""A manifest in words."""

from __future__ import annotations

from collections.abc import Sequence

from ..artifact import Gate
from ..digest import short
from ..manifest import Manifest
from .tables import gate_table, size, table


def told(manifest: Manifest, damaged: Sequence[str]) -> list[str]:
    """The lines to print; ``damaged`` are artifacts whose bytes are no longer the manifest's."""
    target, model = manifest.target, manifest.model
    return [
        f"{manifest.tag} for {target.name}",
        f"  model     {model.name}, {model.source}, hash {short(model.hash)}{', ' + model.licence if model.licence else ''}",
        f"  target    {target.platform}, {target.package} {', '.join(target.versions)}, opset {target.opset}",
        f"  ships     {manifest.precision}: {manifest.precision_reason}",
        "",
        *table(("artifact", "bytes", "sha256"), [_row(a.name, a.size, a.digest, damaged) for a in manifest.artifacts]),
        "",
        *gate_table([Gate(g.name, g.subject, g.outcome, g.measured, g.limit, g.why) for g in manifest.gates], colour=False),
        "",
        *table(("runtime", "python", "lock"), [(r.name, r.python, short(r.lock)) for r in manifest.runtimes]),
        "",
        *table(("step", "runtime", "key"), [(s.label, s.runtime, short(s.key)) for s in manifest.steps]),
    ]


def _row(name: str, count: int, found: str, damaged: Sequence[str]) -> tuple[str, str, str]:
    note = "  DAMAGED: build again" if name in damaged else ""
    return name, size(count), found.removeprefix("sha256:") + note

"""``runtime-config``: the operators and types that a target's reduced runtime must hold."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from invoke.exceptions import Exit

from ..cache import Cache
from ..digest import of_bytes
from ..errors import GateError, OrtolanError, RecipeError
from ..recipe.project import Project
from ..reduced import mobile
from ..reduced.config_make import Configured, Missing, Wanted, configure, some
from ..reduced.config_types import told
from ..reduced.pinned import load
from ..report import coloured
from ..report.tables import gate_table, table
from .lists import dump
from .pick import runtime_folders

_SHOWN = 6  # nodes of a row; --json has all


def run(
    root: Path,
    target: str,
    models: Sequence[str],
    also: Sequence[str],
    within: Path | None,
    version: str,
    cache: Cache,
    *,
    as_json: bool,
) -> None:
    """Print what was merged and how it was judged; exit with 3 where a gate failed, and then nothing is written."""
    wanted = replace(_wanted(root, target, models, also, within, version), store=cache.store)
    found = configure(root, wanted)
    if as_json:
        dump(_json(found, wanted))
    else:
        print("\n".join(_text(found, root, wanted)))
    if found.path is None:
        raise Exit(code=GateError.exit_code)


def _wanted(root: Path, target: str, models: Sequence[str], also: Sequence[str], within: Path | None, version: str) -> Wanted:
    if not target:
        raise RecipeError("which target?", why=f"known are {', '.join(Project(root).targets())}", hint="--target raspberry-pi-5")
    if version and not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise OrtolanError(f"--onnxruntime wants a version, not '{version}'", hint="--onnxruntime 1.21.0")
    recipe, pinned = Project(root).target(target).recipe, load(runtime_folders(root)).onnxruntime
    built = version or mobile.version(recipe.platform, recipe.runtime.versions[0], pinned)
    return Wanted(target, built, tuple(models), tuple(also), within)


def _text(found: Configured, root: Path, wanted: Wanted) -> list[str]:
    rows = [(one.model, one.of, str(len(one.config.operators)), _typed(one.typed), one.tag) for one in found.needs]
    lines = [*table(("model", "of", "operators", "types", "tag"), rows), "", *gate_table(found.gates, colour=coloured())]
    lines += ["", *_missing(found.missing)] if found.missing else []
    return [wanted.target, *(f"  {line}".rstrip() for line in lines), _end(found, root), ""]


def _typed(typed: bool) -> str:
    return "its own" if typed else "all: not recorded"


def _missing(missing: tuple[Missing, ...]) -> list[str]:
    rows = [
        (one.subject, one.lack.operator.domain, str(one.lack.operator.opset), one.lack.operator.name, told(one.lack.types),
         one.lack.there or "nothing", some(one.nodes, _SHOWN))
        for one in missing
    ]  # fmt: skip
    return table(("model", "domain", "opset", "operator", "needs", "there is", "nodes"), rows)


def _end(found: Configured, root: Path) -> str:
    if found.path is None:
        return "  nothing was written: a gate failed"
    whole = sorted({one.name for one in found.config.operators if found.config.of(one) is None})
    count = len(found.config.operators)
    return f"  {found.path.relative_to(root)}: {count} operators, {count - len(whole)} limited to types, {_digest(found)}"


def _digest(found: Configured) -> str:
    return of_bytes(found.config.text().encode())


def _json(found: Configured, wanted: Wanted) -> dict[str, Any]:
    """The same for programs (docs/runtime-config.md)."""
    models = [
        {"model": one.model, "tag": one.tag, "of": one.of, "typed": one.typed, "operators": len(one.config.operators)}
        for one in found.needs
    ]
    return {
        "kind": "runtime-config",
        "target": wanted.target,
        "onnxruntime": wanted.version,
        "path": str(found.path) if found.path else None,
        "digest": _digest(found),
        "models": models,
        "operators": [_operator(one.domain, one.opset, one.name, found.config.of(one)) for one in sorted(found.config.operators)],
        "gates": [asdict(gate) for gate in found.gates],
        "missing": [_lack(one) for one in found.missing],
    }


def _operator(domain: str, opset: int, name: str, types: Any) -> dict[str, Any]:
    listed = None if types is None else {place: sorted(names) for place, names in types.items()}
    return {"domain": domain, "opset": opset, "operator": name, "types": listed}


def _lack(one: Missing) -> dict[str, Any]:
    lack = one.lack
    told_of = _operator(lack.operator.domain, lack.operator.opset, lack.operator.name, lack.types)
    return {**told_of, "model": one.subject, "missing": lack.kind, "there": lack.there, "nodes": list(one.nodes)}

"""``gates``: how the last builds were judged, for people and for CI systems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from invoke.exceptions import Exit

from .. import manifest
from ..ci.git import Unknown, toplevel
from ..ci.records import Record, records
from ..devices.limits import standing
from ..disk import write_bytes
from ..errors import GateError
from ..report import coloured
from ..report.code_quality import code_quality
from ..report.junit import junit
from ..report.tables import gate_table
from .lists import dump


def run(
    root: Path, targets: Sequence[str], models: Sequence[str], reports: Mapping[str, Path], *, strict: bool, as_json: bool
) -> None:
    """Write the reports that are asked for (``junit``, ``code-quality``); tables where none is. Exits with 3 if ``strict``."""
    found = [_with_benches(root, one) for one in records(root / "build", targets, models)]
    if "junit" in reports:
        write_bytes(reports["junit"], junit(found))
    if "code-quality" in reports:
        write_bytes(reports["code-quality"], code_quality(found, root, _top(root)))
    if as_json:
        dump([asdict(one) for one in found])
    elif reports:
        print("\n".join(f"{one.name}: {_summary(one)}" for one in found))
    else:
        print("\n".join(line for one in found for line in _told(one)))
    if strict and any(one.failed or not one.ok for one in found):
        raise Exit(code=GateError.exit_code)


def _with_benches(root: Path, one: Record) -> Record:
    """With the gates on how fast it is on its devices."""
    path = root / "build" / one.target / one.tag / manifest.NAME
    return replace(one, gates=[*one.gates, *standing(root, manifest.read(path))]) if one.ok and path.is_file() else one


def _top(root: Path) -> Path:
    """What paths in reports are relative to: the repository, or the project where it is in none."""
    try:
        return toplevel(root)
    except Unknown:
        return root.resolve()


def _told(one: Record) -> list[str]:
    errors = [f"  error: {line}" for error in one.errors for line in error.splitlines()]
    return [f"{one.name}: {_summary(one)}", *(f"  {line}" for line in gate_table(one.gates, colour=coloured())), *errors, ""]


def _summary(one: Record) -> str:
    """``built, 20 pass, 3 not-run``."""
    seen = [str(gate.outcome) for gate in one.gates]
    counts = [f"{seen.count(outcome)} {outcome}" for outcome in dict.fromkeys(seen)]
    errors = [f"{len(one.errors)} errors"] if one.errors else []
    return ", ".join(["built" if one.ok else "not built", *counts, *errors])

"""``diff``: what changed between two builds or releases."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from invoke.exceptions import Exit

from ..errors import GateError, OrtolanError
from ..release import compare
from ..release.compare import Comparison, Side
from ..report.diff import markdown, text
from .lists import dump

_FAILS = {"": frozenset[str](), "breaking": frozenset({"breaking"}), "regression": frozenset({"breaking", "regression"})}


def run(root: Path, old: str, new: str, *, target: str, fail_on: str, as_markdown: bool, as_json: bool) -> None:
    """Print it as text, Markdown or JSON; exit with 3 where the verdict is ``fail_on`` or graver."""
    if fail_on not in _FAILS:
        raise OrtolanError(
            f"--fail-on does not know '{fail_on}'", why="it takes breaking, or regression, which includes breaking"
        )
    sides = [compare.load(root, compare.find(root, one, target)) for one in (old, new)]
    found = compare.compare(sides[0], sides[1], datetime.now(UTC).date())
    if as_json:
        dump(told(found))
    else:
        print("\n".join(markdown(found) if as_markdown else text(found)))
    if found.verdict in _FAILS[fail_on]:
        raise Exit(code=GateError.exit_code)


def told(found: Comparison) -> dict[str, Any]:
    """The comparison for programs (docs/releases-compared.md)."""
    return {
        "diff_version": 1,
        "old": _side(found.old),
        "new": _side(found.new),
        "verdict": found.verdict,
        "text": found.text,
        "groups": [asdict(group) for group in found.groups],
        "bytes": asdict(found.bytes),
    }


def _side(side: Side) -> dict[str, Any]:
    made, release = side.manifest, side.release
    return {
        "tag": made.tag,
        "target": made.target.name,
        "model": made.model.name,
        "model_hash": made.model.hash,
        "tar": release.tar.digest if release else None,
        "sequence": release.sequence if release else None,
    }

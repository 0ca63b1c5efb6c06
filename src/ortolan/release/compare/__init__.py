"""Compare two builds or releases: what a release manager reads before signing, and a CI before it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from . import interface, judged, made, sizes
from .change import Change, Group, Level
from .side import Side, find, load
from .sizes import Bytes

Verdict = Literal["same", "compatible", "regression", "breaking"]


SAME = "nothing changed"


@dataclass(frozen=True)
class Comparison:
    """``text`` is the verdict in a line. Groups without anything to say are left out."""

    old: Side
    new: Side
    verdict: Verdict
    text: str
    groups: tuple[Group, ...]
    bytes: Bytes


def compare(old: Side, new: Side, today: date) -> Comparison:
    """All that differs; ``today`` (UTC) decides which waivers have expired or soon will."""
    before, after = old.manifest, new.manifest
    groups = (
        made.identity(old, new),
        interface.signature(before, after),
        interface.device(before, after),
        made.operators(old, new),
        made.precision(before, after),
        judged.accuracy(before, after),
        judged.gates(before, after),
        judged.waivers(before, after, today),
        judged.latency(old, new),
        made.coverage(old, new),
        interface.session(before, after),
        made.runtimes(before, after),
        sizes.files(old, new),
    )
    verdict, text = _verdict(groups, same=_equal(old, new))
    return Comparison(old, new, verdict, text, groups, sizes.count(old, new))


def _equal(old: Side, new: Side) -> bool:
    """The same bytes: of the manifest, which has the digests of all files, and of the description where both have one."""
    return old.manifest == new.manifest and (not old.release or not new.release or old.release == new.release)


def _verdict(groups: tuple[Group, ...], *, same: bool) -> tuple[Verdict, str]:
    """The gravest change in words, and how many more there are of its level."""
    if same:
        return "same", SAME
    breaking, worse = (
        [change for group in groups for change in group.changes if change.level is level]
        for level in (Level.BREAKING, Level.REGRESSION)
    )
    if breaking:
        return "breaking", f"BREAKING: {_first(breaking)}"
    if worse:
        return "regression", f"regression: {_first(worse)}"
    touched = any(group.changes for group in groups if group.name == interface.SIGNATURE)
    return "compatible", f"compatible: inputs and outputs {'still fit' if touched else 'unchanged'}"


def _first(found: Sequence[Change]) -> str:
    return told(found[0]) + (f" (and {len(found) - 1} more)" if found[1:] else "")


def told(change: Change) -> str:
    """A change in a line: what was removed, what is new, or from what to what."""
    if not change.new:
        return f"{change.what} removed: {change.old}"
    return f"{change.what} {change.old} → {change.new}" if change.old else f"{change.what} new: {change.new}"


__all__ = ["Bytes", "Change", "Comparison", "Group", "Level", "Side", "Verdict", "compare", "find", "load"]

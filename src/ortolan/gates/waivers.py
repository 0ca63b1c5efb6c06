"""A failed gate ships only with a waiver that names it, this target and this model, and that has not expired."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ..artifact import Gate, Outcome
from ..recipe.waiver import NamedWaiver, Waivers
from ..sources import Job
from .choice import because


def waive(job: Job, judged: Iterable[Gate], hashed: str) -> list[Gate]:
    """The gates, those that failed and have a waiver in force as waived; ``hashed`` is the model hash.

    A waiver for the gate that does not count says in the gate's reason why not.
    """
    return waived(job.waivers, job.target.name, judged, hashed)


def waived(waivers: Waivers, target: str, judged: Iterable[Gate], hashed: str) -> list[Gate]:
    """The same for a target by its name."""
    return [_waived(waivers, target, gate, hashed) if gate.outcome is Outcome.FAIL else gate for gate in judged]


def granted(job: Job, judged: Sequence[Gate], hashed: str) -> list[tuple[Gate, NamedWaiver]]:
    """The waived gates with the waiver that each ships by."""
    ship = [gate for gate in judged if gate.outcome is Outcome.WAIVED]
    return [(gate, found) for gate in ship if (found := _in_force(job.waivers, job.target.name, gate, hashed))]


def _waived(waivers: Waivers, target: str, gate: Gate, hashed: str) -> Gate:
    found = _in_force(waivers, target, gate, hashed)
    if found:
        one = found.waiver
        return replace(because(gate, f"waived by {one.who} until {one.expires}: {one.reason}"), outcome=Outcome.WAIVED)
    for other in _meant(waivers, target, gate):
        gate = because(gate, f"{other.name} does not count: {_against(waivers, other, hashed)}")
    return gate


def _in_force(waivers: Waivers, target: str, gate: Gate, hashed: str) -> NamedWaiver | None:
    return next((one for one in _meant(waivers, target, gate) if not _against(waivers, one, hashed)), None)


def _meant(waivers: Waivers, target: str, gate: Gate) -> list[NamedWaiver]:
    """Those for this gate on this target, in force or not."""
    return [
        one for one in waivers.every
        if (one.waiver.gate, one.waiver.target) == (gate.name, target) and one.waiver.subject in (None, gate.subject)
    ]  # fmt: skip


def _against(waivers: Waivers, one: NamedWaiver, hashed: str) -> str:
    """Why a waiver does not count; empty when it does."""
    if one.waiver.model_hash != hashed:
        return f"it is for the model {one.waiver.model_hash}, this is {hashed}"
    return f"it expired on {one.waiver.expires}" if one.waiver.expires < waivers.today else ""

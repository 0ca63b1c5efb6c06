"""What was judged: gates with outcomes and measured values, accuracy, waivers, and timings where both sides have them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date, timedelta

from ...artifact import FP32, SHIPPED, Outcome
from ...manifest import GatePart, Manifest, WaiverPart
from .change import Change, Group, Level, Notes, both
from .side import Side

SOON = timedelta(days=30)
LOWER_IS_BETTER = frozenset({"mse"})  # as in stages/lib/quant_metrics.py
_ORDER = (Outcome.PASS, Outcome.WAIVED, Outcome.NOT_RUN, Outcome.FAIL)
_NUMBER = r"[-+0-9.e]+|nan|inf|-inf"
_METRIC = re.compile(rf"(?P<name>.+) (?P<fp32>{_NUMBER}) → (?P<candidate>{_NUMBER}|–)")
_DROP = re.compile(r"drop ≤ (?P<most>[-+0-9.e]+)")
_ACCURACY = ("accuracy", "agreement")
_EVALUATION = "evaluation"

Key = tuple[str, str]


def gates(old: Manifest, new: Manifest) -> Group:
    """Outcomes and measured values. Gates that only one side can have, for its versions or its candidate, are counted."""
    notes = Notes("gates")
    before, after = _gates(old), _gates(new)
    notes.value("outcomes", _counted(before.values()), _counted(after.values()))
    apart: dict[str, tuple[list[GatePart], list[GatePart]]] = {}
    for (name, subject), was, now in both(before, after):
        cause = _apart(name, subject, old, new) if not (was and now) and not (now and _bad(now)) else ""
        if cause:
            apart.setdefault(cause, ([], []))[0 if was else 1].append(was or now)
        elif name.partition("@")[0] not in _ACCURACY:
            _gate(notes, f"{name} of {subject}", was, now, _weight(subject, new))
    for cause, (gone, come) in apart.items():
        notes.value(cause, _counted(gone), _counted(come), why="only one of them has these")
    return notes.group()


def _apart(name: str, subject: str, old: Manifest, new: Manifest) -> str:
    """Why only one side has a gate: it is of a version that the other's fleet has not, or there is no such candidate there."""
    version = name.partition("@")[2].partition(" ")[0]
    if version in set(old.target.versions) ^ set(new.target.versions):
        return f"gates of version {version}"
    candidates = [any(gate.subject == subject for gate in side.gates) for side in (old, new)]
    return f"gates of the {subject} candidate" if _second(subject) and not all(candidates) else ""


def _second(subject: str) -> bool:
    """Whether gates are about the candidate beside fp32."""
    return subject not in {FP32, SHIPPED}


def _counted(found: Iterable[GatePart]) -> str:
    counts = Counter(gate.outcome for gate in found)
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome if counts[outcome])


def accuracy(old: Manifest, new: Manifest) -> Group:
    """Metric and agreement of what ships, and whether the drop is within the recipe's limit."""
    notes = Notes("accuracy")
    data = [side.model.files.get(_EVALUATION, {}) for side in (old, new)]
    if data[0] != data[1]:
        notes.unseen.append("the evaluation data differ: the figures are not of the same samples")
    before, after = ({k: g for k, g in _gates(side).items() if k[0].partition("@")[0] in _ACCURACY} for side in (old, new))
    for (name, subject), was, now in both(before, after):
        found = len(notes.changes)
        _gate(notes, name, was, now, _weight(subject, new))
        for index, change in enumerate(notes.changes[found:], found):
            if was and now and change.what == name:
                notes.changes[index] = _metric(change, was, now, old.precision, new.precision)
    if not before and not after:
        notes.unseen.append("neither was held against evaluation data")
    return notes.group()


def waivers(old: Manifest, new: Manifest, today: date) -> Group:
    """Failed gates that ship all the same: each of NEW's is told, with the day until which it counts."""
    notes = Notes("waivers")
    before, after = ({(w.gate, w.subject): w for w in side.waivers} for side in (old, new))
    for (gate, subject), was, now in both(before, after):
        worse = Level.REGRESSION if now and not was else Level.BETTER if not now else Level.CHANGED
        notes.value(f"{gate} of {subject}", _waiver(was), _waiver(now), worse)
        if now:
            _expiry(notes, f"{gate} of {subject}", now, today)
    return notes.group()


def latency(old: Side, new: Side) -> Group:
    """Timings of the machines that built the two: only what both measured."""
    notes = Notes("latency")
    for name in sorted(old.timings.keys() & new.timings.keys()):
        texts = [side.timings[name].get("measured", "") for side in (old, new)]
        notes.value(name, texts[0], texts[1], why="as timed where each was built")
    if not notes.changes and not notes.same:
        notes.unseen.append("no timing is there of both: only builds keep them, in measurements.json")
    return notes.group()


def _gates(side: Manifest) -> dict[Key, GatePart]:
    return {(gate.name, gate.subject): gate for gate in side.gates}


def _weight(subject: str, new: Manifest) -> Level:
    """What is lost when a gate says less: nothing where it is about a candidate that does not ship."""
    return Level.CHANGED if _second(subject) and new.precision != subject else Level.REGRESSION


def _gate(notes: Notes, what: str, was: GatePart | None, now: GatePart | None, weight: Level) -> None:
    """The outcome, or where that is the same, what was measured; a limit that moved stands on its own line."""
    if was is None or now is None:
        level = weight if (now is None and was and was.outcome is Outcome.PASS) or (now and _bad(now)) else Level.CHANGED
        why = now.why if now else "no longer judged"
        notes.changes.append(Change(what, _said(was), _said(now), level, why))
        return
    rank = _ORDER.index(now.outcome) - _ORDER.index(was.outcome)
    if rank:
        notes.changes.append(Change(what, _said(was), _said(now), _outcome_level(rank, now, weight), now.why))
    elif was.measured != now.measured:
        notes.changes.append(Change(what, was.measured, now.measured))
    if was.limit != now.limit:
        notes.changes.append(Change(f"limit of {what}", was.limit, now.limit))


def _outcome_level(rank: int, now: GatePart, weight: Level) -> Level:
    """A gate that failed and was not run or waived since has not become better."""
    return weight if rank > 0 else Level.BETTER if now.outcome is Outcome.PASS else Level.CHANGED


def _bad(gate: GatePart) -> bool:
    return gate.outcome in {Outcome.FAIL, Outcome.WAIVED}


def _said(gate: GatePart | None) -> str:
    return "" if gate is None else f"{gate.outcome}: {gate.measured}" if gate.measured else str(gate.outcome)


def _metric(change: Change, was: GatePart, now: GatePart, old: str, new: str) -> Change:
    """A change of a metric with what it means: how much worse what ships has become, and the limit of that."""
    found, limit = (_METRIC.fullmatch(was.measured), _METRIC.fullmatch(now.measured)), _DROP.fullmatch(now.limit)
    if not found[0] or not found[1] or not limit or change.level is not Level.CHANGED or found[0]["name"] != found[1]["name"]:
        return change
    values = [_value(match, precision) for match, precision in zip(found, (old, new), strict=True) if match]
    drop = (values[1] - values[0]) if found[0]["name"] in LOWER_IS_BETTER else values[0] - values[1]
    told = f"{found[0]['name']} of what ships: {values[0]:g} → {values[1]:g}"
    if drop <= 0:
        return Change(change.what, change.old, change.new, Level.BETTER if drop < 0 else Level.CHANGED, told)
    within = drop <= float(limit["most"])
    why = f"{told}, {'within' if within else 'beyond'} the drop of {limit['most']} that a recipe grants fewer bits"
    return Change(change.what, change.old, change.new, Level.CHANGED if within else Level.REGRESSION, why)


def _value(match: Mapping[str, str] | re.Match[str], precision: str) -> float:
    text = match[FP32 if precision == FP32 else "candidate"]
    return float("nan") if text == "–" else float(text)


def _waiver(one: WaiverPart | None) -> str:
    return "" if one is None else f"until {one.expires}, {one.who}: {one.reason}"


def _expiry(notes: Notes, what: str, one: WaiverPart, today: date) -> None:
    try:
        last = date.fromisoformat(one.expires)
    except ValueError:
        notes.changes.append(Change(f"waiver of {what}", "", one.expires, Level.REGRESSION, "that is no day"))
        return
    if last < today:
        notes.changes.append(Change(f"waiver of {what}", "", f"expired on {last}", Level.REGRESSION, "it counts as none now"))
    elif last - today <= SOON:
        notes.changes.append(Change(f"waiver of {what}", "", f"expires on {last}", why=f"in {(last - today).days} days"))

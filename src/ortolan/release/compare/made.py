"""What the two are and what they were made from and with: identity, data, precision, operators, coverage, runtimes."""

from __future__ import annotations

import re
from collections import Counter

from ...digest import short
from ...manifest import Manifest, RuntimePart
from .change import Group, Level, Notes, both, some
from .side import Coverage, Provider, Side

_FELL = 0.01
"""A provider before the last that loses more than this share of the work is a regression."""
_IR = re.compile(r".*, IR (?P<ir>\d+)")
_LIST = "required_operators.config"


def identity(old: Side, new: Side) -> Group:
    """Names, the model's hash, what it was made from, and for releases their order and commit."""
    notes = Notes("identity")
    before, after = old.manifest, new.manifest
    notes.value("target", before.target.name, after.target.name)
    notes.value("model", before.model.name, after.model.name)
    notes.value("tag", before.tag, after.tag)
    notes.value("model hash", short(before.model.hash), short(after.model.hash))
    notes.value("licence", before.model.licence, after.model.licence)
    notes.value("source", before.model.source, after.model.source)
    notes.value("recipe of the model", short(before.model.recipe), short(after.model.recipe))
    notes.value("recipe of the target", short(before.target.recipe), short(after.target.recipe))
    for role, was, now in both(before.model.files, after.model.files):
        shown = [{name: short(found) for name, found in (files or {}).items()} for files in (was, now)]
        notes.values(shown[0], shown[1], role)
    _released(notes, old, new)
    return notes.group()


def _released(notes: Notes, old: Side, new: Side) -> None:
    if not old.release or not new.release:
        notes.unseen.append(f"sequence and commit: {_without(old.release, new.release)} is a build, not a release")
        return
    before, after = old.release, new.release
    back = after.sequence <= before.sequence and before.tar.digest != after.tar.digest
    level, why = (Level.BREAKING, "devices only go to a larger one") if back else (Level.CHANGED, "")
    notes.value("sequence", str(before.sequence), str(after.sequence), level, why)
    notes.value("commit", before.revision, after.revision)
    notes.value("ortolan", before.ortolan, after.ortolan)


def _without(old: object, new: object) -> str:
    return "each" if old is None and new is None else "OLD" if old is None else "NEW"


def precision(old: Manifest, new: Manifest) -> Group:
    """What the shipped model computes in, and why."""
    notes = Notes("precision")
    notes.value("ships", old.precision, new.precision, why=new.precision_reason)
    if old.precision == new.precision:
        notes.value("reason", old.precision_reason, new.precision_reason)
    return notes.group()


def operators(old: Side, new: Side) -> Group:
    """Opset, IR, and the nodes of each operator, of the model that ships."""
    notes = Notes("operators and opset")
    notes.value("opset", str(old.manifest.target.opset), str(new.manifest.target.opset))
    notes.value("IR", _ir(old.manifest), _ir(new.manifest))
    if not old.coverage or not new.coverage:
        notes.unseen.append(f"operators: {_without(old.coverage, new.coverage)} has no coverage.json")
        return notes.group()
    before, after = _operators(old.coverage), _operators(new.coverage)
    reduced = _LIST in new.files
    for name, was, now in both(before, after):
        why = f"a reduced runtime needs it: {_LIST}" if was is None and reduced else ""
        notes.value(name, _nodes(was), _nodes(now), why=why)
    notes.same = [one for one in notes.same if one.partition(" ")[0] in {"opset", "IR"}]
    same = [name for name, was, now in both(before, after) if was == now]
    notes.same += [f"{some(len(same), 'operator')} with {some(sum(after[name] for name in same), 'node')}"] if same else []
    return notes.group()


def _ir(side: Manifest) -> str:
    found = [_IR.fullmatch(gate.measured) for gate in side.gates if gate.name == "opset"]
    return next((match["ir"] for match in found if match), "")


def _operators(found: Coverage) -> Counter[str]:
    return Counter(sorted(f"{one.domain}:{one.op}" if one.domain else one.op for one in found.nodes))


def _nodes(count: int | None) -> str:
    return some(count, "node") if count else ""


def coverage(old: Side, new: Side) -> Group:
    """Each provider's share of the work, by the weakest evidence, and how often execution goes from one to another."""
    notes = Notes("coverage")
    if not old.coverage or not new.coverage:
        notes.unseen.append(f"providers: {_without(old.coverage, new.coverage)} has no coverage.json")
        return notes.group()
    sides = [{one.name: one for one in found.providers} for found in (old.coverage, new.coverage)]
    last = [*sides[1]][-1] if sides[1] else ""
    for name, was, now in both(sides[0], sides[1]):
        fell = name != last and was is not None and _share(was) - (_share(now) if now else 0) > _FELL
        notes.value(name, _covered(was), _covered(now), Level.REGRESSION if fell else Level.CHANGED)
    notes.value("partitions", str(old.coverage.partitions), str(new.coverage.partitions))
    return notes.group()


def _share(provider: Provider) -> float:
    return provider.node_share if provider.mac_share is None else provider.mac_share


def _covered(provider: Provider | None) -> str:
    if provider is None:
        return ""
    unit = "nodes" if provider.mac_share is None else "MACs"
    levels = ", ".join(f"{level} {count}" for level, count in provider.levels.items())
    return f"{_share(provider):.1%} of {unit}{f' ({levels})' if levels else ''}"


def runtimes(old: Manifest, new: Manifest) -> Group:
    """The pinned environments and their packages, by version."""
    notes = Notes("runtimes and packages")
    for name, was, now in both({one.name: one for one in old.runtimes}, {one.name: one for one in new.runtimes}):
        if was is None or now is None:
            notes.value(name, _runtime(was), _runtime(now))
            continue
        notes.value(f"{name}: Python", was.python, now.python)
        notes.value(f"{name}: machine", was.platform, now.platform)
        for package, one, two in both(was.packages, now.packages):
            notes.value(f"{name}: {package}", one or "", two or "")
        if was.packages == now.packages:
            notes.value(f"{name}: lock", short(was.lock), short(now.lock), why="the same versions, other files")
    count = len(notes.same)
    notes.same = [some(count, "version")] if count else []
    return notes.group()


def _runtime(one: RuntimePart | None) -> str:
    return "" if one is None else f"Python {one.python}, {some(len(one.packages), 'package')}"

"""What programs and devices rely on: inputs and outputs, how a session is opened, what the device must be."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from ...manifest import Manifest, TensorPart
from .change import Group, Level, Notes, both

Axis = int | str | None
SIGNATURE = "inputs and outputs"
INPUT, OUTPUT = "input", "output"


def signature(old: Manifest, new: Manifest) -> Group:
    """Inputs and outputs by name; what a caller must change for is breaking."""
    notes = Notes(SIGNATURE)
    _tensors(notes, INPUT, old.signature.inputs, new.signature.inputs)
    _tensors(notes, OUTPUT, old.signature.outputs, new.signature.outputs)
    return notes.group()


def _tensors(notes: Notes, kind: str, old: Sequence[TensorPart], new: Sequence[TensorPart]) -> None:
    for name, was, now in both({one.name: one for one in old}, {one.name: one for one in new}):
        level, why = _judge(kind, was, now)
        notes.value(f"{kind} {name}", tensor(was), tensor(now), level, why)
    before, after = ([one.name for one in tensors] for tensors in (old, new))
    if sorted(before) == sorted(after) and before != after:
        why = "callers that go by position get another tensor"
        notes.value(f"order of {kind}s", ", ".join(before), ", ".join(after), Level.BREAKING, why)


def tensor(one: TensorPart | None) -> str:
    """``float32[batch, 3]``; a dynamic axis without a name is a question mark, an unknown rank are dots."""
    if one is None:
        return ""
    return f"{one.dtype}[{'…' if one.shape is None else ', '.join(map(_axis, one.shape))}]"


def _axis(axis: Axis) -> str:
    plain = isinstance(axis, int) or (axis or "").isidentifier()
    return "?" if axis is None else str(axis) if plain else json.dumps(axis)


def _judge(kind: str, old: TensorPart | None, new: TensorPart | None) -> tuple[Level, str]:
    if old is None:
        return (Level.BREAKING, "callers do not give it") if kind == INPUT else (Level.CHANGED, "callers by name do not notice")
    if new is None:
        return Level.BREAKING, f"callers that {'give' if kind == INPUT else 'read'} it fail"
    if old.dtype != new.dtype:
        return Level.BREAKING, "another type"
    if old.shape is None or new.shape is None:
        return (Level.CHANGED, "") if old.shape == new.shape else (Level.BREAKING, "its rank is known in one of them only")
    return _judge_axes(kind, old.shape, new.shape)


def _judge_axes(kind: str, old: Sequence[Axis], new: Sequence[Axis]) -> tuple[Level, str]:
    if len(old) != len(new):
        return Level.BREAKING, f"{len(new)} axes instead of {len(old)}"
    if not all(_fits(kind, one, two) for one, two in zip(old, new, strict=True)):
        return Level.BREAKING, "another shape"
    return Level.CHANGED, "callers of OLD still fit"


def _fits(kind: str, old: Axis, new: Axis) -> bool:
    """An input may come to take any size, an output may come to have one; the name of a dynamic axis means nothing to callers."""
    fixed = isinstance(old, int), isinstance(new, int)
    return old == new or fixed in {(False, False), (True, False) if kind == INPUT else (False, True)}


def session(old: Manifest, new: Manifest) -> Group:
    """Options and providers that programs open the session with: those of ``session.json``."""
    notes = Notes("session")
    before, after = old.signature, new.signature
    notes.values(_texts(before.session_options), _texts(after.session_options))
    notes.values(before.config_entries, after.config_entries)
    notes.values(_texts(before.sharing), _texts(after.sharing), "sharing")
    providers = [", ".join(one.name for one in side.providers) for side in (before, after)]
    notes.value("providers", providers[0], providers[1])
    options = [{one.name: one.options for one in side.providers} for side in (before, after)]
    for name in sorted(options[0].keys() & options[1].keys()):
        notes.values(options[0][name], options[1][name], name)
    tolerance = [f"atol {m.golden.atol:g} + rtol {m.golden.rtol:g}" for m in (old, new)]
    notes.value("golden tolerance", tolerance[0], tolerance[1])
    return notes.group()


def device(old: Manifest, new: Manifest) -> Group:
    """What a device must be and have: a device that fitted OLD and does not fit NEW makes it breaking."""
    notes = Notes("device")
    before, after = old.preflight, new.preflight
    other = "devices of the old kind cannot run it"
    notes.value("platform", before.platform, after.platform, Level.BREAKING, other)
    notes.value("package", before.package, after.package, Level.BREAKING, "devices need another runtime package")
    newer = _version(after.oldest) > _version(before.oldest)
    level, why = (Level.BREAKING, "devices with the older runtime are no longer covered") if newer else (Level.CHANGED, "")
    notes.value(f"oldest {after.package}", before.oldest, after.oldest, level, why)
    notes.value("checked in", ", ".join(old.target.versions), ", ".join(new.target.versions))
    needed = [{one.name: one.required for one in part.providers} for part in (before, after)]
    for name, was, now in both(needed[0], needed[1]):
        level, why = (Level.BREAKING, "devices without it cannot use NEW") if now and not was else (Level.CHANGED, "")
        notes.value(f"provider {name}", _needed(was), _needed(now), level, why)
    _engines(notes, {one.file: one.about for one in before.engines}, {one.file: one.about for one in after.engines})
    return notes.group()


def _engines(notes: Notes, old: Mapping[str, Mapping[str, str]], new: Mapping[str, Mapping[str, str]]) -> None:
    for name, was, now in both(old, new):
        level = Level.CHANGED if was is None else Level.BREAKING
        why = "its devices have none" if now is None else "devices that loaded the old one may not load this"
        notes.value(f"engine {name}", _about(was), _about(now), level, "" if was is None else why)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdecimal() else -1 for part in text.split("."))


def _about(about: Mapping[str, str] | None) -> str:
    return "" if about is None else ", ".join(f"{key} {value}" for key, value in sorted(about.items()))


def _needed(required: bool | None) -> str:
    return "" if required is None else "required" if required else "used where it is"


def _texts(values: Mapping[str, object]) -> dict[str, str]:
    return {key: value if isinstance(value, str) else json.dumps(value, sort_keys=True) for key, value in values.items()}

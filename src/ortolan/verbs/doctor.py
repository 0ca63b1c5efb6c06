"""``doctor``: what a device is, and beside each target's recipe what does not fit, with what to do."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from ..cache import Cache, user_cache
from ..devices import describe
from ..devices.fleet import Answer, Emulators, here, side_by_side, there
from ..devices.judge import Check, fits, judge
from ..devices.tools import TOOLS
from ..place import Host, HostError
from ..place.emulated import MACHINES
from ..recipe.fleet import PYTHON, NamedDevice, chosen, load_fleet
from ..recipe.project import NamedTarget, Project
from ..recipe.provider_rules import numbers
from ..report.tables import size, table
from . import pick
from .last_builds import failed, failed_line
from .lists import dump

Verdicts = Mapping[str, Sequence[Check]]
"""Checks by the target's name."""


def run(root: Path, hosts: Sequence[str], targets: Sequence[str], *, python: str, as_json: bool) -> int:
    """Describe this machine, or devices; 1 when a device did not answer or does not fit the target that was named for it."""
    project = Project(root)
    if not hosts:
        about = describe.of_this(here(python) if python else "")
        verdicts = _verdicts(_targets(project, targets or project.targets()), about)
        _say_this(about, verdicts, as_json=as_json, whole=bool(targets))
        return int(bool(targets) and not all(map(fits, verdicts.values())))
    devices = pick_devices(project, hosts, python, targets)
    if len(devices) == 1:
        return _one(project, devices[0], targets, as_json=as_json)
    return _several(project, devices, targets, as_json=as_json)


def pick_devices(project: Project, words: Sequence[str], python: str = "", targets: Sequence[str] = ()) -> list[NamedDevice]:
    """The devices that words of the command line mean, each once; the runtime of an emulated one is its newest of the targets.

    OrtolanError where there are none.
    """
    fleet = load_fleet(project.root, project.targets())
    found = dict[str, NamedDevice]()
    for one in (each for word in words for each in chosen(fleet, word)):
        found[one.name] = found.get(one.name, one) if one.group else one  # by its own name it is no longer one of several
    if "all" in found and "all" not in fleet.device:
        raise HostError("there are no devices yet", hint="name them in recipes/fleet.toml: docs/devices.md shows how")
    if python:
        found = {name: replace(one, python=there(python)) for name, one in found.items()}
    return [_with_runtime(project, one, targets) for one in found.values()]


def emulators(root: Path, cache: Cache | None = None) -> Emulators:
    """What emulated devices are made of; what takes long is told beside the answers."""
    return Emulators(pick.runtime_folders(root), (cache or user_cache()).runtimes, partial(print, file=sys.stderr, flush=True))


def _with_runtime(project: Project, device: NamedDevice, targets: Sequence[str]) -> NamedDevice:
    """An emulated device with the runtime that nobody named: the newest of its target, or of all those that may be meant."""
    if not device.machine or device.python != PYTHON:
        return device
    recipes = [project.target(name).recipe for name in ([device.target] if device.target else targets or project.targets())]
    versions = [one.runtime.versions[-1] for one in recipes if one.platform == MACHINES.get(device.machine)]
    newest = max(versions or [one.runtime.versions[-1] for one in recipes], key=numbers)
    return replace(device, python=f"onnxruntime-{newest}")


def _targets(project: Project, names: Sequence[str]) -> list[NamedTarget]:
    return [project.target(name) for name in dict.fromkeys(names)]


def _verdicts(targets: Sequence[NamedTarget], about: describe.About) -> Verdicts:
    return {one.name: judge(one, about) for one in targets}


def _one(project: Project, device: NamedDevice, targets: Sequence[str], *, as_json: bool) -> int:
    """A device by itself: everything that is known of it."""
    wanted = targets or ([device.target] if device.target else [])
    judged = _targets(project, wanted or project.targets())
    (answer,) = side_by_side([device], emulators(project.root), lambda _, host: describe.of_host(host))
    if answer.value is None:
        raise answer.error or HostError("it did not answer", where=device.host)
    about = answer.value
    verdicts = _verdicts(judged, about)
    if as_json:
        dump(_told(device, about, verdicts))
    else:
        print("\n".join([*_device(about, device), "", *_judged(verdicts, whole=bool(wanted))]))
    return int(bool(wanted) and not all(map(fits, verdicts.values())))


def _several(project: Project, devices: Sequence[NamedDevice], targets: Sequence[str], *, as_json: bool) -> int:
    """One line for each, as they answer; the others go on where one fails."""
    known = {one.name: one for one in _targets(project, list(targets) or [one.target for one in devices if one.target])}

    def ask(device: NamedDevice, host: Host) -> tuple[describe.About, Verdicts]:
        about = describe.of_host(host)
        return about, _verdicts([known[name] for name in targets or ([device.target] if device.target else [])], about)

    wide = max(len(device.name) for device in devices)
    answers = []
    for answer in side_by_side(devices, emulators(project.root), ask):
        answers.append(answer)
        if not as_json:
            print(f"{answer.device.name:{wide}}  {_line(answer)}", flush=True)
    if as_json:
        order = [device.name for device in devices]
        told = sorted(answers, key=lambda one: order.index(one.device.name))
        dump([_told(one.device, *one.value) if one.value else _failed(one) for one in told])
    return int(any(one.value is None or not all(map(fits, one.value[1].values())) for one in answers))


def _line(answer: Answer[tuple[describe.About, Verdicts]]) -> str:
    if answer.value is None:
        return failed_line(failed(answer)).partition("  ")[2]
    about, verdicts = answer.value
    wrong = [f"{one.name} {one.measured}".strip() for checks in verdicts.values() for one in checks if one.outcome == "fail"]
    named = ", ".join(verdicts) or "no target"
    runtime = about["facts"]["runtime"]["version"] or "none"
    head = f"{'does not fit' if wrong else 'fits'} {named}" if verdicts else named
    return "  ".join([head, about["board"] or about["system"], f"onnxruntime {runtime}", *[", ".join(wrong)][: len(wrong)]])


# --- for people ---------------------------------------------------------------------------------------------------------


def _say_this(about: describe.About, verdicts: Verdicts, *, as_json: bool, whole: bool) -> None:
    if as_json:
        tools = [asdict(one) | {"path": one.path} for one in TOOLS]
        dump({**_told(None, about, verdicts), "tools": tools})
        return
    missing = [(one.program, one.package, one.use) for one in TOOLS if not one.path]
    here = f"{len(TOOLS) - len(missing)} of {len(TOOLS)} programs of the system that Ortolan can use are here"
    rows = table(("missing", "Debian package", "used for"), missing) if missing else []
    print("\n".join([*_device(about), "", *_judged(verdicts, whole=whole), "", here, *rows]))


def _device(about: describe.About, device: NamedDevice | None = None) -> list[str]:
    """What it is, one property on a line; those that are not known are left out."""
    named = [("device", f"{device.name} ({device.host})" if device.name != device.host else device.host)] if device else []
    lines = [*named, *_machine(about), *_runtimes(about), *_state(about)]
    wide = max(len(name) for name, _ in lines)
    return [f"{name:{wide}}  {value}" for name, value in lines if value]


def _machine(about: describe.About) -> Iterator[tuple[str, str]]:
    processor, memory, jetson = about["processor"], about["memory"], about["jetson"]
    clock = f", up to {processor['mhz']} MHz" if processor["mhz"] else ""
    yield "board", about["board"]
    yield "system", f"{about['system']}, {about['kernel']}".strip(", ")
    yield "JetPack", " ".join([jetson["jetpack"], f"(Jetson Linux {jetson['linux']})"]) if jetson["linux"] else ""
    yield "processor", f"{processor['count']} × {processor['name']}{clock}"
    yield "memory", f"{size(memory['total'])}, {size(memory['available'])} free, {size(memory['swap'])} swap"
    yield from (("GPU", f"{one['name']}, {one['memory']}, driver {one['driver']}") for one in about["gpus"])
    yield "CUDA", about["cuda"]


def _runtimes(about: describe.About) -> Iterator[tuple[str, str]]:
    facts = about["facts"]
    runtime, engines, disk = facts["runtime"], facts["engines"], facts["disk"]
    for name in ("tensorrt", "compute_capability", "openvino", "soc"):
        yield name.replace("_", " "), ", ".join(engines.get(name, {}).get("values", []))
    yield "disk", f"{size(disk['free'])} free in {disk['folder']}" if disk["folder"] else ""
    asked = f"{runtime['package']} {runtime['version']} of {runtime['where']}, opset {runtime['opset']}".strip()
    yield "ONNX Runtime", asked if runtime["version"] else f"none: {runtime['why']}"
    for name, one in runtime["providers"].items():
        said = describe.preflight().OUTCOMES[one["state"]][1]
        yield "provider", f"{name}: {said}" + (f" ({one['why']})" if one["why"] else "")
    for one in about["pythons"]:
        packages = ", ".join(f"{name} {version}" for name, version in one["onnxruntime"].items()) or "no ONNX Runtime"
        yield "Python", f"{one['version']} {one['path']}: {packages}"


def _state(about: describe.About) -> Iterator[tuple[str, str]]:
    yield "power mode", about["power"]
    for one in about["thermal"]:
        limit = f", slows down at {one['limit']:g} °C" if one["limit"] else ""
        yield "temperature", f"{one['name']} {one['celsius']:.1f} °C{limit}"
    for one in about["clocks"]:
        yield "clock", f"{one['name']} {one['mhz']} of {one['most']} MHz, governor {one['governor']}"
    for one in about["throttled"]:
        supply = one.startswith("under-voltage")
        yield "throttled", f"{one}: {'use a stronger power supply' if supply else 'let more air to it; see the temperature'}"


def _judged(verdicts: Verdicts, *, whole: bool) -> list[str]:
    """Of targets that were named all that was checked; of others what does not fit."""
    rows = []
    for name, checks in verdicts.items():
        good = fits(checks)
        shown = [one for one in checks if whole or one.outcome == "fail" or (good and one.outcome == "warn")]
        shown = [one for one in shown if whole or one.name == "platform"] or shown  # of another platform, that says enough
        rows += [(name, one.name, one.outcome, one.measured, one.limit, one.fix or one.why) for one in shown]
        rows += [] if shown else [(name, "", "fits", "", "", "")]
    return table(("target", "check", "outcome", "measured", "limit", "why, or what to do"), rows) if rows else ["no target"]


# --- for programs -------------------------------------------------------------------------------------------------------


def _told(device: NamedDevice | None, about: describe.About, verdicts: Verdicts) -> dict[str, Any]:
    named = {"name": device.name, "host": device.host} if device else {}
    judged = {name: {"fits": fits(checks), "checks": [asdict(one) for one in checks]} for name, checks in verdicts.items()}
    return {**named, "about": about, "targets": judged}


def _failed(answer: Answer[Any]) -> dict[str, Any]:
    return {"name": answer.device.name, "host": answer.device.host, "error": failed(answer)["error"]}

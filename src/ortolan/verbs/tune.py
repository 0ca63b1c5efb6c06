"""``tune``: the fastest session settings of what was built, found by measuring, here or on devices."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import runtime
from ..cache import Cache
from ..devices import describe
from ..devices.fleet import here as interpreter
from ..devices.tune import document, tune
from ..devices.tune_errand import Device, Subject, here, on_host, selftest_program, subject
from ..devices.tune_recipe import advice, opens
from ..devices.tune_settings import OPTIMISED, OPTIMISED_SESSION
from ..disk import write_bytes, write_json
from ..place import Host
from ..recipe.fleet import HERE, NamedDevice
from ..recipe.project import Project
from ..report.tables import size, table
from ..sources import Job
from . import pick
from .doctor import emulators, pick_devices
from .last_builds import ask_each, failed, failed_line, file_name, last_builds
from .lists import dump

_BUSY = 0.5
"""A load of so many programs for each processor, before the first trial, is worth a word."""
_HEADER = ("settings", "gain", "spread", "pairs", "opening", "memory", "")


@dataclass(frozen=True)
class Asked:
    """The command line: where, for how long, and the seed of the order."""

    root: Path
    cache: Cache
    seconds: float
    seed: int


@dataclass(frozen=True)
class Found:
    """A build that was tuned on a device; ``folder`` has what is kept, ``lines`` are for the recipe."""

    document: Mapping[str, Any]
    folder: Path
    lines: Sequence[str]
    files: Sequence[str]


def run(asked: Asked, targets: Sequence[str], models: Sequence[str], hosts: Sequence[str], *, python: str, as_json: bool) -> int:
    """Tune the last builds of these targets and models; 1 when a device failed."""
    project = Project(asked.root)
    devices = pick_devices(project, hosts, python, targets) if hosts else []
    named = list(targets) or list(dict.fromkeys(one.target for one in devices if one.target))
    jobs = pick.jobs(project, named, models)
    builds = [(job, subject(folder)) for job, folder in last_builds(asked.root, jobs, every=bool(models and not hosts))]
    found = _on_devices(asked, builds, devices, jobs, models) if hosts else _here(asked, builds, python)
    documents = []
    for one in found:
        documents.append({**one.document, "recipe": list(one.lines)} if isinstance(one, Found) else one)
        text = "\n".join([*_said(one, asked.root), ""]) if isinstance(one, Found) else failed_line(one)
        if not (as_json and isinstance(one, Found)):
            print(text, file=sys.stderr if as_json else sys.stdout, flush=True)
    if as_json:
        dump(documents)
    return int(any("error" in one for one in documents))


def _here(asked: Asked, builds: Sequence[tuple[Job, Subject]], python: str) -> Iterator[Found]:
    """In the pinned runtime of the fleet's newest version, or in the interpreter that was named."""
    for job, build in builds:
        named = interpreter(python) if python else ""
        if not named:
            spec = runtime.find(job.runtime(job.target.recipe.runtime.versions[-1]), pick.runtime_folders(asked.root))
            named = str(runtime.ensure(spec, asked.cache.runtimes, _tell).interpreter)
        about = describe.need_runtime(describe.of_this(named), HERE)
        yield _tuned(asked, job, build, HERE, Device(here(Path(named)), HERE, selftest_program()), about)


def _on_devices(
    asked: Asked,
    builds: Sequence[tuple[Job, Subject]],
    devices: Sequence[NamedDevice],
    jobs: Sequence[Job],
    models: Sequence[str],
) -> Iterator[Found | dict[str, Any]]:
    """Each device tunes what is for its target, one after the other; the devices side by side."""

    def measure(device: NamedDevice, host: Host) -> list[Found]:
        about = describe.need_runtime(describe.of_host(host), device.name)
        place = Device(on_host(host), host.address, selftest_program())
        own = [one for one in builds if device.target in {"", one[0].target.name}]
        return [_tuned(asked, job, build, device.name, place, about) for job, build in own]

    built, tools = [job for job, _ in builds], emulators(asked.root, asked.cache)
    for answer in ask_each(devices, jobs, built, models=models, emulators=tools, do=measure):
        yield from [failed(answer)] if answer.value is None else answer.value


def _tuned(asked: Asked, job: Job, build: Subject, name: str, device: Device, about: describe.About) -> Found:
    """Tune a build on a device, and keep what was found."""
    found = tune(build, device, seconds=asked.seconds, seed=asked.seed, say=_teller(job, name))
    own = document(found, name, about)
    folder = asked.root / "build" / own["target"] / "tune" / own["tag"] / file_name(name)
    options = {one.name: one.options for one in job.target.recipe.provider}
    lines = advice(found.shipped, build.base, options) if found.news else []
    for file in (OPTIMISED, OPTIMISED_SESSION):
        (folder / file).unlink(missing_ok=True)
    if found.optimised:
        write_bytes(folder / OPTIMISED, device.optimised(build, 60.0 + asked.seconds))
        write_json(folder / OPTIMISED_SESSION, found.optimised)
    write_json(folder / "session.json", found.session)
    write_json(folder / "tune.json", {**own, "recipe": lines})
    return Found(own, folder, lines, build.files)


def _teller(job: Job, device: str) -> Callable[[str], object]:
    return lambda text: _tell(f"{job.model.name} on {device}: {text}")


def _tell(text: str) -> None:
    """Progress stands beside the answer."""
    print(text, file=sys.stderr, flush=True)


# --- for people -----------------------------------------------------------------------------------------------------


def _said(found: Found, root: Path) -> Iterator[str]:
    one = found.document
    head = f"{one['model']} for {one['target']} on {one['device']['name']}, ONNX Runtime {one['looked']['facts']['runtime']}"
    yield f"{head}: {len(one['trials'])} trials in {one['spent']:.0f} s"
    yield from table(_HEADER, [_row(each) for each in one["settings"]])
    yield f"gain over ONNX Runtime's defaults {_gain(one)}"
    if "emulated" in one["device"]:
        yield "this device is emulated: how fast it is says nothing of a real one"
    if text := _busy(one["looked"]["facts"]):
        yield text
    if text := opens(one["chosen"], found.files):
        yield text
    yield f"{(found.folder / 'session.json').relative_to(root)} has them, tune.json beside it every trial"
    if found.lines:
        yield f"so that the next build ships them, in recipes/targets/{one['target']}.toml:"
        yield from (f"    {line}" for line in found.lines)
    else:
        yield "the recipe can stay as it is"


def _busy(facts: Mapping[str, Any]) -> str:
    """A word on other programs: with them, fewer threads are better than they will be without."""
    if facts["load"] < _BUSY * facts["processors"]:
        return ""
    load = f"load {facts['load']:.1f} on {facts['processors']} processors"
    return f"other programs were running ({load}): tune again when they are not"


def _gain(one: Mapping[str, Any]) -> str:
    gain = one["gain"]
    if one["why"]:
        return f"1×: they stay, {one['why']}"
    return f"{gain['median']:.2f}× ({gain['low']:.2f}–{gain['high']:.2f}): {one['chosen']['name']}"


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    ratio = one["ratio"]
    opened = "" if one["open_ms"] is None else f"{one['open_ms']:.0f} ms"
    memory = "" if one["peak_bytes"] is None else size(int(one["peak_bytes"]))
    if ratio is None:
        return (one["name"], "", "", "", opened, memory, one["outcome"])
    low, high = ratio["low"], ratio["high"]
    spread = f"{1 / high:.2f}–{1 / low:.2f}" if low and high else ""
    return (one["name"], f"{1 / ratio['median']:.2f}×", spread, str(ratio["pairs"]), opened, memory, one["outcome"])

"""``bench``: how fast what was built runs, here or on devices: burst, sustained, cold start, memory; and the gates on that."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from .. import runtime
from ..artifact import Gate, Outcome
from ..cache import Cache
from ..devices import bench, describe, limits
from ..devices.fleet import Emulators
from ..devices.fleet import here as interpreter
from ..disk import write_json
from ..errors import GateError
from ..gates import waive
from ..gates.bench import on_device
from ..place import Host
from ..recipe.fleet import HERE, NamedDevice
from ..recipe.project import Project
from ..report import coloured
from ..report.tables import gate_table, size, table
from ..sources import Job
from ..store import Store
from . import pick
from .doctor import emulators, pick_devices
from .last_builds import ask_each, failed, failed_line, file_name, last_builds
from .lists import dump

Works = Sequence[tuple[Job, bench.Work]]
"""What is timed, with the jobs that it was built by."""
Found = Iterator[tuple[str, dict[str, Any]]]
"""Documents by the names of devices; of one that failed its error."""
_BESIDE = ("device", "model", "file", "precision", "beside", "as fast", "half of the rounds")
_HEADER = ("device", "model", "file", "precision", "p50", "p95", "p99", "runs/s", "sustained", "cold start", "memory", "")


def run(
    root: Path, targets: Sequence[str], models: Sequence[str], hosts: Sequence[str], cache: Cache, *,
    seconds: float, python: str, as_json: bool,
) -> int:  # fmt: skip
    """Time the last builds of these targets and models; 1 when a device or a model failed, 3 when a gate did."""
    project = Project(root)
    devices = pick_devices(project, hosts, python, targets) if hosts else []
    named = list(targets) or list(dict.fromkeys(one.target for one in devices if one.target))
    jobs = pick.jobs(project, named, models)
    built = last_builds(root, jobs, every=bool(models and not hosts))
    with tempfile.TemporaryDirectory() as scratch:
        works = [(job, _work(folder, cache, Path(scratch), seconds)) for job, folder in built]
        own = interpreter(python) if python and not hosts else ""
        here = (_here(job, one, root, cache, own) for job, one in works)
        found = _on_devices(works, devices, jobs, models, emulators(root, cache)) if hosts else here
        kept = [_kept(root, name, works, one, as_json=as_json) for name, one in found]
    documents = [one for one in kept if "error" not in one]
    gates = [Gate(**gate) for one in documents for gate in one["gates"]]
    if as_json:
        dump(kept)
    elif documents:
        print("\n".join(_text(documents, gates)))
    bad = len(documents) < len(kept) or any("error" in each for one in documents for each in one["results"])
    return GateError.exit_code if any(gate.outcome is Outcome.FAIL for gate in gates) else int(bad)


def _kept(root: Path, name: str, works: Works, found: dict[str, Any], *, as_json: bool) -> dict[str, Any]:
    """A bench with its gates, as it is kept. Of a device that failed nothing is kept, and a line says so."""
    if "error" in found:
        print(failed_line(found), file=sys.stderr if as_json else sys.stdout, flush=True)
        return found
    job, work = next(
        (job, one) for job, one in works if (one.built.target.name, one.built.tag) == (found["target"], found["tag"])
    )
    judged = waive(job, on_device(job.target.recipe, found), work.built.model.hash)
    whole = found | {"gates": [asdict(gate) for gate in judged]}
    write_json(limits.kept_at(root, found["target"], found["tag"]) / f"{file_name(name)}.json", whole)
    return whole


def _work(folder: Path, cache: Cache, scratch: Path, seconds: float) -> bench.Work:
    own = scratch / f"{folder.parent.name}-{folder.name}"
    own.mkdir()
    return bench.work(folder, Store(cache.store), own, seconds)


def _here(job: Job, work: bench.Work, root: Path, cache: Cache, python: str) -> tuple[str, dict[str, Any]]:
    """In the pinned runtime of the fleet's newest version, or in the interpreter that was named."""
    if not python:
        spec = runtime.find(job.runtime(job.target.recipe.runtime.versions[-1]), pick.runtime_folders(root))
        say = partial(print, file=sys.stderr, flush=True)
        python = str(runtime.ensure(spec, cache.runtimes, say).interpreter)
    about = describe.need_runtime(describe.of_this(python), HERE)
    _tell(job, work, HERE)
    return HERE, bench.result(work, HERE, about, bench.here(Path(python), work))


def _on_devices(
    works: Works, devices: Sequence[NamedDevice], jobs: Sequence[Job], models: Sequence[str], emulated: Emulators
) -> Found:
    """Each device times what is for its target, one after the other; the devices side by side."""

    def timed(device: NamedDevice, host: Host, about: describe.About, job: Job, work: bench.Work) -> dict[str, Any]:
        _tell(job, work, device.name)
        return bench.result(work, device.name, about, bench.on_host(host, work))

    def measure(device: NamedDevice, host: Host) -> list[dict[str, Any]]:
        about = describe.need_runtime(describe.of_host(host), device.name)
        own = [(job, work) for job, work in works if device.target in {"", job.target.name}]
        return [timed(device, host, about, *one) for one in own]

    built = [job for job, _ in works]
    for answer in ask_each(devices, jobs, built, models=models, emulators=emulated, do=measure):
        documents = [failed(answer)] if answer.value is None else answer.value
        yield from ((answer.device.name, one) for one in documents)


def _tell(job: Job, work: bench.Work, device: str) -> None:
    """Progress stands beside the answer."""
    files = ", ".join(one.name for one in work.subjects)
    print(f"{job.model.name} on {device}: {files}, at most {work.seconds:g} s each", file=sys.stderr, flush=True)


def _text(documents: Sequence[Mapping[str, Any]], gates: Sequence[Gate]) -> list[str]:
    """The table of times, that of comparisons, and that of gates, as far as there are some."""
    times = table(_HEADER, [row for one in documents for row in _rows(one)])
    compared = [row for one in documents for row in _compared(one)]
    beside = ["", *table(_BESIDE, compared)] if compared else []
    return [*times, *beside, *(["", *gate_table(gates, colour=coloured())] if gates else [])]


def _compared(document: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for one in document["comparisons"]:
        spread = f"{one['low']:.2f} to {one['high']:.2f} in {one['rounds']} rounds"
        head = (document["device"]["name"], document["model"], one["file"], one["precision"], one["against"])
        yield (*head, f"{one['median']:.2f}×", spread)


def _rows(document: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for one in document["results"]:
        head = (document["device"]["name"], document["model"], one["file"], one["precision"])
        if "error" in one:
            yield (*head, *[""] * 7, one["error"])
            continue
        burst, later = one["burst"], one["sustained"]
        times = [f"{burst[key]:.3g} ms" for key in ("p50_ms", "p95_ms", "p99_ms")]
        kept = f"{later['of_burst']:.2f}×, {later['ended']} after {later['seconds']:.0f} s"
        cold = f"{one['cold_start_ms']:.0f} ms"
        yield (*head, *times, f"{later['per_second']:,.0f}", kept, cold, size(one["peak_bytes"]), _notes(document, one))


def _notes(document: Mapping[str, Any], one: Mapping[str, Any]) -> str:
    lacking = f"without {', '.join(one['lacking'])}" if one["lacking"] else ""
    hot = [each["celsius"] for each in one["sustained"]["windows"] if each["celsius"] is not None]
    heat = f"up to {max(hot):.0f} °C" if hot else ""
    wanted, found = document["platform"]["wanted"], document["platform"]["found"]
    other = "" if wanted == found else f"{found} is not the target's platform"
    untrue = "emulated: says nothing of speed" if "emulated" in document["device"] else ""
    return "; ".join(filter(None, (untrue, lacking, heat, other)))

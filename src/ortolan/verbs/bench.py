"""``bench``: how fast what was built runs, here or on devices: burst, sustained, cold start, memory."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import runtime
from ..cache import Cache
from ..devices import bench, describe
from ..devices.fleet import Emulators, side_by_side
from ..disk import write_json
from ..errors import OrtolanError
from ..place import Host
from ..recipe.fleet import NamedDevice
from ..recipe.project import Project
from ..report.tables import size, table
from ..sources import Job
from ..store import Store
from . import pick
from .doctor import emulators, pick_devices
from .lists import dump

HERE = "this-machine"
_HEADER = ("device", "model", "file", "precision", "p50", "p95", "p99", "runs/s", "sustained", "cold start", "memory", "")


def run(
    root: Path, targets: Sequence[str], models: Sequence[str], hosts: Sequence[str], cache: Cache, *,
    seconds: float, python: str, as_json: bool,
) -> int:  # fmt: skip
    """Time the last builds of these targets and models; 1 when a device or a model failed."""
    project = Project(root)
    devices = pick_devices(project, hosts, python, targets) if hosts else []
    named = list(targets) or list(dict.fromkeys(one.target for one in devices if one.target))
    jobs = _built(root, pick.jobs(project, named, models), models)
    with tempfile.TemporaryDirectory() as scratch:
        works = [(job, _work(folder, cache, Path(scratch), seconds)) for job, folder in jobs]
        here = (_here(job, one, root, cache, python) for job, one in works)
        found = _on_devices(works, devices, emulators(root, cache)) if hosts else here
        documents, failed = [], 0
        for name, one in found:
            failed += one is None or any("error" in each for each in one["results"])
            if one:
                documents.append(one)
                write_json(root / "build" / one["target"] / "bench" / one["tag"] / f"{_file(name)}.json", one)
    if as_json:
        dump(documents)
    elif documents:
        print("\n".join(table(_HEADER, [row for one in documents for row in _rows(one)])))
    return int(bool(failed))


def _built(root: Path, jobs: Sequence[Job], models: Sequence[str]) -> list[tuple[Job, Path]]:
    """The folders of the last builds; OrtolanError for a named model that is not built, or where none is."""
    found = []
    for job in jobs:
        record = root / "build" / job.target.name / f"{job.model.name}.json"
        tag = json.loads(record.read_text()).get("tag", "") if record.exists() else ""
        folder = root / "build" / job.target.name / tag
        if tag and (folder / "manifest.json").exists():
            found.append((job, folder))
        elif models:
            raise _unbuilt(job)
    if not found:
        raise _unbuilt(jobs[0])
    return found


def _unbuilt(job: Job) -> OrtolanError:
    return OrtolanError(f"{job.name} is not built", hint=f"./inv build --target {job.target.name} --model {job.model.name}")


def _work(folder: Path, cache: Cache, scratch: Path, seconds: float) -> bench.Work:
    own = scratch / f"{folder.parent.name}-{folder.name}"
    own.mkdir()
    return bench.work(folder, Store(cache.store), own, seconds)


Found = Iterator[tuple[str, dict[str, Any] | None]]


def _here(job: Job, work: bench.Work, root: Path, cache: Cache, python: str) -> tuple[str, dict[str, Any]]:
    """In the pinned runtime of the fleet's newest version, or in the interpreter that was named."""
    if not python:
        spec = runtime.find(job.runtime(job.target.recipe.runtime.versions[-1]), pick.runtime_folders(root))
        python = str(runtime.ensure(spec, cache.runtimes, print).interpreter)
    return HERE, bench.result(work, HERE, describe.of_this(python), bench.here(Path(python), work))


def _on_devices(works: Sequence[tuple[Job, bench.Work]], devices: Sequence[NamedDevice], emulated: Emulators) -> Found:
    """Each device times what is for its target, one after the other; the devices side by side."""

    def measure(device: NamedDevice, host: Host) -> list[dict[str, Any]]:
        about = describe.of_host(host)
        own = [work for job, work in works if device.target in {"", job.target.name}]
        return [bench.result(work, device.name, about, bench.on_host(host, work)) for work in own]

    for answer in side_by_side(devices, emulated, measure):
        if answer.value is None:
            if len(devices) == 1 and answer.error:
                raise answer.error
            print(f"{answer.device.name}  failed  {answer.error.what if answer.error else ''}", flush=True)
            yield answer.device.name, None
        yield from ((answer.device.name, one) for one in answer.value or ())


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


def _file(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "device"

"""Engines that a device builds from the kit of a build: which, under what names, and why one cannot be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..execute import Result
from ..outputs import tensorrt, tensorrt_rtx
from ..plan import Shipment
from ..sources import Job
from ..stages.lib.kit import build_engine
from ..step import Ref, Source, Step, tree
from .devices import LIBRARIES, Device

_KITS = {build_engine.TENSORRT: tensorrt.kits, build_engine.RTX: tensorrt_rtx.kits}


@dataclass(frozen=True)
class Engine:
    """One engine that was asked for: the ``step`` that builds it on the device, or ``why`` there is none.

    ``mark`` tells devices apart by what an engine depends on, and stands in the names of its files. ``note`` is the compute
    capability of one that is built for a GPU that need not be there. ``elsewhere``: such an engine is built on another device.
    """

    device: Device
    library: str
    provider: str
    note: str
    mark: str
    step: Step | None
    why: str = ""
    elsewhere: bool = False

    @property
    def name(self) -> str:
        """Of its gate."""
        return f"engine{f'@{self.note}' if self.note else ''} {self.device.name}"

    @property
    def file(self) -> str:
        """Its name in the bundle."""
        return f"model-{self.mark}.engine"

    def files(self, result: Result) -> dict[str, Ref]:
        """The files that the bundle gets of it: engine, record, and the timings of kernels, for another build to begin with."""
        if self.step is None or not result.ok:
            return {}
        named = {self.file: "model.engine", f"model-{self.mark}.json": "engine.json", f"timing-{self.mark}.cache": "timing.cache"}
        return {name: self.step[output] for name, output in named.items() if output in result.outputs}

    @property
    def wanted(self) -> dict[str, str]:
        """What the engine must say of itself."""
        version = self.device.about["libraries"][self.library]["version"]
        return {"TensorRT": build_engine.three(version), "device": self.note or _gpu(self.device)}

    @property
    def about(self) -> dict[str, str]:
        """What another device compares with itself before it loads the engine."""
        version, gpu, jetson = (
            self.device.about["libraries"][self.library]["version"],
            self.device.about["gpu"],
            _jetson(self.device),
        )
        if self.library == build_engine.RTX:
            return {"tensorrt_rtx": version, "compute_capability": self.note.upper()}
        found = {
            "tensorrt": build_engine.three(version), "compute_capability": gpu["compute_capability"], "gpu": _gpu(self.device),
            "cuda": gpu["cuda"], "jetson_linux": jetson["linux"], "jetpack": jetson["jetpack"],
        }  # fmt: skip
        return {key: text for key, text in found.items() if text}


def engines(job: Job, ship: Shipment, devices: Sequence[Device], tag: str, limit: float) -> list[Engine]:
    """The engines of what ships, one for each device, or several for GPUs that need not be there."""
    tables = job.target.recipe.outputs.tables()
    found, marks = list[Engine](), set[str]()
    for (key, table), made in zip(tables.items(), ship.made, strict=True):
        for device in devices if key in LIBRARIES else ():
            for note, kit in _KITS[key](job, made, tag).items():
                one = _engine(job, device, key, table.provider, note, kit, limit)
                found.append(_once(one, marks))
    return found


def mark(job: Job, devices: Sequence[Device]) -> str:
    """What a build's tag says of the devices whose engines are in it."""
    wanted = [key for key in LIBRARIES if key in job.target.recipe.outputs.tables()]
    marks = [_mark(one, key, "") for key in wanted for one in devices if not _lacking(job, one, key)]
    return "".join(f"-{each}" for each in dict.fromkeys(marks))


def _once(one: Engine, marks: set[str]) -> Engine:
    """Devices of one mark need one engine."""
    if one.step is None:
        return one
    if one.mark in marks:
        why = "a device of the same GPU and versions builds it"
        return Engine(one.device, one.library, one.provider, one.note, one.mark, None, why, elsewhere=True)
    marks.add(one.mark)
    return one


def _engine(job: Job, device: Device, key: str, provider: str, note: str, kit: Step, limit: float) -> Engine:
    why = _lacking(job, device, key)
    if why:
        return Engine(device, key, provider, note, "", None, why)
    named = Engine(device, key, provider, note, _mark(device, key, note), None)
    read: dict[str, Source] = {"model": kit.inputs["model"], "kit": kit["engine.json"], "script": kit["build_engine.sh"]}
    if key == build_engine.TENSORRT and job.target.timings:
        read["timings"] = tree({job.target.timings.name: job.target.timings}, single=True)
    step = job.step("engine_device", read, device.runtime.name, limit, note=note, file=named.file)
    return Engine(device, key, provider, note, named.mark, step)


def _lacking(job: Job, device: Device, key: str) -> str:
    """Why the device builds no engine, in its own words, with what to do."""
    told, gpu = device.about["libraries"][key], device.about["gpu"]
    if not told["version"]:
        return str(told["why"])
    wanted = getattr(job.target.recipe.outputs.tensorrt, "version", "") if key == build_engine.TENSORRT else ""
    if wanted and told["version"].split(".")[: len(wanted.split("."))] != wanted.split("."):
        return (
            f'its TensorRT is {told["version"]}, and the kit is for {wanted}: [outputs] tensorrt = {{ version = "..." }} names it'
        )
    if key == build_engine.TENSORRT and gpu["why"]:
        return str(gpu["why"])
    return ""


def _mark(device: Device, key: str, note: str) -> str:
    """Like ``orin-nvgpu-sm87-16sms-trt10.3.0-cuda12.6-jp6.2``."""
    version = device.about["libraries"][key]["version"]
    if key == build_engine.RTX:
        return "-".join(filter(None, (note, f"{build_engine.SHORT[key]}{version}")))
    cuda, jetpack = device.about["gpu"]["cuda"], _jetson(device)["jetpack"]
    more = [f"cuda{cuda}" if cuda else "", f"jp{jetpack}" if jetpack else ""]
    return "-".join(filter(None, (_gpu(device), f"{build_engine.SHORT[key]}{build_engine.three(version)}", *more)))


def _gpu(device: Device) -> str:
    told = device.about["gpu"]
    return build_engine.device_text(
        build_engine.Device(told["gpu"], told["compute_capability"], told["multiprocessors"], told["cuda"])
    )


def _jetson(device: Device) -> Mapping[str, str]:
    told: Mapping[str, str] = device.about["jetson"]
    return {key: told[key].partition("-")[0] for key in ("linux", "jetpack")}

"""Devices that a build reaches: what each says of itself, which is part of every key of a step there, and a runtime by that."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import digest
from ..devices import describe
from ..devices.fleet import Emulators, answered
from ..errors import OrtolanError
from ..place import Errand, Host, HostError
from ..place.host import FOLDER, PYTHON
from ..place.reply import FOLDERS, variables
from ..recipe.fleet import NamedDevice
from ..runtime import Runtime, RuntimeSpec
from ..sources import Job
from ..stages.lib.kit import build_engine

LIBRARIES = (build_engine.TENSORRT, build_engine.RTX)
"""What builds engines, by the key in ``[outputs]`` that asks for them."""
_IDENTITY = Path(__file__).parent / "remote" / "identity.py"
_ABOUT = Path(describe.__file__).parent / "remote" / "about.py"
_KIT = Path(build_engine.__file__)
_LIMIT = 300.0


def serves(named: NamedDevice, job: Job) -> bool:
    """Whether a build's files are for a device: all are that are not of another target than the fleet file says."""
    return named.target in {"", job.target.name}


@dataclass(frozen=True)
class Device:
    """A device that answered: ``about`` is what ``remote/identity.py`` prints there."""

    named: NamedDevice
    host: Host = field(hash=False, compare=False)
    about: Mapping[str, Any] = field(hash=False)

    @property
    def name(self) -> str:
        """Its name in the fleet, or what was typed."""
        return self.named.name

    @property
    def version(self) -> str:
        """Of its ONNX Runtime; empty where there is none."""
        return str(self.about["onnxruntime"]["version"])

    @property
    def platform(self) -> str:
        """Like ``linux/arm64``."""
        tables, machine = describe.preflight(), str(self.about["machine"])
        name = tables.ARCHITECTURES.get(machine.lower(), machine)
        narrow = tables.NARROW.get(name, name) if self.about["bits"] == 32 else name
        return f"{str(self.about['kernel']).partition(' ')[0].lower()}/{narrow}"

    @property
    def title(self) -> str:
        """What it is, for people."""
        return str(self.about["board"] or self.about["system"] or self.about["kernel"])

    def serves(self, job: Job) -> bool:
        """Whether a build's files are for it."""
        return serves(self.named, job)

    def problems(self, job: Job) -> list[str]:
        """Why nothing of a job can be checked on it, with what to do."""
        runtime, found = job.target.recipe.runtime, []
        if self.platform != job.target.recipe.platform:
            found.append(f"it is {self.platform}: name a target of that platform")
        if not self.version:
            why, hint = (
                self.about["onnxruntime"]["why"],
                "name the interpreter that has it: --python, or python in recipes/fleet.toml",
            )
            found.append(f"{self.about['python']['path']} has no ONNX Runtime ({why}): {hint}")
        elif self.version not in runtime.versions:
            wanted = " or ".join(runtime.versions)
            found.append(
                f"its ONNX Runtime is {self.version}, and the target names {wanted}: install one of those,"
                f' or add "{self.version}" to [runtime] versions'
            )
        return found

    @property
    def runtime(self) -> DeviceRuntime:
        """Its interpreter and packages, as steps name them."""
        told = {name: one["version"] for name, one in self.about["packages"].items()}
        name = f"onnxruntime-{self.version or 'none'}@{self.name}"
        spec = FoundSpec(name, self.title, "", Path(), digest.of_json("packages", self.about["packages"]), found=told)
        interpreter, python = Path(self.about["python"]["path"]), str(self.about["python"]["version"])
        return DeviceRuntime(spec, interpreter, python, about=self.about)


@dataclass(frozen=True)
class FoundSpec(RuntimeSpec):
    """What a device has installed, which nobody locked; the digest is that of the packages' files."""

    found: Mapping[str, str] = field(default_factory=dict, hash=False)

    def packages(self) -> dict[str, str]:
        """Those that numbers depend on."""
        return dict(self.found)


@dataclass(frozen=True, kw_only=True)
class DeviceRuntime(Runtime):
    """A device's own interpreter. What identifies it is all that the device says of itself: its unit, kernel, packages, GPU."""

    about: Mapping[str, Any] = field(hash=False)

    @property
    def identity(self) -> dict[str, Any]:
        """Another unit or interpreter, a package that was installed anew, a new driver: each is another key."""
        return {**self.about, "platform": f"linux/{self.about['machine']}", "lock": self.spec.lock_digest}

    @property
    def cpu_features(self) -> tuple[str, ...]:
        """The device stands for its features."""
        return (str(self.about["machine"]), str(self.about["processor"]))


@dataclass(frozen=True)
class Absent:
    """One of several devices that did not answer, and ``why``; the others go on. Or one that was not asked."""

    named: NamedDevice
    why: OrtolanError

    @property
    def name(self) -> str:
        """Its name in the fleet."""
        return self.named.name


@contextmanager
def reached(devices: Sequence[NamedDevice], emulators: Emulators) -> Iterator[list[Device | Absent]]:
    """Ask all devices side by side what they are; their connections stand until the end of the block.

    OrtolanError when one does not answer that is the only one, or was named by itself: then nothing is built.
    """

    def ask(named: NamedDevice, host: Host) -> Device:
        return Device(named, host, describe_device(host))

    asked = [one for one in devices if not one.idle]
    with answered(asked, emulators, ask) as answers:
        lone = [one.error for one in answers if one.error and (len(asked) == 1 or not one.device.group)]
        if lone:
            raise lone[0]
        idle = [Absent(one, HostError("it was not asked")) for one in devices if one.idle]
        yield [*(one.value or Absent(one.device, one.error or HostError("it did not answer")) for one in answers), *idle]


def describe_device(host: Host) -> dict[str, Any]:
    """What a device says of itself in the environment that steps have. HostError.

    It is asked of everything, whatever is built: what it says is part of keys, and must not depend on what else a command names.
    """
    errand = Errand(
        command=(PYTHON, "-s", _IDENTITY.name, *LIBRARIES),
        files={path.name: path for path in (_IDENTITY, _ABOUT, _KIT)},
        limit=_LIMIT,
        outputs=("said.json", "log.txt"),
        folders=FOLDERS,
        environment=variables(FOLDER),
        stdout="said.json",
    )
    with tempfile.TemporaryDirectory() as folder:
        ended = host.run(errand, Path(folder))
        said, log = (Path(folder, name).read_text(errors="replace") for name in errand.outputs)
    if ended.late:
        raise HostError(f"it could not say what it is within {_LIMIT:g} s", where=host.address)
    try:
        about: dict[str, Any] = json.loads(said)
        return about | {"onnxruntime": dict(about["onnxruntime"]), "packages": dict(about["packages"])}
    except (ValueError, KeyError, TypeError):
        why = (log.strip().splitlines() or [f"exit code {ended.code}"])[-1]
        raise HostError("it does not say what it is in a form that can be read", where=host.address, why=why) from None

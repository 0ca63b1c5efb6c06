"""``recipes/fleet.toml``: the devices that verbs with ``--host`` reach over ssh, by name and by label."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from .base import Strict
from .explain import Problem
from .load import complain, load
from .nearest import did_you_mean
from .rules import Mistake, check, once

FILE = Path("recipes") / "fleet.toml"
ALL = "all"
EMULATED, MACHINE = "emulated", "arm64"
"""The host that is no device, but a 64-bit ARM emulated on this machine."""
HERE = "this-machine"
"""What results of this machine are called."""
PYTHON = "python3"
_NAME = re.compile(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*")
_HOST = re.compile(r"[^-\s\0][^\s\0]*")


class Device(Strict):
    """``[device.<name>]``: one device."""

    host: str = Field(
        description="as ssh takes it: user@name, or a name of your ssh configuration; or emulated",
        json_schema_extra={"pattern": f"^{_HOST.pattern}$"},
    )
    target: str = Field(description="what it is: a file of recipes/targets")
    labels: list[str] = Field(default=[], description="names that several devices share: --host lab reaches all of them")
    python: str = Field(
        default=PYTHON,
        description="its interpreter with ONNX Runtime, by name or path; ~/ is its home folder; of an emulated one its runtime",
    )

    @field_validator("host")
    @classmethod
    def _address(cls, given: str) -> str:
        if not _HOST.fullmatch(given):
            check([Mistake((), f"{given!r} is not a host", 'Write it as ssh takes it: "pi@pi5".')])
        return given

    @field_validator("labels")
    @classmethod
    def _labels(cls, given: list[str]) -> list[str]:
        check(once(given, "the label"))
        check(Mistake((index,), *wrong) for index, one in enumerate(given) if (wrong := _wrong_name(one)))
        return given

    @field_validator("python")
    @classmethod
    def _named(cls, given: str) -> str:
        if not given.strip() or given.startswith("-") or "\0" in given or "\n" in given:
            check([Mistake((), f"{given!r} is not an interpreter", 'Write its name or path: "~/venv/bin/python".')])
        return given


class Fleet(Strict):
    """Devices that verbs reach by name, by label, or all together: ``recipes/fleet.toml``."""

    device: dict[str, Device] = Field(
        default={}, description="the devices by name", json_schema_extra={"propertyNames": {"pattern": f"^(?:{_NAME.pattern})$"}}
    )

    @model_validator(mode="after")
    def _distinct(self) -> Fleet:
        labels = {label for one in self.device.values() for label in one.labels}
        wrong = [Mistake(("device", name), *found) for name in self.device if (found := _wrong_name(name))]
        taken = [name for name in self.device if name in labels]
        check([*wrong, *(Mistake(("device", name), f"{name} is also a label", "Rename one.") for name in taken)])
        return self


def _wrong_name(name: str) -> tuple[str, str] | None:
    if name == ALL:
        return f'"{ALL}" means every device', "Choose another name."
    if name == EMULATED:
        return f'"{EMULATED}" means the ARM that this machine emulates', "Choose another name."
    if name == HERE:
        return f'"{HERE}" is what results of this machine are called', "Choose another name."
    if not _NAME.fullmatch(name):
        return f"{name!r} is not a name", "Letters and digits, with single dots, dashes or underscores between."
    return None


@dataclass(frozen=True)
class NamedDevice:
    """A device to reach: its name in the fleet (or what was typed), and the target that it is, where that is known.

    ``group``: it is one of several that a word means, and stops no other. ``idle``: nothing is for it, and it is not asked.
    ``meant`` asks whether a host was a slip of a name.
    """

    name: str
    host: str
    python: str = PYTHON
    target: str = ""
    group: bool = False
    idle: bool = False
    meant: str = ""

    @property
    def machine(self) -> str:
        """The machine that is emulated for it; empty for a device."""
        word, _, machine = self.host.partition(":")
        return (machine or MACHINE) if word == EMULATED else ""


def load_fleet(root: Path, targets: list[str]) -> Fleet:
    """The fleet of a project; an empty one without the file. RecipeError, also for a device whose target is not there."""
    path = root / FILE
    if not path.exists():
        return Fleet()
    fleet = load(path, Fleet)
    problems = [
        Problem(("device", name, "target"), f"no target is named {one.target!r}", _near(one.target, targets))
        for name, one in fleet.device.items()
        if one.target not in targets
    ]
    if problems:
        raise complain(path, problems)
    return fleet


def _near(name: str, known: list[str]) -> str:
    return did_you_mean(name, known) or f"There are: {', '.join(known) or 'none'}."


def chosen(fleet: Fleet, word: str) -> list[NamedDevice]:
    """The devices that a word of the command line means: ``all``, a device, a label, else the host of that name."""
    named = {name: NamedDevice(name, one.host, one.python, one.target) for name, one in fleet.device.items()}
    if word in named:
        return [named[word]]
    found = [replace(named[name], group=True) for name, one in fleet.device.items() if word == ALL or word in one.labels]
    known = [*fleet.device, *{label for one in fleet.device.values() for label in one.labels}]
    return found or [NamedDevice(word, word, meant=did_you_mean(word, known))]

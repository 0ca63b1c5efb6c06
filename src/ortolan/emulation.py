"""What ships for 64-bit ARM Linux, checked on an emulated one where this machine can: which steps, and what became of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .artifact import Gate, Outcome
from .elsewhere import check
from .errors import OrtolanError, RuntimeSetupError
from .execute import Results
from .gates.emulated import emulated as judged
from .gates.emulated import summed_up
from .outputs.made import unseen
from .plan import Shipment
from .platforms import host_platform
from .runtime import Runtime, apt, rootfs
from .runtime import emulated as runtimes
from .sources import Job
from .step import Step

PLATFORM, MACHINE = "linux/arm64", "arm64"
LIMIT = 300.0
"""Seconds that a check may take: a model for which that is not enough is not one for emulation."""
UNREACHED = ("apt-get failed", "uv failed")
"""What reasons say that may be gone at the next try."""


@dataclass(frozen=True)
class Emulation:
    """The runtimes that can be emulated here, by name, and why others cannot."""

    made: Mapping[str, Runtime] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)

    def checks(self, job: Job, ship: Shipment) -> dict[str, Step]:
        """The steps that check what ships in each version of the fleet that can be emulated."""
        if not wanted(job):
            return {}
        there = {version: name for version, name in _names(job).items() if name in self.made}
        return {version: check(job, ship.verify[version], name, LIMIT) for version, name in there.items()}

    def judged(self, job: Job, gates: Sequence[Gate], checks: Mapping[str, Step], results: Results, precision: str) -> list[Gate]:
        """The gates of what ships with those of the emulated ARM before ``on-device``, which tells of both."""
        found = {version: judged(job, version, results[step.id], precision) for version, step in checks.items()}
        lacking = {version: why for version, name in _names(job).items() if wanted(job) and (why := self.missing.get(name))}
        if not found:
            return summed_up(gates, [], next(iter(lacking.values()), ""))
        more = [gate for several in found.values() for gate in several]
        more += [unseen(f"load@{version} {MACHINE}", why) for version, why in lacking.items()]
        seen = [version for version, several in found.items() if several[0].outcome is Outcome.PASS]
        why = next(iter(lacking.values()), "") or next((_unseen(several[0]) for several in found.values()), "")
        told = summed_up(gates, seen, why)
        return [*told[:-1], *more, told[-1]]


def wanted(job: Job) -> bool:
    """Whether a job is for another machine than this one, of the kind that is emulated."""
    return job.target.recipe.platform == PLATFORM != host_platform()


def prepare(jobs: Iterable[Job], folders: Sequence[Path], cache: Path, say: Callable[[str], object]) -> Emulation:
    """Make the emulated runtimes that jobs would be checked in; what cannot be made is a reason, no error."""
    names = sorted({name for job in jobs if wanted(job) for name in _names(job).values()})
    if not names:
        return Emulation()
    try:
        machine = rootfs.find(MACHINE, folders)
        machine.emulator()
        rootfs.ensure(machine, cache, say)
    except RuntimeSetupError as error:
        return Emulation(missing=dict.fromkeys(names, _words(error)))
    made, missing = dict[str, Runtime](), dict[str, str]()
    for name in names:
        try:
            made[name] = runtimes.ensure(name, folders, cache, say)
        except RuntimeSetupError as error:
            missing[name] = _words(error)
    return Emulation(made, missing)


def unreached(gates: Iterable[Gate]) -> bool:
    """Whether something could not be fetched, which the next try may."""
    return any(words in gate.why for gate in gates for words in UNREACHED)


def looks_for(folders: Sequence[Path]) -> set[Path]:
    """The files of this machine that decide whether an ARM can be emulated here."""
    try:
        machine = rootfs.find(MACHINE, folders)
    except RuntimeSetupError:
        return set()
    return {Path("/usr/bin") / name for name in (*machine.emulators, *apt.PROGRAMS)} | {Path(machine.keyring)}


def _names(job: Job) -> dict[str, str]:
    """The emulated runtime of each version of the fleet."""
    return {version: f"{job.runtime(version)}{runtimes.AT}{MACHINE}" for version in job.target.recipe.runtime.versions}


def _unseen(load: Gate) -> str:
    """Why a version shows nothing, of the gate of its loading."""
    return load.why if load.outcome is Outcome.NOT_RUN else f"see {load.name}"


def _words(error: OrtolanError) -> str:
    """An error on one line."""
    why = " ".join(error.why.split())
    return f"{error.what}{f': {why}' if why else ''}{f'; {error.hint}' if error.hint else ''}"

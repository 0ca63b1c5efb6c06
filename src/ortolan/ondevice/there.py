"""What devices add to a build: steps that check what ships, engines, and the gates of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..artifact import Gate, Outcome, Precision
from ..elsewhere import check
from ..execute import Executor, Results
from ..gates import device as judge
from ..outputs.made import Made, gate, unseen
from ..place import Ssh
from ..plan import Shipment
from ..recipe.fleet import NamedDevice
from ..sources import Job
from ..step import Step
from .devices import Absent, Device, serves
from .engines import Engine, engines, mark


@dataclass(frozen=True)
class Visit:
    """What is done on one device for one job: the ``check`` of what ships, unless ``problems`` speak against the device."""

    device: Device
    problems: Sequence[str]
    check: Step | None


@dataclass(frozen=True)
class There:
    """The devices of a build, those that did not answer among them; ``limit``: seconds that a step may take on one."""

    every: Sequence[Device | Absent] = ()
    limit: float = 1800.0

    @property
    def devices(self) -> list[Device]:
        """Those that answered."""
        return [one for one in self.every if isinstance(one, Device)]

    def joined(self, executor: Executor) -> None:
        """Let an executor run steps on the devices."""
        executor.runtimes = {**executor.runtimes, **{one.runtime.name: one.runtime for one in self.devices}}
        executor.places = {**executor.places, **{one.runtime.name: Ssh(one.host) for one in self.devices}}

    def mark(self, job: Job) -> str:
        """What the tag says of the devices whose engines the build has."""
        return mark(job, self._fitting(job))

    def plan(self, job: Job, ship: Shipment, tag: str) -> Visits:
        """What is to be done on all of them."""
        visits = [Visit(one, one.problems(job), None) for one in self.devices if one.serves(job)]
        checks = [replace(one, check=None if one.problems else self._check(job, ship, one.device)) for one in visits]
        others = [one.named for one in self.every if not serves(one.named, job)]
        absent = [one for one in self.every if isinstance(one, Absent) and serves(one.named, job)]
        return Visits(checks, engines(job, ship, self._fitting(job), tag, self.limit), others, absent)

    def with_engines(self, job: Job, ship: Shipment, tag: str, results: Results) -> Shipment:
        """What ships, with the engines that devices built among the files of the outputs that asked for them."""
        built = [one for one in self.plan(job, ship, tag).engines if one.step and results[one.step.id].ok]
        if not built:
            return ship
        pairs = zip(job.target.recipe.outputs.tables(), ship.made, strict=True)
        made = [_with(each, [one for one in built if one.library == key], results) for key, each in pairs]
        return replace(ship, made=made, files={**ship.files, **{name: ref for each in made for name, ref in each.files.items()}})

    def _check(self, job: Job, ship: Shipment, device: Device) -> Step:
        return check(job, ship.verify[device.version], device.runtime.name, self.limit)

    def _fitting(self, job: Job) -> list[Device]:
        return [one for one in self.devices if one.serves(job) and not one.problems(job)]


@dataclass(frozen=True)
class Visits:
    """What is to be done on devices for one job.

    ``others`` are of another target, and ``absent`` ones did not answer, which is said of them.
    """

    visits: Sequence[Visit]
    engines: Sequence[Engine]
    others: Sequence[NamedDevice] = ()
    absent: Sequence[Absent] = ()

    def steps(self) -> list[Step]:
        """All of them."""
        return [step for step in (*(one.check for one in self.visits), *(one.step for one in self.engines)) if step]

    def judged(self, job: Job, gates: Sequence[Gate], results: Results, precision: Precision) -> list[Gate]:
        """The gates of what ships with those of the devices before ``on-device``, which tells of them."""
        if not (self.visits or self.others or self.absent):
            return list(gates)
        more = [found for one in self.visits for found in _visited(one, job, results, precision)]
        more += [judge.absent(one.name, job, one.why) for one in self.absent]
        more += [judge.of_another(one.name, one.target, job) for one in self.others]
        seen = [one.device for one in self.visits if not one.device.named.machine and not _failed(more, one.device)]
        unfit = "; ".join(
            [
                *(f"{one.device.name} does not fit: see its gate" for one in self.visits if one.problems),
                *(f"{one.name} did not answer: see its gate" for one in self.absent),
            ]
        )
        gates = [replace(one, why=unfit) if one.name == "engine" and unfit else one for one in gates]
        told = judge.summed_up(gates, [f"{one.title} ({one.name}, onnxruntime {one.version})" for one in seen])
        kept = [one for one in told if one.name != "engine" or not self.engines]
        last = [one for one in kept if one.name == judge.ON_DEVICE]
        return [*(one for one in kept if one not in last), *more, *(_engine(one, results) for one in self.engines), *last]


def _with(made: Made, built: Sequence[Engine], results: Results) -> Made:
    """An output with engines of its kit, which say of themselves what a device compares."""
    files = {name: ref for one in built if one.step for name, ref in one.files(results[one.step.id]).items()}
    said = {one.file: one.about for one in built}
    return replace(made, files={**made.files, **files}, about=lambda facts: {**made.about(facts), **said})


def _visited(one: Visit, job: Job, results: Results, precision: Precision) -> list[Gate]:
    device = one.device
    measured = (
        f"{device.title}: {device.platform}, onnxruntime {device.version or 'none'}, Python {device.about['python']['version']}"
    )
    gates = [judge.fits(device.name, job, measured, one.problems)]
    if one.check:
        gates += judge.checked(device.name, device.title, job, device.version, results[one.check.id], precision)
    return gates


def _failed(gates: Sequence[Gate], device: Device) -> bool:
    """Whether a gate of this device did not pass; that a provider is not there is told by its own."""
    own = [one for one in gates if one.name.endswith(f" {device.name}") and not one.name.startswith("providers@")]
    return any(one.outcome is not Outcome.PASS for one in own)


def _engine(one: Engine, results: Results) -> Gate:
    if one.step is None:
        return (
            unseen(one.name, one.why)
            if one.elsewhere
            else gate(one.name, good=False, measured="not built", limit="built there", why=one.why)
        )
    told = one.device.about["gpu"]
    gpu = f"{told['gpu']}, compute capability {told['compute_capability']}" if told["gpu"] and not one.note else one.note
    return judge.built(one.name, gpu, one.wanted, results[one.step.id])

"""The way through: recipes → plan → execute → gates → files. One build of any number of models for one target or more."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from . import carried, digest, gates, plan, runtime, shipped
from .artifact import Artifact, Gate, Outcome, Precision
from .assemble import assemble
from .cache import Cache
from .carried import Checks, Misfits
from .devices.fleet import Emulators
from .disk import json_bytes, sweep, write_json
from .emulation import Emulation, prepare
from .errors import OrtolanError
from .events import Emit, Event
from .execute import Executor, Results
from .manifest import NAME, Manifest
from .ondevice import There, reached
from .outputs.reduced_runtime import LIBRARY
from .package import find_templates, image_locks, pack
from .plan import Candidates, Shipment
from .platforms import host_platform
from .recipe.fleet import NamedDevice
from .record import About, describe
from .recover import settle
from .runtime import Runtime
from .sandbox import sweep as sweep_work
from .sources import Job
from .step import Ref, Step, in_order
from .store import Store

MEASUREMENTS = "measurements.json"
"""The timings of a build, which its manifest leaves out: they differ between equal builds."""


@dataclass(frozen=True)
class Options:
    """Where a build keeps things and how wide it runs.

    ``runtimes`` and ``templates`` are the folders with runtime descriptions and with kinds of templates, nearest first.
    ``emulation``: what ships for 64-bit ARM is checked on an emulated one, where that can be. ``misfits``: who compares what a
    model needs with what a reduced runtime was built for. ``devices``: those on which what ships is checked, and which build
    their engines; ``device_limit``: seconds that a step may take there.
    """

    cache: Cache
    output: Path
    runtimes: Sequence[Path]
    templates: Sequence[Path] = ()
    jobs: int = 0
    emulation: bool = False
    misfits: Misfits | None = None
    devices: Sequence[NamedDevice] = ()
    device_limit: float = 1800.0


@dataclass(frozen=True)
class Built:
    """How one job ended: the folder with its files, or the errors and gates that stopped it; ``hashed`` is the model hash."""

    job: Job
    tag: str = ""
    precision: str = ""
    folder: Path | None = None
    gates: Sequence[Gate] = ()
    errors: Sequence[OrtolanError] = ()
    steps: Mapping[str, str] = field(default_factory=dict)
    hashed: str = ""

    @property
    def ok(self) -> bool:
        """Whether its files were put in place."""
        return self.folder is not None


@dataclass(frozen=True)
class _Chosen:
    """A job between its two halves; ``lacks``: what the reduced runtime of its target was not built for, None: not looked at."""

    job: Job
    found: Candidates
    gates: Sequence[Gate]
    precision: Precision
    reason: str
    hashed: str
    emulation: Emulation
    there: There
    lacks: Sequence[str] | None = None

    @property
    def tag(self) -> str:
        return plan.tag_of(self.job, self.hashed) + self.there.mark(self.job)


def build(jobs: Sequence[Job], options: Options, emit: Emit) -> list[Built]:
    """Build every job; one that fails does not stop the others. Nothing is put in place for a job that fails.

    OrtolanError before anything is built when a device does not answer.
    """
    _know_templates(jobs, options)

    def say(text: str) -> None:
        emit(Event("runtime", text=text))

    with reached(options.devices, Emulators(options.runtimes, options.cache.runtimes, say)) as devices:
        return _build(jobs, options, emit, There(devices, options.device_limit))


def _build(jobs: Sequence[Job], options: Options, emit: Emit, there: There) -> list[Built]:
    executor = executor_for(jobs, options, emit)
    there.joined(executor)
    arm = emulated(jobs, options, executor)
    found = {index: plan.candidates(job, host=host_platform()) for index, job in enumerate(jobs)}
    results = executor.run(one.normalise for one in found.values())
    found = {index: plan.as_given(one) if gates.comes_quantised(one, results) else one for index, one in found.items()}
    results = executor.run((step for one in found.values() for step in one.steps()), results)
    for index, one in found.items():
        settled = settle(jobs[index], one, results, executor.run, host_platform())
        found[index], results = settled.found, executor.run(settled.found.steps(), settled.results)
    halves = [_choose(jobs[index], one, results, arm, there) for index, one in found.items()]
    halves, results = _fitting(halves, results, executor, options)
    chosen = [half for half in halves if isinstance(half, _Chosen)]
    ships = [plan.shipment(c.job, c.found, c.precision, c.tag, c.hashed) for c in chosen]
    checks = [step for c, ship in zip(chosen, ships, strict=True) for step in arm.checks(c.job, ship).values()]
    checks += [step for c, ship in zip(chosen, ships, strict=True) for step in there.plan(c.job, ship, c.tag).steps()]
    results |= executor.run([*(step for ship in ships for step in ship.steps()), *checks])
    ships = [there.with_engines(c.job, ship, c.tag, results) for c, ship in zip(chosen, ships, strict=True)]
    with tempfile.TemporaryDirectory(prefix="ortolan-") as folder:
        proofs = [_proof(c, ship, results, executor, options, Path(folder)) for c, ship in zip(chosen, ships, strict=True)]
        results |= executor.run([step for proof in proofs if proof for step in proof.steps()], results) if any(proofs) else {}
        placed = {
            id(c): _ship(c, ship, proof, results, executor, options) for c, ship, proof in zip(chosen, ships, proofs, strict=True)
        }
    ended = [placed.get(id(half), half) for half in halves]
    return [_told(_located(one, executor, found[index]), options) for index, one in enumerate(ended) if isinstance(one, Built)]


def _know_templates(jobs: Sequence[Job], options: Options) -> None:
    """Before anything runs, OrtolanError for templates, and for locks of images, that are not there."""
    for kind in dict.fromkeys(kind for job in jobs for kind in job.target.recipe.outputs.templates()):
        find_templates(kind, options.templates)
    for name in dict.fromkeys(name for job in jobs for name in image_locks(job.target.recipe)):
        runtime.find(name, options.runtimes)


def executor_for(
    jobs: Sequence[Job], options: Options, emit: Emit, runtimes: Callable[[Job], Iterable[str]] = plan.runtimes
) -> Executor:
    """An executor with the store and every runtime that the jobs need, made where missing; ``runtimes`` says which."""
    sweep_work(options.cache.work)
    for job in jobs:
        sweep(options.output / job.target.name)
    names = sorted({name for job in jobs for name in runtimes(job)})
    return Executor(Store(options.cache.store), _runtimes(names, options, emit), options.cache.work, emit, options.jobs)


def emulated(jobs: Sequence[Job], options: Options, executor: Executor) -> Emulation:
    """What can be emulated of what the jobs want, where the options want it; the executor gets the runtimes."""

    def say(text: str) -> None:
        executor.emit(Event("runtime", text=text))

    found = prepare(jobs, options.runtimes, options.cache.runtimes, say) if options.emulation else Emulation()
    executor.runtimes = {**executor.runtimes, **found.made}
    return found


def _runtimes(names: Sequence[str], options: Options, emit: Emit) -> dict[str, Runtime]:
    specs = [runtime.find(name, options.runtimes) for name in names]  # all are known before the first is made

    def say(text: str) -> None:
        emit(Event("runtime", text=text))

    return {spec.name: runtime.ensure(spec, options.cache.runtimes, say) for spec in specs}


def _choose(job: Job, found: Candidates, results: Results, arm: Emulation, there: There) -> _Chosen | Built:
    """Judge the candidates; the precision that ships, or what stops the build."""
    errors = failures(found.steps(), results, gates.tolerated(found, results))
    if errors:
        return Built(job, errors=errors, steps=_keys(found.steps(), results))
    hashed = results[found.normalise.id].output("model.onnx").digest
    judged = gates.waive(job, gates.candidates(job, found, results), hashed)
    precision, reason = gates.choose(job, judged)
    if gates.stopping(judged, precision, job):
        return Built(job, plan.tag_of(job, hashed), gates=judged, steps=_keys(found.steps(), results), hashed=hashed)
    return _Chosen(job, found, judged, precision, reason, hashed, arm, there)


def _fitting(
    halves: Sequence[_Chosen | Built], results: Results, executor: Executor, options: Options
) -> tuple[list[_Chosen | Built], Results]:
    """The jobs, those without their reduced runtime that need what it was not built for: they ship as if there were none."""
    carry = [half for half in halves if isinstance(half, _Chosen) and half.job.library]
    if not carry or options.misfits is None:
        return list(halves), results
    ships = {id(c): plan.shipment(c.job, c.found, c.precision, c.tag, c.hashed) for c in carry}
    results = executor.run([step for ship in ships.values() for step in carried.converted(ship)], results)
    fitted = {id(c): _fitted(c, ships[id(c)], results, executor, options.misfits) for c in carry}
    return [fitted.get(id(half), half) for half in halves], results


def _fitted(chosen: _Chosen, ship: Shipment, results: Results, executor: Executor, misfits: Misfits) -> _Chosen:
    if failures(carried.converted(ship), results, set()):
        return chosen
    lacks = carried.lacks(chosen.job, ship, partial(_fetched, executor, results), misfits)
    return replace(chosen, job=carried.without(chosen.job) if lacks else chosen.job, lacks=lacks)


def _proof(
    chosen: _Chosen, ship: Shipment, results: Results, executor: Executor, options: Options, scratch: Path
) -> Checks | None:
    """How the reduced runtime is checked by the build's own C program; None where the build carries none."""
    if LIBRARY not in ship.files or failures(ship.steps(), results, set()):
        return None
    artifacts = list(shipped.artifacts(ship, results, executor))
    described = describe(chosen.job, _all_about(chosen, ship, artifacts, [], results), ship.steps(), results, executor)
    try:
        return carried.checks(chosen.job, ship, described, options.templates, chosen.emulation, scratch)
    except OrtolanError as error:  # a template that cannot be rendered
        return Checks(unrun=str(error), untimed=str(error))


def _ship(chosen: _Chosen, ship: Shipment, proof: Checks | None, results: Results, executor: Executor, options: Options) -> Built:
    """Judge what would ship and put it in place when every gate lets it."""
    job, checks = chosen.job, chosen.emulation.checks(chosen.job, ship)
    visits = chosen.there.plan(job, ship, chosen.tag)
    steps = (*chosen.found.steps(), *ship.steps(), *checks.values(), *visits.steps(), *(proof.steps() if proof else ()))
    keys = _keys(steps, results)
    errors = failures(ship.steps(), results, set())
    if errors:
        return Built(job, gates=chosen.gates, errors=errors, steps=keys)
    artifacts = shipped.artifacts(ship, results, executor)
    ships = gates.shipped(job, ship, list(artifacts), results, chosen.precision)
    ships = carried.judged(job, ships, proof, results, chosen.lacks)
    ships = chosen.emulation.judged(job, ships, checks, results, chosen.precision)
    ships = visits.judged(job, ships, results, chosen.precision)
    judged = [*chosen.gates, *gates.waive(job, ships, chosen.hashed)]
    if gates.stopping(judged, chosen.precision, job):
        return Built(job, chosen.tag, chosen.precision, gates=judged, steps=keys, hashed=chosen.hashed)
    about = _all_about(chosen, ship, list(artifacts), judged, results)
    folder = options.output / job.target.name / chosen.tag
    try:
        described = describe(job, about, steps, results, executor)
        packed = pack(described, job.target.recipe.outputs, options.templates, options.runtimes)
    except OrtolanError as error:  # a template that cannot be rendered
        return Built(job, chosen.tag, chosen.precision, gates=judged, errors=[error], steps=keys)
    assemble(folder, artifacts, packed.files | _beside(packed.manifest, judged))
    return Built(job, chosen.tag, chosen.precision, folder, judged, steps=keys, hashed=chosen.hashed)


def _all_about(chosen: _Chosen, ship: Shipment, artifacts: Sequence[Artifact], judged: Sequence[Gate], results: Results) -> About:
    session, golden, loads = results[ship.session.id].facts, results[ship.golden.id].facts, shipped.loads(chosen.job, ship)
    return About(chosen.tag, chosen.precision, chosen.reason, chosen.hashed, artifacts, judged, session, golden, loads)


def _beside(manifest: Manifest, judged: Sequence[Gate]) -> dict[str, bytes]:
    """The files beside the artifacts: the manifest, and the timings that it leaves out."""
    timings = {gate.name: {"measured": gate.measured, "limit": gate.limit, "why": gate.why} for gate in judged if gate.varies}
    return {NAME: manifest.to_bytes()} | ({MEASUREMENTS: json_bytes(timings)} if timings else {})


def _fetched(executor: Executor, results: Results, ref: Ref, to: Path) -> None:
    executor.fetch(ref, to, results)


def _located(built: Built, executor: Executor, found: Candidates) -> Built:
    """Where parity failed: run the steps that name the first diverging tensor and add it to the gate's reason."""
    failed = [g for g in built.gates if g.name.startswith("parity@") and g.subject == "fp32" and g.outcome is Outcome.FAIL]
    version = next((v for g in failed if (v := g.name.partition("@")[2]) in found.verify), None)
    if version is None:
        return built
    step = plan.diagnosis(built.job, found, version)
    results = executor.run([step])
    named = gates.diverging(results[step.id])
    more = [gates.because(g, named) if g in failed else g for g in built.gates]
    return replace(built, gates=more)


def record_path(output: Path, job: Job) -> Path:
    """Where the record of a job's last build is."""
    return record_at(output, job.target.name, job.model.name)


def record_at(output: Path, target: str, model: str) -> Path:
    """The same by names."""
    return output / target / f"{model}.json"


def _told(built: Built, options: Options) -> Built:
    """Keep how the last build of this model for this target ended, for ``why`` and for other programs."""
    path = record_path(options.output, built.job)
    record: dict[str, Any] = {
        "tag": built.tag,
        "model_hash": built.hashed,
        "ok": built.ok,
        "manifest": digest.of_file(built.folder / NAME) if built.folder else "",
        "precision": built.precision,
        "gates": [asdict(gate) for gate in built.gates],
        "steps": dict(built.steps),
        "limits": built.job.limits(),
    }
    write_json(path, record | {"errors": [str(error) for error in built.errors]})
    return built


def failures(steps: Sequence[Step], results: Results, tolerated: set[str]) -> list[OrtolanError]:
    """What stops a job: crashes and refusals, each once; not the steps that were only skipped because of them."""
    culprits: dict[str, OrtolanError] = {}
    for step in steps:
        result = results[step.id]
        cause = results[result.skipped.id] if result.skipped else result
        if cause.error:
            culprits[cause.step.id] = cause.error
        elif cause.refused and cause.step.id not in tolerated:
            culprits[cause.step.id] = OrtolanError(
                cause.refused["what"], where=cause.step.label, why=cause.refused["why"], hint=cause.refused["hint"]
            )
    return list(culprits.values())


def _keys(steps: Sequence[Step], results: Results) -> dict[str, str]:
    from_all = in_order(steps)
    return {s.label: action.key for s in from_all if (result := results.get(s.id)) and (action := result.action)}

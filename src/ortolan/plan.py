"""model x target unrolled into a graph of steps. Pure: no store, no clock, no disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from . import coverage, digest, origins, outputs, quantising
from .artifact import FP32, Precision
from .outputs import Made, Shipping
from .outputs.reduced_runtime import LIBRARY
from .quantising import Base, Lowered, Recovery
from .sources import TOOLS, Job
from .step import Ref, Source, Step


@dataclass(frozen=True)
class Candidates:
    """The steps that make and judge what could ship: a float model and, where the recipe wants one, a model of fewer bits.

    ``fixed`` is the float model: ``shaped``, with its axes fixed, or what was fused of it. ``edges`` are checks at the ends of
    the target's profiles, by sizes in words and version. ``calibrate`` and what follows are of the second; ``coverage`` only
    where the target has limits for it; ``sensitivity`` and ``recovery`` only after a search for layers to leave in float.
    """

    imported: Step
    normalise: Step
    prepared: Step
    shaped: Step
    fixed: Step
    check: Step
    samples: Step
    reference: Step
    verify: Mapping[str, Step]
    edges: Mapping[tuple[str, str], Step] = field(default_factory=dict)
    calibrate: Step | None = None
    quantise: Step | None = None
    verify_int8: Mapping[str, Step] | None = None
    evaluate: Step | None = None
    latency: Step | None = None
    coverage: Step | None = None
    lowered: Lowered | None = None
    sensitivity: Step | None = None
    recovery: Recovery | None = None

    @property
    def fused(self) -> Step | None:
        """The step that fused the float model, if one did."""
        return None if self.fixed is self.shaped else self.fixed

    def steps(self) -> tuple[Step, ...]:
        """All of them."""
        alone = (
            self.check,
            self.fixed,
            self.reference,
            self.calibrate,
            self.quantise,
            self.evaluate,
            self.latency,
            self.coverage,
            self.sensitivity,
        )
        many = (*self.verify.values(), *self.edges.values(), *(self.verify_int8 or {}).values())
        return tuple(step for step in (*alone, *many) if step)


@dataclass(frozen=True)
class Shipment:
    """The steps that make and judge the files that ship, once it is known which candidate does."""

    files: Mapping[str, Ref]
    verify: Mapping[str, Step]
    made: Sequence[Made]
    coverage: Step
    session: Step
    golden: Step

    def steps(self) -> tuple[Step, ...]:
        """All of them."""
        engines = (step for one in self.made for step in one.steps.values())
        return (*dict.fromkeys(ref.step for ref in self.files.values()), *engines, *self.verify.values(), self.coverage)


def tag_of(job: Job, hashed: str) -> str:
    """``<model>-<hash12>-opset<N>-ort<X.Y.Z>``: the model hash is the digest of the normalised model, the version the oldest.

    Behind it stands what engines are built for: ``-sm86-sm89``; and of a reduced runtime the digest: ``-rt0123abcd``.
    """
    fleet = job.target.recipe.runtime
    marks = [f"-{table.mark}" for table in job.target.recipe.outputs.tables().values() if table.mark]
    marks += [f"-rt{digest.short(job.library.files[LIBRARY], 8)}"] if job.library else []
    return f"{job.model.name}-{digest.short(hashed)}-opset{fleet.opset}-ort{job.oldest}{''.join(marks)}"


def runtimes(job: Job) -> list[str]:
    """The runtimes that a job's steps run in."""
    pinned = {job.runtime(version) for version in job.target.recipe.runtime.versions}
    return sorted({origins.runtime(job), TOOLS, *pinned, *coverage.runtimes(job), *outputs.runtimes(job)})


def candidates(job: Job, *, host: str) -> Candidates:
    """The graph up to the choice between float and INT8. ``host`` is this machine's platform, like ``linux/amd64``."""
    imported = origins.load(job)
    normalise = job.step("normalise", {"model": imported["model.onnx"]}, opset=job.target.recipe.runtime.opset)
    samples = _samples(job, normalise, job.target.recipe.examples)
    reference = origins.reference(job, imported, samples)
    prepared = job.step("preprocess", {"model": normalise["model.onnx"]})
    shaped = job.step("fix_shapes", {"model": prepared["model.onnx"]}, shapes=job.target.recipe.sizes)
    fixed = _fused(job, shaped)
    check = job.step("check_model", {"model": fixed["model.onnx"]})
    verify = _verify_all(job, _compared(fixed, samples, reference), "fp32")
    edges = _edges(job, imported, normalise, fixed)
    plain = Candidates(imported, normalise, prepared, shaped, fixed, check, samples, reference, verify, edges)
    return with_candidate(job, plain, host)


def _fused(job: Job, shaped: Step) -> Step:
    """The step that leaves the float model: fused where the model's recipe asks for it on this target.

    Last of all: operators of ONNX Runtime's own have no shapes for ONNX's inference, and the ranges of a fused model's tensors
    are those that they had before.
    """
    wanted = job.model.recipe.optimise
    if wanted is None or not wanted.fits(job.target.name):
        return shaped
    read: dict[str, Source] = {"model": shaped["model.onnx"]}
    return job.step("fuse", read, family=wanted.fusion, heads=wanted.heads, hidden=wanted.hidden)


def _compared(model: Step, samples: Step, reference: Step) -> dict[str, Source]:
    """What a step reads that compares a model with the framework."""
    return {"model": model["model.onnx"], "samples": samples["samples.npz"], "expected": reference["outputs.npz"]}


def _edges(job: Job, imported: Step, normalise: Step, fixed: Step) -> dict[tuple[str, str], Step]:
    """The float model at the least and the most of its profiles: a size that was baked in shows there."""
    recipe, found = job.target.recipe, dict[tuple[str, str], Step]()
    for end in ("min", "max"):
        sizes = {axis: profile[end] for axis, profile in recipe.profiles.items()}
        if sizes and recipe.examples | sizes != recipe.examples:
            samples = _samples(job, normalise, recipe.examples | sizes)
            read = _compared(fixed, samples, origins.reference(job, imported, samples))
            words = ", ".join(f"{axis} {size}" for axis, size in sizes.items())
            found |= {(words, version): step for version, step in _verify_all(job, read, f"fp32 {words}").items()}
    return found


def base(found: Candidates) -> Base:
    """What a candidate of fewer bits is made of."""
    return Base(
        found.prepared["model.onnx"], found.fixed["model.onnx"], found.samples["samples.npz"], found.reference["outputs.npz"]
    )


def with_candidate(job: Job, plain: Candidates, host: str, left: Sequence[str] = (), note: str = "") -> Candidates:
    """The graph with the candidate of fewer bits that the recipes want, with these nodes left in float beside theirs.

    ``note`` tells steps of a search from each other.
    """
    made = quantising.lowered(job, base(plain), left, note)
    if made is None:
        return plain
    read: dict[str, Source] = {"model": made.model, "samples": made.samples, "expected": made.expected}
    return replace(
        plain,
        lowered=made,
        calibrate=made.calibrate,
        quantise=made.quantise,
        verify_int8=_verify_all(job, read, job.target.recipe.quantize.precision),
        evaluate=_evaluate(job, plain, made.model, note),
        latency=_latency(job, plain, made.model) if job.runs_on(host) else None,
        coverage=coverage.plan(job, made.model, made.samples, {}) if job.target.recipe.gates.on_coverage else None,
    )


def as_given(found: Candidates) -> Candidates:
    """The float candidate alone, for a model that comes quantised: it is not quantised again."""
    none: dict[str, Any] = dict.fromkeys(("lowered", "calibrate", "quantise", "verify_int8", "evaluate", "latency", "coverage"))
    return replace(found, **none)


def shipment(job: Job, found: Candidates, precision: Precision, tag: str, hashed: str) -> Shipment:
    """The graph from the chosen candidate to the files that ship. ``hashed`` is the model hash, ``tag`` the build's tag."""
    small = found.lowered if precision != FP32 else None
    chosen = small.quantise if small else found.fixed
    metadata = {"ortolan.tag": tag, "ortolan.model_hash": hashed, "ortolan.precision": precision}
    stamp = job.step("stamp", {"model": chosen["model.onnx"]}, metadata=metadata)
    session = job.step(
        "session_json",
        {"model": stamp["model.onnx"]},
        tag=tag,
        concurrent_run=job.concurrent_run,
        profiles=job.target.recipe.profiles,
        **job.opened(precision),
    )
    samples = small.samples if small else found.samples["samples.npz"]
    written, golden = (_golden(job, stamp, samples, settings) for settings in (None, job.opened()["session"]))
    given = Shipping(job, stamp["model.onnx"], samples, written["golden.npz"], tag)
    made = outputs.plan(given)
    files = {"session.json": session["session.json"], "golden-inputs.npz": samples, "golden-outputs.npz": golden["golden.npz"]}
    files |= {name: golden[name] for name in ("golden.bin", "golden.json")}
    files |= {"model.onnx": given.model} if job.target.recipe.outputs.onnx else {}
    files |= {name: ref for one in made for name, ref in one.files.items()}
    read: dict[str, Source] = {"model": given.model, "samples": samples}
    if precision == FP32:
        read["expected"] = found.reference["outputs.npz"]
    if "model.ort" in files:
        read["ort"] = files["model.ort"]
    proven = {name: ref for one in made for name, ref in one.evidence.items()}
    covered = coverage.plan(
        job, chosen["model.onnx"], samples, proven, found.recovery.left if small and found.recovery else ()
    )  # its nodes are those of what ships
    files["coverage.json"] = covered["coverage.json"]
    return Shipment(files, _verify_all(job, read, "shipped"), made, covered, session, golden)


def _golden(job: Job, stamp: Step, samples: Ref, session: Mapping[str, Any] | None) -> Step:
    note = "as deployed" if session else "as written"
    read = {"model": stamp["model.onnx"], "samples": samples}
    return job.step("golden", read, job.runtime(job.oldest), note=note, session=session)


def diagnosis(job: Job, found: Candidates, version: str) -> Step:
    """The step that names the first diverging tensor, when parity fails in a version of ONNX Runtime."""
    read: dict[str, Source] = {"samples": found.samples["samples.npz"]}
    traced = origins.trace(job, found.imported, found.samples)
    parity = job.model.recipe.parity
    return job.step(
        "locate",
        {"model": found.fixed["model.onnx"], "tensors": traced["tensors.npz"], **read},
        job.runtime(version),
        rtol=parity.rtol,
        atol=parity.atol,
    )


def _samples(job: Job, normalise: Step, sizes: Mapping[str, int]) -> Step:
    data = job.model.recipe.data
    role = "evaluation" if data.evaluation else "calibration"
    spec = data.evaluation or data.calibration
    read: dict[str, Source] = {"model": normalise["model.onnx"], **({"data": job.trees[role]} if spec else {})}
    return job.step(
        "make_samples",
        read,
        inputs=job.inputs(),
        axes={**job.model.recipe.axes, **sizes},
        count=job.model.recipe.samples,
        data=spec.model_dump(mode="json") if spec else None,
    )


def _evaluate(job: Job, plain: Candidates, candidate: Ref, note: str) -> Step:
    model = job.model.recipe
    spec = model.data.evaluation or model.data.calibration
    role = "evaluation" if model.data.evaluation else "calibration"
    data: dict[str, Source] = {"data": job.trees[role]} if spec else {"samples": plain.samples["samples.npz"]}
    read: dict[str, Source] = {"fp32": plain.fixed["model.onnx"], "candidate": candidate, **data}
    if "metric" in job.trees:
        read["metric_code"] = job.trees["metric"]
    return job.step(
        "evaluate",
        read,
        job.runtime(job.oldest),
        note=note,
        data=spec.model_dump(mode="json") if spec else None,
        inputs=job.inputs(job.target.recipe.sizes),
        metric=model.accuracy.metric if model.accuracy else None,
    )


def _latency(job: Job, plain: Candidates, candidate: Ref) -> Step:
    return job.step(
        "latency",
        {"fp32": plain.fixed["model.onnx"], "candidate": candidate, "samples": plain.samples["samples.npz"]},
        job.runtime(job.oldest),
        session=job.opened()["session"],
        min_speedup=job.target.recipe.gates.min_speedup,
    )


def _verify_all(job: Job, read: Mapping[str, Source], what: str) -> dict[str, Step]:
    parity = job.model.recipe.parity
    return {
        version: job.step("verify", read, job.runtime(version), note=what, rtol=parity.rtol, atol=parity.atol, **job.opened())
        for version in job.target.recipe.runtime.versions
    }

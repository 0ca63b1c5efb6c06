"""Turn a finished build into its manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import digest, preflight
from .artifact import FP32, Artifact, Gate, Precision
from .execute import Executor, Results
from .gates import granted
from .manifest import (
    ArtifactPart,
    GoldenPart,
    Manifest,
    ModelPart,
    RuntimePart,
    SignaturePart,
    StepPart,
    TargetPart,
    WaiverPart,
    gate_part,
)
from .outputs.made import ROUNDING
from .recipe.waiver import Waiver
from .sources import Job
from .step import Step, in_order
from .store import Action


@dataclass(frozen=True)
class About:
    """What a build decided: ``hashed`` is the digest of the normalised model, ``reason`` why this precision ships.

    ``loads`` says of files that outputs made which provider they are for.
    """

    tag: str
    precision: Precision
    reason: str
    hashed: str
    artifacts: Sequence[Artifact]
    gates: Sequence[Gate]
    session: Mapping[str, Any]
    golden: Mapping[str, Any]
    loads: Mapping[str, str]


def describe(job: Job, about: About, steps: Sequence[Step], results: Results, executor: Executor) -> Manifest:
    """The manifest of one job."""
    target = _target(job)
    artifacts = sorted((ArtifactPart(**{**vars(a), "about": dict(a.about)}) for a in about.artifacts), key=lambda a: a.name)
    ran = [(step, action) for step in in_order(steps) if (action := results[step.id].action)]
    return Manifest(
        manifest_version=1,
        tag=about.tag,
        precision=about.precision,
        precision_reason=about.reason,
        model=_model(job, about.hashed),
        target=target,
        signature=SignaturePart(**{name: about.session[name] for name in SignaturePart.model_fields}),
        golden=_golden(job, about),
        artifacts=artifacts,
        preflight=preflight.rules(target, artifacts, about.loads),
        gates=[gate_part(gate) for gate in about.gates],
        waivers=[_waiver(gate, one.waiver) for gate, one in granted(job, about.gates, about.hashed)],
        steps=[_step(step, action) for step, action in ran],
        runtimes=[_runtime(name, executor) for name in sorted({step.runtime for step, _ in ran})],
    )


def _model(job: Job, hashed: str) -> ModelPart:
    files = {role: dict(tree.files) for role, tree in job.trees.items()}
    return ModelPart(
        name=job.model.name,
        recipe=digest.of_json("recipe", job.model.recipe.model_dump(mode="json")),
        hash=hashed,
        licence=job.model.recipe.licence,
        source=job.model.recipe.source.kind,
        files=files,
    )


def _golden(job: Job, about: About) -> GoldenPart:
    parity = job.model.recipe.parity
    return GoldenPart(
        runtime=about.golden["runtime"],
        rtol=parity.rtol,
        atol=parity.atol,
        min_snr_db=ROUNDING if about.precision != FP32 else None,
        samples=about.golden["samples"],
    )


def _waiver(gate: Gate, waiver: Waiver) -> WaiverPart:
    return WaiverPart(
        gate=gate.name, subject=gate.subject, reason=waiver.reason, who=waiver.who, expires=waiver.expires.isoformat()
    )


def _target(job: Job) -> TargetPart:
    recipe = job.target.recipe
    return TargetPart(
        name=job.target.name,
        recipe=digest.of_json("recipe", job.target.recipe.model_dump(mode="json")),
        platform=recipe.platform,
        package=recipe.runtime.package,
        versions=list(recipe.runtime.versions),
        opset=recipe.runtime.opset,
        providers=[provider.name for provider in recipe.provider],
    )


def _step(step: Step, action: Action) -> StepPart:
    return StepPart(
        label=step.label,
        stage=step.stage,
        source=action.preimage["source"],
        cpu=list(action.preimage["cpu"]),
        runtime=step.runtime,
        key=action.key,
        params=dict(step.params),
        inputs=dict(action.preimage["inputs"]),
        outputs={name: output.digest for name, output in action.outputs.items()},
    )


def _runtime(name: str, executor: Executor) -> RuntimePart:
    made = executor.runtimes[name]
    return RuntimePart(
        name=name,
        python=made.python,
        platform=made.identity["platform"],
        lock=made.spec.lock_digest,
        packages=made.spec.packages(),
    )

"""Turn a finished build into its manifest."""

from __future__ import annotations

from collections.abc import Sequence

from .artifact import Artifact, Gate
from .execute import Executor, Results
from .manifest import ArtifactPart, Manifest, ModelPart, RuntimePart, StepPart, TargetPart, gate_part
from .sources import Job
from .step import Step, in_order


def describe(
    job: Job, tag: str, precision: str, reason: str, hashed: str, artifacts: Sequence[Artifact], gates: Sequence[Gate],
    steps: Sequence[Step], results: Results, executor: Executor,
) -> Manifest:  # fmt: skip
    """The manifest of one job; ``hashed`` is the digest of the normalised model."""
    ran = [step for step in in_order(steps) if results[step.id].action]
    return Manifest(
        manifest_version=1, tag=tag, precision="int8" if precision == "int8" else "fp32", precision_reason=reason,
        model=_model(job, hashed), target=_target(job),
        artifacts=sorted((ArtifactPart(**vars(a)) for a in artifacts), key=lambda a: a.name),
        gates=[gate_part(gate) for gate in gates], steps=[_step(step, results) for step in ran],
        runtimes=[_runtime(name, executor) for name in sorted({step.runtime for step in ran})],
    )  # fmt: skip


def _model(job: Job, hashed: str) -> ModelPart:
    files = {role: dict(tree.files) for role, tree in job.trees.items()}
    return ModelPart(
        name=job.model.name, hash=hashed, licence=job.model.recipe.licence, source=job.model.recipe.source.kind, files=files
    )


def _target(job: Job) -> TargetPart:
    recipe = job.target.recipe
    return TargetPart(
        name=job.target.name, platform=recipe.platform, package=recipe.runtime.package, versions=list(recipe.runtime.versions),
        opset=recipe.runtime.opset, providers=[provider.name for provider in recipe.provider],
    )  # fmt: skip


def _step(step: Step, results: Results) -> StepPart:
    action = results[step.id].action
    assert action is not None
    return StepPart(
        label=step.label, stage=step.stage, source=action.preimage["source"], runtime=step.runtime, key=action.key,
        params=dict(step.params), inputs=dict(action.preimage["inputs"]),
        outputs={name: output.digest for name, output in action.outputs.items()},
    )  # fmt: skip


def _runtime(name: str, executor: Executor) -> RuntimePart:
    made = executor.runtimes[name]
    return RuntimePart(
        name=name, python=made.python, platform=made.identity["platform"], lock=made.spec.lock_digest, packages=made.spec.packages()
    )

"""A model and a target picked for a build, with the digests of all their files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .artifact import Precision
from .recipe.project import NamedModel, NamedTarget, model_files
from .recipe.provider_data import find
from .recipe.provider_rules import numbers
from .recipe.rules import CPU
from .recipe.schema import Provider
from .recipe.together import together
from .recipe.waiver import NO_WAIVERS, Waivers
from .step import Source, Step, Tree, tree

TOOLS = "tools"
"""The runtime of the stages that work on graphs."""
KERNELS = Path(__file__).parent / "kernels"
"""What is known of providers' kernels: a file for each table and version."""
REDUCED = "reduced-runtime"
"""The role of the files of a reduced ONNX Runtime."""
_LIMIT = 1800.0  # seconds that a step of ours may take; those on the user's code have the recipe's time_limit


_OWN = frozenset({"onnxruntime-openvino"})
"""Packages that run on a build machine with their providers; all others are checked in onnxruntime of the same version."""


@dataclass(frozen=True)
class Job:
    """One model for one target.

    ``trees`` holds the model's files by role: source, weights, calibration, evaluation, metric; ``kernels:<provider>``, the
    kernel tables of the target's providers; and ``reduced-runtime``, the library that was built for the target. ``waivers`` are
    the project's, with the day by which they count.
    """

    model: NamedModel
    target: NamedTarget
    trees: Mapping[str, Tree]
    waivers: Waivers = NO_WAIVERS

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.model.name} for {self.target.name}"

    @property
    def oldest(self) -> str:
        """The oldest version of the fleet."""
        return self.target.recipe.runtime.versions[0]

    def runtime(self, version: str) -> str:
        """The runtime in which a version of the fleet's ONNX Runtime is pinned."""
        package = self.target.recipe.runtime.package
        return f"{package if package in _OWN else 'onnxruntime'}-{version}"

    @property
    def precision(self) -> Precision:
        """What the candidate beside fp32 computes in, where there is one."""
        return self.target.recipe.quantize.precision

    @property
    def concurrent_run(self) -> bool:
        """Whether threads may call Run of one session at the same time, which ONNX Runtime allows and some providers do not."""
        known = [data for one in self.target.recipe.provider if (data := find(one.name))]
        return all(data.session.concurrent_run is not False for data in known)

    def runs_on(self, host: str) -> bool:
        """Whether the target's kernels are those of a machine of this platform: then timings there say something of it."""
        return host == self.target.recipe.platform and self.target.recipe.provider[0].name == CPU

    @property
    def library(self) -> Tree | None:
        """The reduced ONNX Runtime that was built for the target, with its record, where there is one."""
        return self.trees.get(REDUCED)

    def limits(self) -> dict[str, Any]:
        """What gates judge by: it is in no key, and decides what ships."""
        target, model = self.target.recipe, self.model.recipe
        wanted = {"gates": target.gates, "parity": model.parity, **({"accuracy": model.accuracy} if model.accuracy else {})}
        own = [one for one in self.waivers.every if one.waiver.target == self.target.name]
        waived = {one.name: one.waiver.model_dump(mode="json") for one in own}
        limits = {name: part.model_dump(mode="json") for name, part in wanted.items()} | {"policy": target.quantize.policy}
        return limits | ({"waivers": waived} if waived else {})

    def inputs(self, sizes: Mapping[str, int] = {}) -> list[dict[str, Any]]:
        """The recipe's ``[[input]]`` tables as stages take them; axes in ``sizes`` have that size, the others stay dynamic."""
        given = [one.model_dump(mode="json") for one in self.model.recipe.input]
        return [one | {"shape": [sizes.get(axis, axis) for axis in one["shape"]]} for one in given]

    def opened(self, precision: Precision | None = None) -> dict[str, Any]:
        """How a session of this target is opened, as stages take it: ``providers`` in order and ``session`` settings.

        With the ``precision`` of what ships, the providers of a model without Q/DQ are not asked for 8 bits.
        """
        recipe = self.target.recipe
        providers = [{"name": one.name, "options": _fitting(one, precision)} for one in recipe.provider]
        return {"providers": providers, "session": recipe.session.model_dump(mode="json")}

    def step(
        self,
        stage: str,
        read: Mapping[str, Source],
        runtime: str = TOOLS,
        limit: float = _LIMIT,
        *,
        note: str = "",
        **params: Any,
    ) -> Step:
        """A step of this job, its label made for people: model, stage, what tells it from its like."""
        detail = " ".join(part for part in (note, runtime.partition("-")[2]) if part)
        label = f"{self.model.name}: {stage.replace('_', ' ')}" + (f" ({detail})" if detail else "")
        return Step(stage, runtime, params, dict(read), label, limit)


def _fitting(provider: Provider, precision: Precision | None) -> dict[str, str | int | float | bool]:
    """A provider's options without the one that asks for 8 bits, where there are no Q/DQ nodes and no table of ranges."""
    data, options = find(provider.name), dict(provider.options)
    if precision not in {None, "int8"} and data and data.int8 and data.int8.table not in options:
        options.pop(data.int8.enable, None)
    return options


def job(model: NamedModel, target: NamedTarget, waivers: Waivers = NO_WAIVERS) -> Job:
    """Read a model's files. RecipeError with the line for a missing one, and for a ``[quantize]`` that the target cannot do."""
    target, files = together(target, model), model_files(model)
    trees = {
        "source": tree(files.source),
        "weights": tree({files.weights.name: files.weights}, single=True) if files.weights else None,
        "calibration": tree(files.calibration) if model.recipe.data.calibration else None,
        "evaluation": tree(files.evaluation) if model.recipe.data.evaluation else None,
        "metric": tree(files.metric) if files.metric else None,
    }
    return Job(model, target, {role: found for role, found in trees.items() if found} | _kernels(target), waivers)


def _kernels(target: NamedTarget) -> dict[str, Tree]:
    """The kernel table of each provider that has one: that of the fleet's oldest version, or of the nearest older one."""
    recipe, found = target.recipe, dict[str, Tree]()
    for provider in recipe.provider:
        data = find(provider.name)
        asked = data.asked(recipe.platform) if data else None
        if asked and asked.table:
            path = _table(asked.table, recipe.runtime.versions[0])
            found[f"kernels:{provider.name}"] = tree({path.name: path}, single=True)
    return found


def _table(name: str, version: str) -> Path:
    """The file of the newest version up to this one, else the oldest that there is."""
    known = sorted((numbers(path.stem.removeprefix(f"{name}-")), path) for path in KERNELS.glob(f"{name}-[0-9]*.json"))
    return ([path for have, path in known if have <= numbers(version)] or [known[0][1]])[-1]

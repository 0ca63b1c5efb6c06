"""The gates of what ships on a device over ssh: whether it is one of the target's, what the files do there, and its engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..artifact import SHIPPED, Gate, Outcome, Precision
from ..errors import OrtolanError
from ..execute import Result
from ..outputs.made import unseen
from ..place import HostError
from ..recipe.rules import CPU
from ..sources import Job
from ..stages.lib.kit import build_engine
from . import elsewhere
from .common import FP32, judge

ON_DEVICE = "on-device"
_EXACT = frozenset({CPU, "XnnpackExecutionProvider", "AzureExecutionProvider"})
"""Providers that compute float32 in float32."""


def fits(name: str, job: Job, measured: str, problems: Sequence[str]) -> Gate:
    """Whether a device is of the target's platform, and its ONNX Runtime of the fleet."""
    return judge(f"device {name}", SHIPPED, not problems, measured, _wanted(job), "; ".join(problems))


def _wanted(job: Job) -> str:
    recipe = job.target.recipe
    return f"{recipe.platform}, {recipe.runtime.package} {' or '.join(recipe.runtime.versions)}"


def absent(name: str, job: Job, error: OrtolanError) -> Gate:
    """Of one of several devices, which did not answer."""
    return judge(f"device {name}", SHIPPED, good=False, measured="did not answer", limit=_wanted(job), why=words(error))


def of_another(name: str, target: str, job: Job) -> Gate:
    """Of a device that was named for all targets of a build, and is another one's."""
    return unseen(f"device {name}", f"is a {target} (recipes/fleet.toml), not {job.target.name}: nothing was sent there")


def checked(name: str, title: str, job: Job, version: str, result: Result, precision: Precision) -> list[Gate]:
    """The gates of a step that ran ``verify`` on a device of this ``name``, on what ships."""
    at = f"{version} {name}"
    if not result.ok:
        return [judge(f"load@{at}", SHIPPED, good=False, measured="did not run", limit="", why=trouble(result))]
    facts = result.facts
    exact = precision == FP32 and set(facts["registered"]) <= _EXACT
    gates = [elsewhere.loads(at, title, facts), elsewhere.golden(at, job, facts, exact=exact)]
    gates += [elsewhere.ort(at, facts, precision)] if facts.get("ort") else []
    return [*gates, _providers(at, version, job, facts)]


def trouble(result: Result) -> str:
    """Why a step has no facts."""
    if result.refused:
        return "; ".join(filter(None, (result.refused["what"], result.refused["why"], result.refused["hint"])))
    if result.error:
        return words(result.error)
    return f"{result.skipped.label} has no result" if result.skipped else "it has no result"


def words(error: OrtolanError) -> str:
    """An error on one line; the log of a step that failed is long, and its end is kept in the folder that the hint names."""
    why = " ".join(error.why.split()) if isinstance(error, HostError) else ""
    return "; ".join(filter(None, (error.what, why, error.hint)))


def _providers(at: str, version: str, job: Job, facts: Mapping[str, Any]) -> Gate:
    """Every provider of the recipe is there, starts, and took nodes; one that is listed and does not start is a failure.

    Of a model that does not open, and of a runtime that does not tell where nodes run, nothing was seen of the last two.
    """
    name, wanted, opens = f"providers@{at}", [one.name for one in job.target.recipe.provider], facts["onnx"]["opens"]
    absent, placed = [one for one in wanted if one not in facts["offered"]], facts["placed"]
    dead = [one for one in wanted if one not in absent and one not in facts["registered"] and opens]
    there = [one for one in wanted if one not in {*absent, *dead, CPU}]
    took = ", ".join(f"{one} {count} nodes" for one, count in (placed or {}).items())
    measured = took or ", ".join(facts["registered"])
    if dead:
        why = f"{', '.join(dead)}: listed, and does not start: its libraries or its driver are missing there, or too old"
        return judge(name, SHIPPED, good=False, measured=measured, limit="", why=why)
    lacks = _lacks(absent, wanted)
    if not opens:
        return unseen(name, "; ".join(filter(None, ("the model does not open there", lacks))))
    why = "; ".join(filter(None, (lacks, _idle(there, placed, version))))
    return unseen(name, why, measured) if why else judge(name, SHIPPED, good=True, measured=measured, limit="")


def _lacks(absent: Sequence[str], wanted: Sequence[str]) -> str:
    after = "every node runs on the CPU" if not set(wanted) - {*absent, CPU} else "the next provider takes its nodes"
    how = "install or build an ONNX Runtime that has it there, or leave it out of the recipe (./inv doctor --host says more)"
    return f"{', '.join(absent)}: not in the device's ONNX Runtime: {after}; {how}" if absent else ""


def _idle(there: Sequence[str], placed: Mapping[str, int] | None, version: str) -> str:
    """What is known of providers that took no node; ``placed`` is None where the runtime does not tell."""
    if placed is None:
        return f"{', '.join(there)}: onnxruntime {version} does not tell which nodes it took" if there else ""
    idle = [one for one in there if not placed.get(one)]
    return f"{', '.join(idle)}: is there, and took no node" if idle else ""


def summed_up(gates: Sequence[Gate], seen: Sequence[str]) -> list[Gate]:
    """The gates of what ships, of which ``on-device`` passes when devices ran it all; it names what was ``seen``."""
    if not seen:
        return list(gates)
    return [_seen(gate, seen) if gate.name == ON_DEVICE else gate for gate in gates]


def _seen(gate: Gate, seen: Sequence[str]) -> Gate:
    measured = "; ".join(filter(None, (f"ran on {', '.join(seen)}", gate.measured)))
    return replace(gate, outcome=Outcome.PASS, measured=measured, why="how fast it is: ./inv bench --host")


def built(name: str, gpu: str, wanted: Mapping[str, str], result: Result) -> Gate:
    """The engine is there, is what its record says, and is of the very device that was asked; ``wanted`` says of what it is made.

    ``wanted``: ``TensorRT``, its version in three numbers, and ``device``, as engines' names have it.
    """
    limit = "built there, as its record says"
    if not result.ok:
        return judge(name, SHIPPED, good=False, measured="not built", limit=limit, why=trouble(result))
    facts, output = result.facts, result.output("model.engine")
    found = {"TensorRT": build_engine.three(facts["tensorrt"]), "device": str(facts["device_text"])}
    problems = [
        f"{key} is {found[key]}, and was {text} when the build began" for key, text in wanted.items() if found[key] != text
    ]
    if output.digest != f"sha256:{facts['engine']['sha256']}" or output.size != facts["engine"]["size"]:
        problems.append("its record is of another file: what came back is not what was built")
    measured = ", ".join(filter(None, (f"{output.size:,} B", gpu, f"by {facts['built_by']}")))
    return judge(name, SHIPPED, not problems, measured, limit, "; ".join(problems))

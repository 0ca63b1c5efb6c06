"""``runtime-build``: builds the reduced ONNX Runtime of a target, or recalls it, and puts it into ``build/<target>/runtime/``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from invoke.exceptions import Exit

from ..artifact import Outcome
from ..cache import Cache
from ..errors import GateError, OrtolanError, RecipeError
from ..outputs.reduced_library import asked_by, judged
from ..recipe.outputs import ReducedRuntime, reduced_mistakes
from ..recipe.project import NamedTarget, Project
from ..recipe.provider_rules import numbers
from ..reduced import make, mobile
from ..reduced.compile import processors
from ..reduced.config import Config
from ..reduced.config_make import FOLDER
from ..reduced.flags import Knobs
from ..reduced.pinned import Pins, load
from ..reduced.progress import Progress
from ..reduced.tree import LOG
from ..report import coloured
from ..report.tables import gate_table, size
from ..runtime import apt
from ..stages.reduced_library import facts
from .lists import dump
from .pick import runtime_folders
from .runtime_wanted import Asked, say, show
from .runtime_wanted import config as wanted_config

_PACKED = (2, 36)  # the C library that first reads packed relocations
KEPT = "reduced"
"""In the cache: sources, root file systems, build trees and results."""


def run(root: Path, name: str, given: Path | None, config: Path | None, cache: Cache, jobs: int, *, as_json: bool) -> None:
    """Print where the library is and how it was judged; exit with 3 where it, or what a model needs, fails a gate.

    A library that fails one does not become the target's current one.
    """
    if not name:
        raise RecipeError("which target?", why=f"known are {', '.join(Project(root).targets())}", hint="--target raspberry-pi-5")
    target, pins = Project(root).target(name), load(runtime_folders(root))
    version = _version(target, pins)
    wanted = wanted_config(Asked(root, name, version, cache.store), config)
    if _kind(target) in mobile.PACKAGES:
        _phones(root, target, version, wanted, as_json=as_json)
        return
    unfit = _unfit(target)
    for text in unfit:
        say(f"builds for {name} cannot carry this library: {text}")
    kept = cache.root / KEPT
    asked = make.Wanted(target.recipe.platform, wanted, _knobs(target), given, kept, _mirrors(pins), jobs or processors())
    work = make.planned(pins, asked, say)
    made = make.made(work, kept, asked.jobs, say, Progress())
    gates = judged(facts(made.folder), asked_by(target.recipe, _table(target)))
    failed = any(gate.outcome is Outcome.FAIL for gate in gates)
    place = make.put(made, root / "build" / name / FOLDER, current=not failed)
    if as_json:
        told = {"folder": str(place), "seconds": made.seconds, "runtime": made.record, "gates": [asdict(gate) for gate in gates]}
        dump({"kind": "runtime-build", "target": name, "current": not failed, **told})
    else:
        print("\n".join([*_text(made, place, root), *(f"  {line}" for line in gate_table(gates, colour=coloured()))]))
    if failed:
        say(f"{make.CURRENT} was left as it was: a gate failed")
        raise Exit(code=GateError.exit_code)
    if target.recipe.outputs.reduced_runtime is None and not unfit:
        say(f"{target.path.name} has no [outputs] reduced_runtime = {{}}: builds leave the library out until it has")


def _unfit(target: NamedTarget) -> list[str]:
    """Why the recipe could not ask for the library, where it does not."""
    asking = target.recipe.outputs.model_copy(update={"reduced_runtime": _table(target)})
    providers = [one.name for one in target.recipe.provider]
    return [f"{one.text}. {one.hint}" for one in reduced_mistakes(asking, target.recipe.platform, providers)]


def _kind(target: NamedTarget) -> str:
    return target.recipe.platform.partition("/")[0]


def _version(target: NamedTarget, pins: Pins) -> str:
    """Of ONNX Runtime, to be built: the pinned one; for phones, which build their own, the fleet's oldest.

    OrtolanError for a platform that has none, and for a fleet whose programs ask for a newer C API.
    """
    oldest, platforms = target.recipe.runtime.versions[0], pins.root.platforms
    if _kind(target) in mobile.PACKAGES:
        return mobile.version(target.recipe.platform, oldest, pins.onnxruntime)
    if target.recipe.platform not in platforms:
        what = f"no reduced ONNX Runtime is built for {target.recipe.platform}"
        raise OrtolanError(what, where=f"target {target.name}", why=f"platforms that have one: {', '.join(platforms)}")
    if numbers(oldest) > numbers(pins.onnxruntime):
        what = f"a reduced runtime is ONNX Runtime {pins.onnxruntime}, and programs for this target ask for the C API of {oldest}"
        why = f"{oldest} is the oldest of [runtime] versions, for which the target's programs are compiled"
        hint = f"with {pins.onnxruntime} or an older version there, it is built"
        raise OrtolanError(what, where=str(target.path), why=why, hint=hint)
    return pins.onnxruntime


def _table(target: NamedTarget) -> ReducedRuntime:
    return target.recipe.outputs.reduced_runtime or ReducedRuntime()


def _knobs(target: NamedTarget) -> Knobs:
    table = _table(target)
    packed = tuple(map(int, table.glibc.split("."))) >= _PACKED
    return Knobs(table.exceptions, table.static_cxx, table.xnnpack, packed=packed, extended=table.extended)


def _mirrors(pins: Pins) -> list[str]:
    """The mirror that apt uses here for the suite."""
    spec = pins.root
    return [apt.mirror(apt.Source("", spec.suite, spec.mirror, spec.keyring))] if not apt.missing() else []


def _phones(root: Path, target: NamedTarget, version: str, config: Config, *, as_json: bool) -> None:
    folder = root / "build" / target.name / FOLDER / _kind(target)
    providers = [one.name for one in target.recipe.provider]
    files = mobile.write(folder, target.recipe.platform, version, config, _knobs(target), providers)
    gate = mobile.gate(target.recipe.platform, providers)
    if as_json:
        told = {"kind": "runtime-build", "target": target.name, "files": [str(path) for path in files], "gates": [asdict(gate)]}
        dump(told)
        return
    show([gate])
    print(f"{folder.relative_to(root)}/: {', '.join(path.name for path in files)}")


def _text(made: make.Made, place: Path, root: Path) -> list[str]:
    told: dict[str, Any] = made.record
    library, versions, toolchain = told["library"], told["symbol_versions"], told["toolchain"]
    compiler = f"{toolchain['compiler']} {toolchain['version']}"
    took = "was there already" if made.seconds is None else f"{made.seconds:.0f} s of processor time"
    return [
        f"{place.relative_to(root)}/: {library['file']} {size(library['size'])}, {library['digest']}",
        f"  ONNX Runtime {told['onnxruntime']} for {told['platform']}, {compiler}; {took}",
        f"  configuration {told['config']}",
        f"  needs {', '.join(told['needed'])}; {', '.join(f'{family} {version}' for family, version in versions.items())}",
        f"  patches: {', '.join(patch['file'] for patch in told['patches']) or 'none'}; log: {(place / LOG).relative_to(root)}",
    ]

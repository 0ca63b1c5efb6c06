"""``runtime-build``: builds the reduced ONNX Runtime of a target, or recalls it, and puts it into ``build/<target>/runtime/``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from invoke.exceptions import Exit

from ..artifact import Gate, Outcome
from ..cache import Cache
from ..errors import GateError, OrtolanError, RecipeError
from ..outputs.reduced_library import judged
from ..recipe.outputs import ReducedRuntime
from ..recipe.project import NamedTarget, Project
from ..reduced import make, mobile
from ..reduced.compile import processors
from ..reduced.config import Config, read
from ..reduced.config_kernels import check_known
from ..reduced.config_limits import barred
from ..reduced.config_make import FOLDER, configure, path_of
from ..reduced.config_make import Wanted as Merged
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

_PACKED = (2, 36)  # the C library that first reads packed relocations
KEPT = "reduced"
"""In the cache: sources, root file systems, build trees and results."""


def run(root: Path, name: str, given: Path | None, config: Path | None, cache: Cache, jobs: int, *, as_json: bool) -> None:
    """Print where the library is and how it was judged; exit with 3 where it, or what a model needs, fails a gate."""
    if not name:
        raise RecipeError("which target?", why=f"known are {', '.join(Project(root).targets())}", hint="--target raspberry-pi-5")
    target, pins = Project(root).target(name), load(runtime_folders(root))
    wanted = _config(root, target, config, pins, cache.store)
    if target.recipe.platform.partition("/")[0] in mobile.PACKAGES:
        _phones(root, target, pins, wanted, as_json=as_json)
        return
    if target.recipe.platform not in pins.root.platforms:
        what = f"no reduced ONNX Runtime is built for {target.recipe.platform}"
        raise OrtolanError(what, where=f"target {name}", why=f"platforms that have one: {', '.join(pins.root.platforms)}")
    kept = cache.root / KEPT
    asked = make.Wanted(target.recipe.platform, wanted, _knobs(target), given, kept, _mirrors(pins), jobs or processors())
    work = make.planned(pins, asked, _say)
    made = make.made(work, kept, asked.jobs, _say, Progress())
    place = make.put(made, root / "build" / name / FOLDER)
    gates = judged(facts(place), _table(target), target.recipe.platform, target.recipe.runtime.versions[0])
    if as_json:
        told = {"folder": str(place), "seconds": made.seconds, "runtime": made.record, "gates": [asdict(gate) for gate in gates]}
        dump({"kind": "runtime-build", "target": name, **told})
    else:
        print("\n".join([*_text(made, place, root), *(f"  {line}" for line in gate_table(gates, colour=coloured()))]))
    if any(gate.outcome is Outcome.FAIL for gate in gates):
        raise Exit(code=GateError.exit_code)


def _config(root: Path, target: NamedTarget, path: Path | None, pins: Pins, store: Path) -> Config:
    """The configuration that is given, else the target's; made where there is none. GateError when a model does not fit in it."""
    at = path or path_of(root, target.name)
    if path is None and not at.is_file():
        _say(f"merging what the models of {target.name} need, as ./inv runtime-config --target {target.name}")
        found = configure(root, Merged(target.name, pins.onnxruntime, store=store))
        if found.path is None:
            _show(list(found.gates))
            raise GateError("a model needs what no reduced runtime has", hint=f"./inv runtime-config --target {target.name}")
        return found.config
    try:
        text = at.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OrtolanError("no configuration that can be read", where=str(at), why=str(error)) from error
    check_known(text, str(at))
    config = read(text, str(at))
    without = [str(one) for one in barred(config, pins.onnxruntime) if one.sure]
    if without:
        raise OrtolanError("no reduced runtime has what this names", where=str(at), why="\n       ".join(without))
    return config


def _table(target: NamedTarget) -> ReducedRuntime:
    return target.recipe.outputs.reduced_runtime or ReducedRuntime()


def _knobs(target: NamedTarget) -> Knobs:
    table = _table(target)
    packed = tuple(map(int, table.glibc.split("."))) >= _PACKED
    return Knobs(exceptions=table.exceptions, static_cxx=table.static_cxx, xnnpack=table.xnnpack, packed=packed)


def _mirrors(pins: Pins) -> list[str]:
    """The mirror that apt uses here for the suite."""
    spec = pins.root
    return [apt.mirror(apt.Source("", spec.suite, spec.mirror, spec.keyring))] if not apt.missing() else []


def _phones(root: Path, target: NamedTarget, pins: Pins, config: Config, *, as_json: bool) -> None:
    folder = root / "build" / target.name / FOLDER
    files = mobile.write(folder, target.recipe.platform, pins.onnxruntime, config, _knobs(target))
    gate = mobile.gate(target.recipe.platform)
    if as_json:
        told = {"kind": "runtime-build", "target": target.name, "files": [str(path) for path in files], "gates": [asdict(gate)]}
        dump(told)
        return
    _show([gate])
    print(f"{folder.relative_to(root)}/: {', '.join(path.name for path in files)}")


def _text(made: make.Made, place: Path, root: Path) -> list[str]:
    told: dict[str, Any] = made.record
    library, versions, toolchain = told["library"], told["symbol_versions"], told["toolchain"]
    compiler = f"{toolchain['compiler']} {toolchain['version']}"
    took = "was there already" if made.seconds is None else f"{made.seconds:.0f} s of processor time"
    return [
        f"{place.relative_to(root)}/: {library['file']} {size(library['size'])}, {library['digest']}",
        f"  ONNX Runtime {told['onnxruntime']} for {told['platform']}, {compiler}; {took}",
        f"  needs {', '.join(told['needed'])}; {', '.join(f'{family} {version}' for family, version in versions.items())}",
        f"  patches: {', '.join(patch['file'] for patch in told['patches']) or 'none'}; log: {(place / LOG).relative_to(root)}",
    ]


def _show(gates: list[Gate]) -> None:
    print("\n".join(gate_table([one for one in gates if one.outcome is not Outcome.PASS], colour=coloured())))


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)

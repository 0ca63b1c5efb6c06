"""The ONNX Runtime that a build carries: taken from where ``runtime-build`` left it, and run by the model's own C program."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from . import digest
from .artifact import Gate
from .disk import disk
from .emulation import Emulation, wanted
from .errors import OrtolanError
from .execute import Results
from .gates import carried as gates
from .manifest import Manifest
from .outputs.reduced_library import NAME, NEEDS, fits
from .outputs.reduced_runtime import HEADER, LIBRARY
from .package.context import context
from .package.render import find_templates, render
from .plan import Shipment
from .platforms import host_platform
from .recipe.outputs import ReducedRuntime
from .recipe.provider_rules import numbers
from .runtime.emulated import AT
from .sources import REDUCED, TOOLS, Job
from .stages.reduced_outside import UNARY
from .step import Ref, Source, Step, tree

PLACE, CURRENT, RECORD, CONFIG = "runtime", "current.json", "runtime.json", "required_operators_and_types.config"
"""Below ``build/<target>/``: the folder with built runtimes, what names the one in use, and what lies in its folder."""
_WANTED = (LIBRARY, RECORD, CONFIG)
_TOLD = {
    "key": str, "onnxruntime": str, "platform": str, "config": str, "sources": list, "flags": dict, "patches": list,
    "toolchain": dict, "knobs": dict, "library": dict, "needed": list, "symbol_versions": dict,
}  # fmt: skip
"""What a record tells, and in which form."""
_COMPILERS = {"linux/amd64": "gcc", "linux/arm64": "aarch64-linux-gnu-gcc"}
_HEADERS = ("/usr/include/onnxruntime", "/usr/include/onnxruntime/core/session", "/usr/local/include/onnxruntime")
_NATIVE, _HOLDS = "native", (1, 19)  # wheels hold a libonnxruntime.so from this version on
_LIMIT = 600.0  # seconds of a run, which may be emulated

Misfits = Callable[[bytes, str, str], Sequence[str]]
"""What of an ``.ort`` file's configuration, as text, a library's own does not hold: in words, with the nodes that need it."""


def take(job: Job, output: Path) -> Job:
    """The job with the reduced runtime that ``output/<target>/runtime/current.json`` names, where its recipe wants one.

    OrtolanError when that is damaged, or not what its record tells of.
    """
    folder = current(output / job.target.name) if job.target.recipe.outputs.reduced_runtime else None
    if folder is None:
        return job
    try:
        files = {name: folder / name for name in (*_WANTED, HEADER) if name in _WANTED or (folder / name).is_file()}
        files |= {path.relative_to(folder).as_posix(): path for path in (folder / "licences").rglob("*") if path.is_file()}
        found = tree(files)
        record = _record(folder / RECORD)
        told = {LIBRARY: record["library"]["digest"], CONFIG: record["config"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(job, folder, str(error)) from error
    for name, wanted_digest in told.items():
        if found.files[name] != wanted_digest:
            raise _damaged(job, folder, f"{name} has the digest {found.files[name]}, its record says {wanted_digest}")
    return replace(job, trees={**job.trees, REDUCED: found})


def _record(path: Path) -> dict[str, Any]:
    """ValueError or TypeError for what is not the record of a build: gates, manifests and bills of materials read it."""
    found: dict[str, Any] = json.loads(path.read_text())
    wrong = [name for name, kind in _TOLD.items() if not isinstance(found.get(name), kind)]
    if wrong:
        raise ValueError(f"{path.name} does not tell {', '.join(wrong)}")
    return found


def current(target: Path) -> Path | None:
    """The folder of the reduced runtime in use for the target whose builds lie in ``target``."""
    path = target / PLACE / CURRENT
    try:
        return target / PLACE / str(json.loads(path.read_text())["folder"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = "it cannot be told which reduced runtime is in use"
        raise OrtolanError(what, where=str(path), why=str(error), hint="./inv runtime-build writes it anew") from error


def looks_at(target: Path) -> list[Path]:
    """The files whose change decides which runtime a build takes in."""
    return [target / PLACE / CURRENT]


def _damaged(job: Job, folder: Path, why: str) -> OrtolanError:
    return OrtolanError(
        "the reduced runtime is damaged", where=str(folder), why=why, hint=f"./inv runtime-build --target {job.target.name}"
    )


@dataclass(frozen=True)
class Checks:
    """The steps that run a library, and in words why one is not there. ``operator`` is that of the model outside."""

    run: Step | None = None
    beside: Step | None = None
    operator: str = ""
    unrun: str = ""
    untimed: str = ""

    def steps(self) -> tuple[Step, ...]:
        """All that there are."""
        return tuple(step for step in (self.run, self.beside) if step)

    def judged(self, job: Job, results: Results, missing: Sequence[str] | None) -> list[Gate]:
        """What became of them. ``missing``: what the library was not built for, None where nobody looked."""
        if self.run is None:
            return [fits(missing), *gates.unrun(self.unrun, self.untimed)]
        place = "" if job.target.recipe.platform == host_platform() else f" on emulated {job.target.recipe.platform}"
        seen = gates.ran(results, self.run, self.operator, place)
        return [fits(missing), *seen, gates.timed(results, self.beside) if self.beside else gates.untimed(self.untimed)]


def checks(job: Job, ship: Shipment, described: Manifest, templates: Sequence[Path], arm: Emulation, scratch: Path) -> Checks:
    """The steps that compile the build's C program and run it with the library that ``ship`` holds.

    ``described`` is the manifest as far as it is known. The program is rendered into ``scratch``, which must stay until they
    have run. OrtolanError for a mistake in a template.
    """
    platform, header = job.target.recipe.platform, _header(job)
    where, why = _where(job, arm)
    if platform not in _COMPILERS:
        why = f"no C program for {platform} is compiled here"
    elif header is None:
        why = f"no {HEADER} beside the library or in {_HEADERS[0]}: on Debian 13, apt-get install libonnxruntime-dev"
    if why or header is None:
        return Checks(unrun=why, untimed=why)
    compiled = job.step(
        "reduced_compile",
        {"program": tree(_rendered(described, templates, scratch)), "header": tree({HEADER: header}, single=True)},
        _NATIVE,
        platform=platform,
        compiler="gcc" if platform == host_platform() else _COMPILERS[platform],
    )
    read: dict[str, Source] = {
        "model": ship.files["model.ort"], "golden": ship.files["golden.bin"], "library": ship.files[LIBRARY],
    }  # fmt: skip
    operator = _operator(job)
    outside = {"outside": _outside(job, operator)["model.ort"]} if operator else {}
    run = job.step("reduced_run", {**read, **outside, "program": compiled["test_model.so"]}, where, _LIMIT)
    beside, untimed = _beside(job, {**read, "program": compiled["bench_model"]})
    return Checks(run, beside, operator, untimed=untimed)


def _where(job: Job, arm: Emulation) -> tuple[str, str]:
    """The runtime whose interpreter runs the program, and why there is none."""
    names = [job.runtime(version) for version in job.target.recipe.runtime.versions]
    if job.target.recipe.platform == host_platform():
        return names[0], ""
    if not wanted(job):
        return "", f"this machine is {host_platform()}, the target is {job.target.recipe.platform}"
    emulated = [name for name in arm.made if name.partition(AT)[0] in names]
    why = next(iter(arm.missing.values()), "emulation was not asked for")
    return (emulated[0], "") if emulated else ("", why)


def _operator(job: Job) -> str:
    """One that the library was not built for; none where it has all that could be asked for."""
    inside = set(re.findall(r"\w+", job.library.paths[CONFIG].read_text())) if job.library else set()
    return next((one for one in UNARY if one not in inside), "")


def _outside(job: Job, operator: str) -> Step:
    """An ``.ort`` file with this operator."""
    recipe = job.target.recipe
    made = job.step("reduced_outside", {}, TOOLS, operator=operator, opset=recipe.runtime.opset)
    read = {"model": made["model.onnx"]}
    told: dict[str, Any] = {"style": "fixed", "type_reduction": False, "platform": recipe.platform}
    return job.step("ort_convert", read, job.runtime(job.oldest), note="outside", **told)


def _beside(job: Job, read: Mapping[str, Source]) -> tuple[Step | None, str]:
    """The step that times the library beside the wheel's of the oldest version that has one, and why there is none."""
    if job.target.recipe.platform != host_platform():
        return None, f"this machine is {host_platform()}: emulation shows results, no speed"
    versions = [version for version in job.target.recipe.runtime.versions if numbers(version)[:2] >= _HOLDS]
    if not versions:
        return None, "no wheel of the fleet's versions holds a libonnxruntime.so to compare with: those from 1.19 on do"
    table = job.target.recipe.outputs.reduced_runtime or ReducedRuntime()
    limits: dict[str, Any] = {
        "max_session": table.max_session, "max_latency": table.max_latency, "slack_us": gates.SLACK_US,
    }  # fmt: skip
    return job.step("reduced_beside", read, job.runtime(versions[0]), _LIMIT, **limits), ""


def _header(job: Job) -> Path | None:
    """ONNX Runtime's C header: the library's own, else that of this machine."""
    own = job.library.paths.get(HEADER) if job.library else None
    return own or next((path for place in _HEADERS if (path := Path(place) / HEADER).is_file()), None)


def _rendered(described: Manifest, templates: Sequence[Path], scratch: Path) -> dict[str, Path]:
    """The C snippet of this build, whether the recipe wants it beside the model or not."""
    made = render("c", find_templates("c", templates), context(described))
    kept = {name: data for name, data in made.files.items() if name.endswith((".c", ".h"))}
    place = scratch / digest.short(digest.of_tree({name: digest.of_bytes(data) for name, data in kept.items()}))
    with disk(scratch):
        place.mkdir(parents=True, exist_ok=True)
        for name, data in kept.items():
            (place / name).write_bytes(data)
    return {name: place / name for name in kept}


def judged(job: Job, given: Sequence[Gate], done: Checks | None, results: Results, missing: Sequence[str] | None) -> list[Gate]:
    """The gates of what ships, with those of the program behind those of the library's file.

    ``missing``: what the library was not built for, because of which the build does not carry it; None where nobody looked.
    """
    if missing:
        again = f"./inv runtime-config --target {job.target.name}, then runtime-build, then build"
        why = f"the one that was built lacks {'; '.join(missing)}: {again}"
        return [replace(one, why=why) if one.name == NAME else one for one in given]
    if done is None:
        return list(given)
    last = max(index for index, one in enumerate(given) if one.name == NEEDS)
    return [*given[: last + 1], *done.judged(job, results, missing), *given[last + 1 :]]


def without(job: Job) -> Job:
    """The job as if no library had been built."""
    return replace(job, trees={role: found for role, found in job.trees.items() if role != REDUCED})


def converted(ship: Shipment) -> tuple[Step, ...]:
    """The step that leaves what a library must hold."""
    return (ship.files["model.ort"].step,)


def lacks(job: Job, ship: Shipment, fetch: Callable[[Ref, Path], None], misfits: Misfits) -> tuple[str, ...]:
    """What the model needs and the library was not built for; ``fetch`` brings a file of the build to a path."""
    needed = next(name for name in (CONFIG, "required_operators.config") if name in ship.files)
    with tempfile.TemporaryDirectory(prefix="ortolan-") as folder:
        for name in ("model.ort", needed):
            fetch(ship.files[name], Path(folder, name))
        within = job.library.paths[CONFIG].read_text() if job.library else ""
        return tuple(misfits(Path(folder, "model.ort").read_bytes(), Path(folder, needed).read_text(), within))

"""A libonnxruntime that holds what the target's models need and no more, as ``./inv runtime-build`` left it.

What the model's C program does with it is seen later, when there is one: ``carried``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from ..artifact import Gate
from ..recipe.outputs import ReducedRuntime
from .made import Facts, Made, Shipping, unseen
from .reduced_library import NAME, Wanted, asked_by, dotted, judged, newest

RUNTIMES = ("native",)
PROVEN = "the library has the size, the needs and the architecture that the target wants, and runs the model's golden samples"
LEFT = "how fast the library is on the device"
LIBRARY = "libonnxruntime.so"
RECORD = "reduced-runtime.json"
FILES = (LIBRARY, RECORD, "reduced-runtime.config", "reduced-runtime-licences.txt")
HEADER = "onnxruntime_c_api.h"
_ANY = Wanted(ReducedRuntime(), "linux/amd64", "1.17.3")


def plan(given: Shipping, table: ReducedRuntime) -> Made:
    """The library as it lies below ``build/``; where none was built yet, a gate says how to."""
    job = given.job
    if job.library is None:
        return Made({}, judge=partial(_judge, target=job.target.name))
    step = job.step("reduced_library", {"result": job.library})
    names = [*FILES, *([HEADER] if HEADER in job.library.files else [])]
    judge = partial(_judge, wanted=asked_by(job.target.recipe, table))
    return Made({name: step[name] for name in names}, {"library": step}, judge=judge, about=_about)


def _about(facts: Facts) -> Mapping[str, Mapping[str, str]]:
    """What a device must have for the library."""
    told = facts.get("library", {})
    versions = newest((told.get("elf") or {}).get("versions", {}))
    return {
        LIBRARY: {family.lower(): dotted(found) for family, found in versions.items()}
        | {"onnxruntime": told["record"]["onnxruntime"]}
    }


def _judge(facts: Facts, wanted: Wanted = _ANY, target: str = "") -> list[Gate]:
    if "library" not in facts:
        return [unseen(NAME, f"none was built for this target yet: ./inv runtime-build --target {target}")]
    return judged(facts["library"], wanted)

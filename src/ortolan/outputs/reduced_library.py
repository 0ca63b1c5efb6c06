"""What a reduced ONNX Runtime is judged by without running it: its size, what it needs of a device, and what it was built for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..artifact import Gate
from ..recipe.outputs import XNNPACK, ReducedRuntime
from ..recipe.schema import Target
from .made import gate, unseen

NAME = "reduced-runtime"
"""The gate that says whether there is such a library, and whether it is of this recipe."""
SIZE, NEEDS, FITS = "reduced-size", "reduced-needs", "reduced-fits"
PROVIDERS, FUSIONS = "reduced-providers", "reduced-fusions"
KNOBS = ("exceptions", "static_cxx", "xnnpack", "extended")
_SYSTEM = ("libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1")
_LOADERS = {"amd64": "ld-linux-x86-64.so.2", "arm64": "ld-linux-aarch64.so.1"}
_CXX = ("libstdc++.so.6", "libgcc_s.so.1")
_FAMILIES = ("GLIBC", "GLIBCXX", "CXXABI")
_VERSION = re.compile(r"(GLIBC|GLIBCXX|CXXABI|GCC)_([0-9]+(?:\.[0-9]+)*)")
_SUCH = 4  # symbols that are named of many
_SINCE = {"GLIBC_ABI_DT_RELR": "GLIBC_2.36"}  # packed relocations, and the first C library that reads them
_WITH: dict[tuple[int, ...], dict[str, tuple[int, ...]]] = {
    (2, 28): {"GLIBCXX": (3, 4, 25), "CXXABI": (1, 3, 11), "GCC": (8, 0, 0)},
    (2, 31): {"GLIBCXX": (3, 4, 28), "CXXABI": (1, 3, 12), "GCC": (10, 0, 0)},
    (2, 35): {"GLIBCXX": (3, 4, 30), "CXXABI": (1, 3, 13), "GCC": (12, 0, 0)},
    (2, 39): {"GLIBCXX": (3, 4, 33), "CXXABI": (1, 3, 15), "GCC": (14, 0, 0)},
}
"""The C++ runtime beside a C library in Debian 10 and 11, Ubuntu 22.04 (Debian 12 has the same) and 24.04 (so has Debian 13).

The versions are those that GCC 8, 10, 12 and 14 define: the libstdc++ manual, "ABI Policy and Guidelines". Those of libgcc are
called by the GCC that brought them (``GCC_7.0.0``), so that none is newer than the compiler's own.
"""


@dataclass(frozen=True)
class Wanted:
    """What a target asks of its library: the recipe's table, the platform, the fleet's oldest version, and its providers.

    ``fusing``: its ``.ort`` files leave fusions to the device.
    """

    table: ReducedRuntime
    platform: str
    oldest: str
    fusing: bool = False
    providers: Sequence[str] = ()


def asked_by(target: Target, table: ReducedRuntime) -> Wanted:
    """What a recipe asks for. ``table`` is its own for a library, or what is taken for it where it has none."""
    providers = [one.name for one in target.provider]
    fusing = target.outputs.ort is not None and target.outputs.ort.style == "runtime"
    return Wanted(table, target.platform, target.runtime.versions[0], fusing=fusing, providers=providers)


def judged(facts: Mapping[str, Any], wanted: Wanted) -> list[Gate]:
    """``facts`` are those of the stage ``reduced_library``."""
    table, platform = wanted.table, wanted.platform
    gates = [_built(facts["record"], wanted), _size(facts, table), _needs(facts, table, platform)]
    return [*gates, *_left_undone(wanted)]


def _left_undone(wanted: Wanted) -> Iterator[Gate]:
    """What the library passes over without a word: results are the same, and slower.

    XNNPACK, which nothing from the pinned sources has, as no wheel has it; and what an ``.ort`` of style ``runtime`` leaves to
    the device, which only an extended minimal build does there: an INT8 model took three times as long in a minimal one.
    """
    if wanted.fusing and not (wanted.table.extended or wanted.table.xnnpack):
        undone = 'fusions that style = "runtime" leaves to the device are not done there, and INT8 is computed in floats'
        yield unseen(FUSIONS, f'{undone}: say extended = true, for 0.4 MB more, or style = "fixed"')
    if XNNPACK in wanted.providers:
        lacks = (
            f"this library has no {XNNPACK}, and what it would take runs on the CPU: xnnpack = true, where your sources have it"
        )
        yield unseen(PROVIDERS, "which nodes XNNPACK takes shows on the device" if wanted.table.xnnpack else lacks)


def _built(record: Mapping[str, Any], asked: Wanted) -> Gate:
    """The library is of the recipe as it stands, and knows the C API that the target's programs ask for."""
    platform, oldest = asked.platform, asked.oldest
    version, knobs = str(record["onnxruntime"]), record["knobs"]
    wanted = {name: getattr(asked.table, name) for name in KNOBS}
    problems = [f"was built with {name} = {_word(knobs.get(name))}" for name in KNOBS if knobs.get(name) != wanted[name]]
    problems += [f"was built for {record['platform']}"] if record["platform"] != platform else []
    if _numbers(version) < _numbers(oldest):
        problems.append(f"is ONNX Runtime {version}, and programs for this target ask for the C API of {oldest}")
    measured = ", ".join([f"ONNX Runtime {version}", *(f"{name} = {_word(one)}" for name, one in sorted(knobs.items()))])
    again = "; ./inv runtime-build builds it anew" if problems else ""
    return gate(NAME, not problems, measured, f"≥ {oldest}, as the recipe says", "; ".join(problems) + again)


def _size(facts: Mapping[str, Any], table: ReducedRuntime) -> Gate:
    size, limit = facts["size"], "stripped" if table.max_size is None else f"stripped, ≤ {table.max_size:,} B"
    elf = facts["elf"]
    problems = [] if elf is None or elf["stripped"] else ["it holds symbols or tables for debuggers: strip it"]
    if table.max_size is not None and size > table.max_size:
        problems.append(f"{size - table.max_size:,} B too many: models with fewer kinds of operators, or a larger max_size")
    return gate(SIZE, not problems and elf is not None, f"{size:,} B", limit, "; ".join(problems) or facts["error"])


def _needs(facts: Mapping[str, Any], table: ReducedRuntime, platform: str) -> Gate:
    """It is of the target's architecture, needs libraries that the target has, and of them no newer symbols."""
    limit = f"{platform}, glibc ≤ {table.glibc}"
    elf = facts["elf"]
    if elf is None:
        return gate(NEEDS, good=False, measured="no library", limit=limit, why=facts["error"])
    machine = platform.rpartition("/")[2]
    problems = [] if elf["machine"] == machine else [f"is for {elf['machine']}, the target is {machine}"]
    problems += _strangers(elf["needed"], table, machine)
    found = newest(elf["versions"])
    problems += _too_new(_newest(elf["versions"]), table, elf.get("symbols", {}))
    problems += _unknown(elf["versions"])
    problems += [f"looks for libraries in {elf['runpath']}"] if elf["runpath"] not in {"", "$ORIGIN"} else []
    versions = ", ".join(f"{family} {dotted(version)}" for family, version in sorted(found.items()))
    measured = ", ".join(part for part in (elf["machine"], versions, f"{len(elf['needed'])} libraries") if part)
    return gate(NEEDS, not problems, measured, limit, "; ".join(problems))


def _strangers(needed: Sequence[str], table: ReducedRuntime, machine: str) -> Iterator[str]:
    known = [*_SYSTEM, _LOADERS.get(machine, ""), *([] if table.static_cxx else _CXX)]
    for name in needed:
        if name not in known:
            yield f"needs {name}" + (", which static_cxx = true was to put inside" if name in _CXX else "")


def _too_new(
    versions: Mapping[str, tuple[int, ...]], table: ReducedRuntime, symbols: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    most: dict[str, tuple[int, ...]] = {"GLIBC": _numbers(table.glibc)} | _beside(_numbers(table.glibc))
    for family, found in sorted(versions.items()):
        if family in most and found > most[family]:
            version = f"{family}_{dotted(found)}"
            such = ", ".join(symbols.get(version, ())[:_SUCH])
            yield f"needs {version}{f' ({such})' if such else ''}, the target has {dotted(most[family])}"


def _beside(glibc: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The C++ runtime of the newest system that has this C library or an older one; of the oldest that is known."""
    return _WITH[max([known for known in _WITH if known <= glibc] or [min(_WITH)])]


def newest(versions: Mapping[str, Sequence[str]]) -> dict[str, tuple[int, ...]]:
    """The newest version of each family of symbols that the C and the C++ library must have."""
    return {family: version for family, version in _newest(versions).items() if family in _FAMILIES}


def _newest(versions: Mapping[str, Sequence[str]]) -> dict[str, tuple[int, ...]]:
    """The same with that of GCC's own library."""
    found: dict[str, tuple[int, ...]] = {}
    for name in (name for several in versions.values() for name in several):
        if known := _VERSION.fullmatch(_SINCE.get(name, name)):
            found[known[1]] = max(found.get(known[1], ()), _numbers(known[2]))
    return found


def _unknown(versions: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Versions that stand for no release of a library: private ones, and features that one C library has and another lacks."""
    for library, names in sorted(versions.items()):
        for name in names:
            if not _VERSION.fullmatch(_SINCE.get(name, name)):
                yield f"needs {name} of {library}, and which systems have that is not known"


def fits(lacks: Sequence[str] | None) -> Gate:
    """Whether the library was built for all that a model needs.

    ``lacks`` names what is missing, in words; None: nobody compared them.
    """
    if lacks is None:
        return unseen(FITS, "what the model needs was not compared with what the library was built for")
    measured = f"{len(lacks)} missing" if lacks else "all operators, opsets and types are inside"
    return gate(FITS, not lacks, measured, "within reduced-runtime.config", "; ".join(lacks))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def dotted(numbers: Sequence[int]) -> str:
    """``2.34``."""
    return ".".join(map(str, numbers))


def _word(value: Any) -> str:
    return str(value).lower()

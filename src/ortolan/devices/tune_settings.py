"""The session settings that are tried: ONNX Runtime's defaults, and changes to them that can be combined."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

from .tune_statistics import DEFAULT

DEFAULTS: Mapping[str, Any] = {
    "intra_op_num_threads": 0,
    "inter_op_num_threads": 0,
    "execution_mode": "ORT_SEQUENTIAL",
    "graph_optimization_level": "ORT_ENABLE_ALL",
    "enable_mem_pattern": True,
    "enable_cpu_mem_arena": True,
}
"""What a new SessionOptions holds, in session.json's words; a test asks ONNX Runtime."""
SPINNING = "session.intra_op.allow_spinning"
"""Whether threads that wait for work keep their processor (onnxruntime_session_options_config_keys.h); "1" by default."""
CPU, OPTIMISED = "CPUExecutionProvider", "optimised.onnx"
OPTIMISED_SESSION = "optimised.session.json"
"""How the optimised file is opened: a level of its own, with which the files that ship would run unoptimised."""
RECIPE = "the recipe's"
"""The name of what the build's own session.json says."""
_LEVELS = ("extended", "basic", "disable")
_ORDERS = 6
_OF_SESSION = frozenset({"threads", "mode", "level", "arena", "pattern", "spinning"})
_X86 = {"x86_64", "amd64"}


@dataclass(frozen=True)
class Change:
    """One setting that differs from the defaults. Changes that touch the same thing exclude each other."""

    label: str
    touches: frozenset[str]
    options: Mapping[str, Any] = field(default_factory=dict)
    entries: Mapping[str, str] = field(default_factory=dict)
    providers: tuple[Mapping[str, Any], ...] = ()
    file: str = ""


@dataclass(frozen=True)
class Candidate:
    """Changes that are tried together; none at all are the defaults."""

    changes: tuple[Change, ...] = ()

    @property
    def name(self) -> str:
        """What people read, and what tells candidates apart."""
        return ", ".join(one.label for one in self.changes) or DEFAULT

    @property
    def labels(self) -> frozenset[str]:
        """What its changes are called."""
        return frozenset(one.label for one in self.changes)

    def joined(self, other: Candidate) -> Candidate | None:
        """Both together; None where they touch the same."""
        touched = [one for each in (*self.changes, *other.changes) for one in each.touches]
        return Candidate((*self.changes, *other.changes)) if len(touched) == len(set(touched)) else None


@dataclass(frozen=True)
class Machine:
    """What of a device decides on candidates: ``takes`` are the providers before the CPU that take nodes of the model."""

    processors: int
    cores: int
    name: str
    takes: tuple[str, ...] = ()


def opening(base: Mapping[str, Any], candidate: Candidate) -> dict[str, Any]:
    """``file``, ``providers``, ``session_options`` and ``config_entries``: how a candidate is opened. ``base``: the defaults."""
    made = {key: base[key] for key in ("file", "providers", "session_options", "config_entries")}
    for one in candidate.changes:
        made["session_options"] = {**made["session_options"], **one.options}
        made["config_entries"] = {**made["config_entries"], **one.entries}
        made["providers"] = list(one.providers) or made["providers"]
        made["file"] = one.file or made["file"]
    return made


def defaults(session: Mapping[str, Any], file: str) -> dict[str, Any]:
    """The defaults for a build: its providers, and what of its config entries is not varied, stay as its recipe says."""
    entries = {key: value for key, value in session["config_entries"].items() if key != SPINNING}
    return {"file": file, "providers": session["providers"], "session_options": dict(DEFAULTS), "config_entries": entries}


# --- what is tried --------------------------------------------------------------------------------------------------


def recipe(session: Mapping[str, Any]) -> Candidate | None:
    """What the build's own session.json says; None where that comes to the defaults."""
    options = {key: value for key, value in session["session_options"].items() if key in DEFAULTS}
    entries = {key: value for key, value in session["config_entries"].items() if key == SPINNING}
    ran = {**DEFAULTS, **options}
    if ran["execution_mode"] == "ORT_SEQUENTIAL":
        ran["inter_op_num_threads"] = 0  # nothing is done by them
    if ran == DEFAULTS and entries.get(SPINNING, "1") == "1":
        return None
    return Candidate((Change(RECIPE, _OF_SESSION, options, entries),))


def singles(machine: Machine, session: Mapping[str, Any], files: Sequence[str]) -> Iterator[Candidate]:
    """One change each, the likely ones first. ``files``: the models of the build, the one of the defaults first."""
    for one in (*_providers(machine, session), *_threads(machine), *_files(machine, files), *_levels(), *_memory()):
        yield Candidate((one,))


def _threads(machine: Machine) -> Iterator[Change]:
    counts = {1, machine.cores, machine.processors} | {2**n for n in range(1, 10) if 2**n < machine.cores}
    for count in sorted(counts, reverse=True):
        yield Change(f"{count} thread{'s' * (count > 1)}", frozenset({"threads"}), {"intra_op_num_threads": count})
    if machine.processors > 1:
        yield Change("no spinning", frozenset({"spinning"}), entries={SPINNING: "0"})
        for count in sorted({2, max(2, machine.cores // 2)}):
            wide = {"execution_mode": "ORT_PARALLEL", "inter_op_num_threads": count}
            yield Change(f"{count} nodes at a time", frozenset({"mode"}), wide)


def _levels() -> Iterator[Change]:
    for level in _LEVELS:
        text = "ORT_DISABLE_ALL" if level == "disable" else f"ORT_ENABLE_{level.upper()}"
        label = "no optimisation" if level == "disable" else f"{level} optimisation"
        yield Change(label, frozenset({"level"}), {"graph_optimization_level": text})


def _memory() -> Iterator[Change]:
    yield Change("no arena", frozenset({"arena"}), {"enable_cpu_mem_arena": False})
    yield Change("no memory pattern", frozenset({"pattern"}), {"enable_mem_pattern": False})


def _files(machine: Machine, files: Sequence[str]) -> Iterator[Change]:
    """Other files of the build, and on x86 one that ONNX Runtime optimised there: opened without optimising it again."""
    for one in files[1:]:
        yield Change(one, frozenset({"file"}), file=one)
    if machine.name.lower() in _X86 and "model.onnx" in files:
        again = {"graph_optimization_level": "ORT_DISABLE_ALL"}
        yield Change(OPTIMISED, frozenset({"file", "level", "providers"}), again, file=OPTIMISED)


def _providers(machine: Machine, session: Mapping[str, Any]) -> Iterator[Change]:
    """Every order of those that take nodes, the CPU last, but for the order that the recipe comes to."""
    named = {one["name"]: one["options"] for one in session["providers"]}
    now = tuple(name for name in named if name in machine.takes)
    orders = [order for count in range(len(machine.takes) + 1) for order in permutations(machine.takes, count) if order != now]
    for order in sorted(orders, key=lambda one: -len(one))[:_ORDERS]:
        wanted = tuple({"name": name, "options": named.get(name, {})} for name in (*order, CPU))
        yield Change(" > ".join(_short(one["name"]) for one in wanted), frozenset({"providers"}), providers=wanted)


def _short(provider: str) -> str:
    return provider.removesuffix("ExecutionProvider")

"""What an output is made from, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..artifact import SHIPPED, Gate, Outcome
from ..sources import Job
from ..step import Ref, Step

ROUNDING = 30.0
"""Signal-to-noise ratio in dB that INT8 kernels of another library may cost by rounding otherwise (seen: 35 and more)."""
Facts = Mapping[str, Mapping[str, Any]]
"""The facts of an output's steps, by the names that it gave them."""


def _no_gates(_: Facts) -> list[Gate]:
    return []


def _nothing(_: Facts) -> Mapping[str, Mapping[str, str]]:
    return {}


def gate(name: str, good: bool, measured: str, limit: str, why: str = "") -> Gate:
    """A gate of what ships that passes or fails."""
    return Gate(name, SHIPPED, Outcome.PASS if good else Outcome.FAIL, measured, limit, why)


def unseen(name: str, why: str, measured: str = "") -> Gate:
    """A gate of what ships that could not be run here."""
    return Gate(name, SHIPPED, Outcome.NOT_RUN, measured, why=why)


def rounded(outputs: Iterable[Mapping[str, Any]], close: bool, least: float = ROUNDING) -> tuple[bool, str, list[str]]:
    """Whether outputs are those of the model or near it by signal-to-noise ratio, in words, and why where they are not."""
    given = list(outputs)
    known = [one["snr_db"] for one in given if one["snr_db"] is not None]
    near = close or (bool(given) and all(one["close"] or (one["snr_db"] or 0.0) >= least for one in given))
    seen = f"SNR {min(known):.3g} dB" if known else "equal" if near else "did not run"
    return near, seen, [one["reason"] for one in given if not one["close"] and one.get("reason")]


@dataclass(frozen=True)
class Shipping:
    """The model that ships. ``golden`` holds what it computes from ``samples``, as it is written."""

    job: Job
    model: Ref
    samples: Ref
    golden: Ref
    tag: str

    def compared(self) -> dict[str, Ref]:
        """The inputs of a step that runs the samples."""
        return {"samples": self.samples, "expected": self.golden}


@dataclass(frozen=True)
class Made:
    """The files of one output, the steps whose facts ``judge`` turns into gates, and what its engines prove of providers.

    ``about`` says of files what a device compares before it loads them, ``{file: {key: text}}``: it stands in the manifest.
    """

    files: Mapping[str, Ref]
    steps: Mapping[str, Step] = field(default_factory=dict)
    evidence: Mapping[str, Ref] = field(default_factory=dict)
    judge: Callable[[Facts], Sequence[Gate]] = _no_gates
    about: Callable[[Facts], Mapping[str, Mapping[str, str]]] = _nothing

"""What an output is made from, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..artifact import SHIPPED, Gate, Outcome, Precision
from ..sources import Job
from ..step import Ref, Step

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


@dataclass(frozen=True)
class Shipping:
    """The model that ships. ``expected`` holds the framework's outputs for ``samples``, where it is meant to equal them."""

    job: Job
    model: Ref
    samples: Ref
    expected: Ref | None
    tag: str
    hashed: str
    precision: Precision

    def compared(self) -> dict[str, Ref]:
        """The inputs of a step that runs the samples."""
        return {"samples": self.samples, **({"expected": self.expected} if self.expected else {})}


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

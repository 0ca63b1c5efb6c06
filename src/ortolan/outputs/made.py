"""What an output is made from, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..artifact import Gate, Precision
from ..sources import Job
from ..step import Ref, Step

Facts = Mapping[str, Mapping[str, Any]]
"""The facts of an output's steps, by the names that it gave them."""


def _no_gates(_: Facts) -> list[Gate]:
    return []


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
    """The files of one output, the steps whose facts ``judge`` turns into gates, and what its engines prove of providers."""

    files: Mapping[str, Ref]
    steps: Mapping[str, Step] = field(default_factory=dict)
    evidence: Mapping[str, Ref] = field(default_factory=dict)
    judge: Callable[[Facts], Sequence[Gate]] = _no_gates

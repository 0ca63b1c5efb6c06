"""Compares all outputs of all samples with what was expected, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import tensors

if TYPE_CHECKING:
    Sample = Mapping[str, Any]


def outputs(expected: Sequence[Sample], results: Sequence[Sample], rtol: float, atol: float) -> dict[str, dict[str, Any]]:
    """``{output: compare()}``, the worst of all samples; an output that only one side has is not close."""
    if len(expected) != len(results):
        raise ValueError(f"{len(expected)} expected samples for {len(results)} results")
    names = sorted({name for sample in (*expected, *results) for name in sample})
    pairs = list(zip(expected, results))
    return {name: tensors.worst([_one(name, want, got, rtol, atol) for want, got in pairs]) for name in names}


def _one(name: str, want: Sample, got: Sample, rtol: float, atol: float) -> dict[str, Any]:
    if name not in want or name not in got:
        return tensors.absent("expected, but no output of the model" if name in want else "an output that nothing is expected of")
    return tensors.compare(want[name], got[name], rtol, atol)

"""Paired ratios of trials, and what can be said of their median without knowing how they are spread."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import comb
from statistics import median

DEFAULT = "defaults"
"""The name of ONNX Runtime's defaults among candidates."""


@dataclass(frozen=True)
class Trial:
    """One run of a candidate in a process of its own: ``ms`` is the median latency; None with an ``error`` in words.

    What stands in one ``block`` of a ``turn`` ran one after the other, the defaults among them.
    """

    stage: str
    turn: int
    block: int
    name: str
    ms: float | None = None
    error: str = ""
    open_ms: float | None = None
    peak_bytes: int | None = None
    runs: int = 0


@dataclass(frozen=True)
class Ratio:
    """The median of paired ratios to the defaults (below 1: faster), and an interval; None where there were too few pairs."""

    median: float
    pairs: int
    low: float | None
    high: float | None

    @property
    def faster(self) -> bool:
        """Whether the whole interval lies below 1."""
        return self.high is not None and self.high < 1


def ratios(trials: Iterable[Trial], name: str) -> list[float]:
    """A candidate's latency over that of the defaults in the same block, for each block that has both."""
    blocks: dict[tuple[str, int, int], dict[str, float]] = {}
    for one in trials:
        if one.ms:
            blocks.setdefault((one.stage, one.turn, one.block), {})[one.name] = one.ms
    return [found[name] / found[DEFAULT] for found in blocks.values() if {name, DEFAULT} <= found.keys()]


def judged(values: Sequence[float], confidence: float) -> Ratio | None:
    """The median with its interval; None without values."""
    if not values:
        return None
    low, high = interval(values, confidence) or (None, None)
    return Ratio(median(values), len(values), low, high)


def interval(values: Sequence[float], confidence: float) -> tuple[float, float] | None:
    """An interval that covers the median at least so often, whatever the distribution: by order statistics, as the sign test.

    None where the values are too few for any.
    """
    ordered, count = sorted(values), len(values)
    outside, inside = 0.0, 0
    for rank in range(count // 2):
        outside += 2 * comb(count, rank) / 2**count
        if outside > 1 - confidence:
            break
        inside = rank + 1
    return (ordered[inside - 1], ordered[count - inside]) if inside else None


def pairs_needed(confidence: float) -> int:
    """The fewest values of which ``interval`` can say anything."""
    count = 1
    while 2 / 2**count > 1 - confidence:
        count += 1
    return count

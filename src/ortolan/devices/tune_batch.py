"""What a search for session settings asks a device for, what comes of it, the time that it has, and what it finds in the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .tune_settings import Candidate
from .tune_statistics import Ratio, Trial


@dataclass(frozen=True)
class Batch:
    """Trials to make in this order, as ``turns`` of blocks of names; ``check``: whose outputs to compare first.

    Seconds: of a trial's ``window``, the ``limit`` of one, and those of all together, after which no more are wanted.
    """

    stage: str
    turns: tuple[tuple[tuple[str, ...], ...], ...]
    check: tuple[str, ...]
    window: float
    limit: float
    seconds: float

    @property
    def places(self) -> list[tuple[int, int, str]]:
        """Turn, block and name of each trial."""
        return [(i, j, name) for i, turn in enumerate(self.turns) for j, block in enumerate(turn) for name in block]


@dataclass(frozen=True)
class Ran:
    """The results of the first trials of a batch, what outputs differ in by name, and the seconds that it all took."""

    trials: Sequence[Mapping[str, Any]]
    differ: Mapping[str, str]
    seconds: float


Measure = Callable[[Batch, Mapping[str, Candidate]], Ran]


@dataclass(frozen=True)
class Plan:
    """The seconds that are left, the seed, and of a trial its window, its limit, and what it costs; ``before``: what is gone."""

    seconds: float
    seed: int
    window: float
    limit: float
    cost: float
    before: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """What was found: ``chosen`` is the candidate to take, or the defaults, for the reason ``why``.

    ``ratios`` by name, from the confirmation for the ``finalists``; ``out``: why a candidate was dropped for another reason than
    being slower.
    """

    chosen: Candidate
    why: str
    ratios: Mapping[str, Ratio]
    finalists: Sequence[str]
    tried: Sequence[Candidate]
    out: Mapping[str, str]
    trials: Sequence[Trial]
    seconds: float

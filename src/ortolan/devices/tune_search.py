"""The search for session settings: what is tried when, by successive halving, and what is taken. Pure, but for ``measure``.

Candidates run in turns. A turn has every candidate once, in blocks of a few, with the defaults in each block; blocks and the
order in them come from a seeded permutation. A block gives ratios to its own defaults, so that what slows the machine for a
while slows both. Candidates come from changes of one setting; after a few turns the slower half is dropped, twice or more.
What is left is combined, and halved again. The best of all runs against the defaults once more, for as many turns as the time
allows, and only these last turns decide: a candidate is taken when the whole interval of its median ratio lies below 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from random import Random
from statistics import median

from .tune_batch import Batch, Measure, Outcome, Plan
from .tune_settings import Candidate
from .tune_statistics import DEFAULT, Ratio, Trial, judged, pairs_needed, ratios

CONFIDENCE = 0.99
"""Of the interval that decides, over all finalists together."""
SCREEN, COMBINE, CONFIRM = "screen", "combine", "confirm"
_BLOCK = 3  # candidates beside the defaults
_KEPT, _FINALISTS, _COMBINED = 5, 2, 8
_TURNS, _LAST = 4, 30  # of a rung, and of the confirmation, at the most
_ENDS = {SCREEN: 0.40, COMBINE: 0.62}  # shares of the time after which a stage is over
_SHORT = "the time was too short to try it"


@dataclass
class Search:
    """The state of a search: what was tried, what came of it, and the time that is left."""

    plan: Plan
    measure: Measure
    say: Callable[[str], object] = str
    known: dict[str, Candidate] = field(default_factory=dict)
    out: dict[str, str] = field(default_factory=dict)
    trials: list[Trial] = field(default_factory=list)
    checked: set[str] = field(default_factory=set)
    spent: float = 0.0
    turn: int = 0

    def __post_init__(self) -> None:
        self.random = Random(self.plan.seed)  # noqa: S311  an order, no secret
        self.cost = self.plan.cost

    def run(self, candidates: Sequence[Candidate], always: Candidate | None = None) -> Outcome:
        """Search among these; ``always`` is a candidate that is confirmed whatever its rank."""
        every = [*([always] if always else []), *candidates]
        self.known = {one.name: one for one in (Candidate(), *every)}
        left = self._halved(SCREEN, self._affordable([one.name for one in every]), _KEPT)
        joined = self._combined([name for name in left if (score := self.score(name)) is not None and score < 1])
        if joined:
            left = self._halved(COMBINE, [*joined, *left[:_FINALISTS]], _FINALISTS)
        best = self._finalists(left)
        own = [always.name] if always and always.name not in {*best, *self.out} and self.score(always.name) else []
        return self._confirmed([*best, *own])

    # --- turns

    def score(self, name: str) -> float | None:
        """The median ratio of all trials so far; None before there are any."""
        found = ratios(self.trials, name)
        return median(found) if found else None

    def _measured(self) -> list[str]:
        return [name for name in self.known if name != DEFAULT and self.score(name) is not None]

    def _ranked(self, names: Iterable[str]) -> list[str]:
        """Those that are still in and were measured, the fastest first."""
        scores = {name: score for name in names if name not in self.out and (score := self.score(name)) is not None}
        return sorted(scores, key=lambda name: (scores[name], name))

    def _halved(self, stage: str, names: Sequence[str], keep: int) -> list[str]:
        """Turns for all, then for the better half of them, and so on until few are left or the stage's time is over."""
        left = list(dict.fromkeys(names))
        until = self._end(stage)
        while left and self.spent < until:
            rungs = max(1, (max(1, len(left) // keep)).bit_length())
            possible = (until - self.spent) / (self.cost * self._size(len(left)))
            turns = min(_TURNS, max(int(possible / rungs), min(1, int(possible))))
            if not turns:
                break
            self._take(stage, left, turns, until - self.spent)
            left = self._ranked(left)
            if len(left) <= keep:
                break
            left = left[: max(keep, (len(left) + 1) // 2)]
        return self._ranked(left)[:keep]

    def _take(self, stage: str, names: Sequence[str], turns: int, seconds: float) -> None:
        """Make trials, and keep what came of them."""
        check = tuple(name for name in names if name not in self.checked)
        order = tuple(self._turn([name for name in names if name != DEFAULT]) for _ in range(turns))
        batch = Batch(stage, order, check, self.plan.window, self.plan.limit, seconds)
        self.say(f"{stage}: {len(names)} settings, {turns} turns")
        ran = self.measure(batch, self.known)
        self.spent += ran.seconds
        for (turn, block, name), one in zip(batch.places, ran.trials, strict=False):
            found = Trial(stage, self.turn + turn, block, name, one.get("p50_ms"), one.get("error", ""))
            self.trials.append(
                replace(found, open_ms=one.get("open_ms"), peak_bytes=one.get("peak_bytes"), runs=one.get("runs", 0))
            )
        self.turn += turns
        self.checked |= set(check)
        self.out |= {one.name: one.error for one in self.trials if one.error and one.name != DEFAULT}
        self.out |= {name: f"outputs differ: {why}" for name, why in ran.differ.items()}
        done = sum(not one.get("error") for one in ran.trials)
        self.cost = max(self.plan.cost / 4, ran.seconds / done) if done >= len(batch.places) / 2 else self.cost

    def _turn(self, names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        """Blocks of a few, each with the defaults, all in a random order."""
        mixed = self.random.sample(names, len(names))
        count = -(-len(mixed) // _BLOCK)
        blocks = [[DEFAULT, *mixed[start::count]] for start in range(count)]
        return tuple(tuple(self.random.sample(block, len(block))) for block in blocks)

    @staticmethod
    def _size(count: int) -> int:
        """The trials of a turn."""
        return count + -(-count // _BLOCK)

    # --- time

    def _reserve(self) -> float:
        """What the confirmation of one candidate takes at the least, and a share of the time."""
        return min(0.6 * self.plan.seconds, 2.2 * self.cost * pairs_needed(CONFIDENCE))

    def _end(self, stage: str) -> float:
        return min(_ENDS[stage] * self.plan.seconds, self.plan.seconds - self._reserve())

    def _affordable(self, names: Sequence[str]) -> list[str]:
        """As many of the first as one turn has time for."""
        room = self._end(SCREEN) - self.spent
        count = len(names)
        while count and self.cost * (self._size(count) + count) > room:  # each is checked once, too
            count -= 1
        self.out |= dict.fromkeys(names[count:], _SHORT)
        return list(names[:count])

    # --- stages

    def _finalists(self, left: Sequence[str]) -> list[str]:
        """The best, and what it must beat to be taken: the best part of it; of one change alone, the next best."""
        order = list(dict.fromkeys([*left, *self._ranked(self._measured())]))
        best = self.known[order[0]].labels if order else frozenset()
        parts = [name for name in self._ranked(self._measured()) if self.known[name].labels < best]
        return list(dict.fromkeys([*order[:1], *parts, *order]))[:_FINALISTS]

    def _combined(self, names: Sequence[str]) -> list[str]:
        """The best of what can be put together of two or three of these, by the product of their ratios."""
        found: dict[str, float] = {}
        for some in (*combinations(names, 2), *combinations(names, 3)):
            joined: Candidate | None = Candidate()
            product = 1.0
            for name in some:
                joined = joined.joined(self.known[name]) if joined else None
                product *= self.score(name) or 1.0
            if joined:
                self.known.setdefault(joined.name, joined)
                found[joined.name] = product
        room = int((self._end(COMBINE) - self.spent) / (self.cost * 2.4))
        best = sorted(found, key=lambda name: (found[name], name))[: max(0, min(_COMBINED, room))]
        for name in found.keys() - set(best):
            del self.known[name]
        return best

    def _confirmed(self, names: Sequence[str]) -> Outcome:
        """Turns of the finalists and the defaults alone, which decide."""
        left = self.plan.seconds - self.spent
        finalists = list(names)
        while len(finalists) > 1 and self._turns(finalists, left) < pairs_needed(_each(len(finalists))):
            finalists.pop()
        turns = self._turns(finalists, left) if finalists else 0
        if turns:
            self.checked -= set(finalists)
            self._take(CONFIRM, finalists, turns, left)
        return self._judged(finalists)

    def _turns(self, finalists: Sequence[str], seconds: float) -> int:
        size = self._size(len(finalists))
        return min(_LAST, int((0.95 * seconds - self.cost * len(finalists)) / (self.cost * size)))

    def _judged(self, finalists: Sequence[str]) -> Outcome:
        last = [one for one in self.trials if one.stage == CONFIRM]
        level = _each(len(finalists))
        found = {name: one for name in self._measured() if (one := judged(ratios(self.trials, name), level))}
        final = {name: one for name in finalists if (one := judged(ratios(last, name), level))}
        better = [name for name, one in final.items() if one.faster and name not in self.out]
        chosen = self._simplest(better, final)
        return Outcome(
            self.known[chosen], "" if better else self._reason(final, level), found | final, list(final),
            [one for name, one in self.known.items() if name != DEFAULT], self.out, self.trials, self.spent,
        )  # fmt: skip

    def _simplest(self, better: Sequence[str], final: Mapping[str, Ratio]) -> str:
        """The fastest; of those that cannot be told from it, because their intervals meet, the one that changes least."""
        if not better:
            return DEFAULT
        best = min(better, key=lambda name: final[name].median)
        equal = [name for name in better if (final[name].low or 0) <= (final[best].high or 0)]
        return min(equal, key=lambda name: (len(self.known[name].changes), final[name].median, name))

    def _reason(self, final: Mapping[str, Ratio], level: float) -> str:
        """Why the defaults stay."""
        need = pairs_needed(level)
        if not final or max(one.pairs for one in final.values()) < need:
            seconds = self.plan.before + 2.2 * self.cost * need / 0.4
            return f"there was no time to confirm anything: {need} pairs of trials are wanted, so --seconds {seconds:.0f} or more"
        return "nothing was faster beyond doubt"


def _each(count: int) -> float:
    """The confidence for each of several intervals, so that all together have CONFIDENCE (Bonferroni)."""
    return 1 - (1 - CONFIDENCE) / max(1, count)

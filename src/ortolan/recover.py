"""``policy = "recover"``: the fewest layers left in float that bring agreement and accuracy back, found with few evaluations."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace

from . import quantising
from .artifact import Outcome
from .execute import Result, Results
from .gates import waive
from .gates.kept import kept
from .plan import Candidates, base, with_candidate
from .quantising import Recovery
from .sources import Job
from .step import Step

EVALUATIONS = 15
"""How often the metric is measured, the first time with every layer quantised. Enough for 60 layers: 7 doublings, 6 halvings."""

_NO_EFFECT = 120.0  # dB, what equal outputs have: quantised alone, such a layer changes nothing

Run = Callable[[Iterable[Step], Results], Results]
"""Adds the results of steps to those that are known; one that only recalls leaves out what it does not know."""


@dataclass(frozen=True)
class Settled:
    """A job's candidates after the search, or as far as it could be followed, and the results of all that was run."""

    found: Candidates
    results: Results


def settle(
    job: Job, found: Candidates, results: Results, run: Run, host: str, clock: Callable[[], float] = time.monotonic
) -> Settled:
    """Search where the policy asks for it and agreement or accuracy fell too far; else leave the candidates as they are."""
    if not _wanted(job, found, results):
        return Settled(found, results)
    return _Search(job, found, results, run, host, clock).settle()


def _wanted(job: Job, found: Candidates, results: Results) -> bool:
    if job.target.recipe.quantize.policy != "recover" or found.lowered is None or found.evaluate is None:
        return False
    known = [results.get(step.id) for step in (found.lowered.quantise, found.evaluate)]
    return all(one and one.ok for one in known) and not _passes(job, found, results)


def _passes(job: Job, found: Candidates, results: Results) -> bool:
    """Whether no gate on agreement or accuracy fails without a waiver."""
    result = results[found.evaluate.id] if found.evaluate else None
    if result is None or not result.ok:
        return False
    judged = waive(job, kept(job, result.facts), results[found.normalise.id].output("model.onnx").digest)
    return not any(gate.outcome is Outcome.FAIL for gate in judged)


class _Search:
    """One search: each evaluation is a pair of steps with keys of their own, so that the next build recalls them."""

    def __init__(self, job: Job, found: Candidates, results: Results, run: Run, host: str, clock: Callable[[], float]) -> None:
        self._job, self._found, self._results = job, found, dict(results)
        self._run, self._host, self._clock = run, host, clock
        self._until = clock() + job.target.recipe.quantize.budget
        self._evaluations = 1

    def settle(self) -> Settled:
        if self._found.lowered is None:
            return Settled(self._found, self._results)
        ranking = quantising.sensitivity(self._job, base(self._found), self._found.lowered)
        ranking = replace(ranking, time_limit=self._job.target.recipe.quantize.budget)
        ranked = self._result(ranking)
        if ranked is None or not ranked.ok:
            return self._unranked(ranking, ranked)
        layers = [layer for layer in ranked.facts["layers"] if layer["snr_db"] < _NO_EFFECT]
        most = affordable([layer["mac_share"] for layer in layers], self._share())
        probe, ended, timed = self._found, "", False
        best: Sequence[str] = ()
        steps = sets([layer["node"] for layer in layers[:most]])
        wanted = next(steps, None)
        while wanted is not None:
            ended, timed = self._over()
            if ended:
                break
            probe = with_candidate(self._job, self._found, self._host, wanted, f"{len(wanted)} in float")
            if not self._evaluated(probe):
                return Settled(replace(probe, sensitivity=ranking), self._results)
            passed = _passes(self._job, probe, self._results)
            best = wanted if passed else best
            wanted = _next(steps, passed=passed)
        chosen = with_candidate(self._job, self._found, self._host, best) if best else self._found
        recovery = Recovery(tuple(best), len(layers), most, self._evaluations, ended, timed)
        return Settled(replace(chosen, sensitivity=ranking, recovery=recovery), self._results)

    def _share(self) -> float:
        """How much of the multiply-accumulates may go back to float, by the target's limit."""
        quantised = self._results[self._found.lowered.quantise.id].facts["macs_share"] if self._found.lowered else 0.0
        return float(quantised) - self._job.target.recipe.gates.min_quantized_macs

    def _over(self) -> tuple[str, bool]:
        """Why there is nothing further is run, and whether it is for the time."""
        if self._clock() >= self._until:
            minutes = self._job.target.recipe.quantize.budget / 60
            return f"the budget of {minutes:g} min ended the search: fewer may do, or more help", True
        return (
            (f"no more than {EVALUATIONS} are made: fewer layers may do", False)
            if self._evaluations >= EVALUATIONS
            else ("", False)
        )

    def _result(self, step: Step) -> Result | None:
        self._results = self._run([step], self._results)
        return self._results.get(step.id)

    def _evaluated(self, probe: Candidates) -> bool:
        """Run a probe; false when it is not known what becomes of it."""
        self._evaluations += 1
        return probe.evaluate is not None and self._result(probe.evaluate) is not None

    def _unranked(self, ranking: Step, result: Result | None) -> Settled:
        """Without a ranking nothing can be searched; without a result it is not known."""
        if result is None:
            return Settled(replace(self._found, sensitivity=ranking), self._results)
        ended, timed = self._over() if result.error else ("", False)
        why = result.refused["what"] if result.refused else ended if timed else str(result.error)
        recovery = Recovery((), 0, 0, self._evaluations, f"the layers could not be ranked: {why}", timed)
        return Settled(replace(self._found, recovery=recovery), self._results)


def affordable(shares: Sequence[float], limit: float) -> int:
    """How many of the first layers may be left in float, by their shares of multiply-accumulates."""
    total = 0.0
    for count, share in enumerate(shares):
        total += share
        if total > limit:
            return count
    return len(shares)


def sets(ranked: Sequence[str]) -> Generator[Sequence[str], bool, None]:
    """The sets of layers to try in float, told of each whether it passes; every one that passes is smaller than the last.

    The shortest beginning of ``ranked`` that passes, by doubling and halving; then, as a ranking is no proof that each of them
    is needed, less of it: all but the last, halves of them, quarters.
    """
    if not ranked:
        return
    low, high = 0, 1
    while not (yield ranked[:high]):
        if high >= len(ranked):
            return
        low, high = high, min(2 * high, len(ranked))
    while high - low > 1:
        middle = (low + high) // 2
        if (yield ranked[:middle]):
            high = middle
        else:
            low = middle
    yield from _without(list(ranked[:high]), [list(ranked[: high - 1])])


def _without(needed: Sequence[str], parts: list[Sequence[str]]) -> Generator[Sequence[str], bool, None]:
    """``needed`` without these parts of it; without halves of a part that cannot be spared whole."""
    while parts:
        part = parts.pop(0)
        rest = [name for name in needed if name not in part]
        if part and (yield rest):
            needed = rest
        elif len(part) > 1:
            parts += [part[len(part) // 2 :], part[: len(part) // 2]]


def _next(steps: Generator[Sequence[str], bool, None], *, passed: bool) -> Sequence[str] | None:
    try:
        return steps.send(passed)
    except StopIteration:
        return None

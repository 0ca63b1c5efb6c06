"""Which field of which key changed since the last build."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from . import digest
from .build import failures, record_path
from .emulation import Emulation
from .errors import OrtolanError
from .execute import Executor, Result, Results, key_of
from .gates import candidates as judge
from .gates import choose, comes_quantised, stopping, tolerated, waive
from .plan import Candidates, as_given, candidates, shipment, tag_of
from .platforms import host_platform
from .recover import settle
from .sources import Job
from .step import Step, in_order

_WIDTH = 40  # of a value in a line for people


@dataclass(frozen=True)
class Change:
    """What would happen to one step now: ``same``, ``known`` (another key, already built), ``run`` or ``waits``; and why."""

    label: str
    state: str
    fields: tuple[str, ...] = ()


def why(job: Job, last: Mapping[str, str], executor: Executor) -> list[Change]:
    """Compare the keys that a build would use now with those of the last one (``{label: key}``); nothing is run."""
    found, results = _candidates(job, executor), Results()
    changes = [_change(step, last, executor, results) for step in in_order(found.steps())]
    if _known(changes):
        settled = settle(job, found, results, partial(_recalled, executor), host_platform())
        found, results = settled.found, settled.results
        changes = [_change(step, last, executor, results) for step in in_order(found.steps())]
    if _known(changes):
        changes += _later(job, found, last, executor, results)
    return changes


def _candidates(job: Job, executor: Executor) -> Candidates:
    """Those that a build would judge, as far as the store tells whether the model comes quantised."""
    found = candidates(job, host=host_platform())
    results = _recalled(executor, [found.normalise], {})
    return as_given(found) if found.normalise.id in results and comes_quantised(found, results) else found


def _known(changes: Sequence[Change]) -> bool:
    """Whether the results of all of them are in the store."""
    return all(change.state in ("same", "known") for change in changes)


def _recalled(executor: Executor, steps: Iterable[Step], known: Results) -> Results:
    """The results of steps as far as the store has them."""
    results = dict(known)
    for step in in_order(steps):
        if step.id not in results:
            _change(step, {}, executor, results)
    return results


def _later(job: Job, found: Candidates, last: Mapping[str, str], executor: Executor, results: Results) -> list[Change]:
    """What ships, unless the build would stop before that."""
    if failures(found.steps(), results, tolerated(found, results)):
        return []
    hashed = results[found.normalise.id].output("model.onnx").digest
    judged = waive(job, judge(job, found, results), hashed)
    precision, _ = choose(job, judged)
    if stopping(judged, precision, job):
        return []
    ship = shipment(job, found, precision, tag_of(job, hashed), hashed)
    known = {step.id for step in in_order(found.steps())}
    later = (*ship.steps(), *Emulation(executor.runtimes).checks(job, ship).values())
    return [_change(step, last, executor, results) for step in in_order(later) if step.id not in known]


def _change(step: Step, last: Mapping[str, str], executor: Executor, results: Results) -> Change:
    if not all(needed.id in results for needed in step.needs()):
        return Change(step.label, "waits", tuple(n.label for n in step.needs() if n.id not in results))
    culprit = next((needed for needed in step.needs() if not results[needed.id].ok), None)
    if culprit:
        results[step.id] = Result(step, skipped=results[culprit.id].skipped or culprit)
        return Change(step.label, "same")
    now = executor.preimage(step, results)
    action = executor.store.recall(key_of(now))
    if action:
        results[step.id] = Result(step, action)
    before = last.get(step.label)
    if before == key_of(now):
        return Change(step.label, "same" if action else "run", () if action else ("its result is no longer in the store",))
    old = executor.store.preimage(before) if before else None
    return Change(step.label, "known" if action else "run", tuple(differing(old, now)) if old else ("not built before",))


def differing(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """The fields in which two JSON values differ, as ``path: old → new``."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            where = f"{path}.{name}" if path else name
            if name in old and name in new:
                yield from differing(old[name], new[name], where)
            else:
                yield f"{where}: only {'before' if name in old else 'now'}"
    elif digest.canonical(old) != digest.canonical(new):
        yield f"{path}: {_short(old)} → {_short(new)}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _WIDTH else f"{text[:28]}…{text[-8:]}"


def judged_by(job: Job, last: Mapping[str, Any]) -> list[Change]:
    """The limits, tolerances and policy that changed: they are in no key, and the gates are judged anew with them."""
    fields = tuple(differing(last, job.limits()))
    return [Change("gates", "judge", fields)] if fields else []


def last_build(output: Path, job: Job) -> dict[str, Any]:
    """The record that the last build left, with its ``steps`` (``{label: key}``) and ``limits``; OrtolanError without one."""
    path = record_path(output, job)
    try:
        record: dict[str, Any] = json.loads(path.read_text())
        return {"steps": dict(record["steps"]), "limits": dict(record["limits"])}
    except (OSError, ValueError, KeyError) as error:
        raise OrtolanError("there is no build to compare with", where=str(path), hint="./inv build first") from error


def summary(changes: Sequence[Change]) -> str:
    """One line: how many steps are as in the last build."""
    same = sum(change.state == "same" for change in changes)
    return (
        "nothing changed since the last build"
        if same == len(changes)
        else f"{same} of {len(changes)} steps are as in the last build"
    )

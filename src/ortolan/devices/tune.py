"""Find the best session settings of a build on a device, by measuring; and what is kept of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from .. import digest
from ..errors import OrtolanError
from . import bench
from .describe import About
from .tune_batch import Outcome, Plan
from .tune_errand import Device, Subject
from .tune_search import CONFIDENCE, Search
from .tune_settings import OPTIMISED, RECIPE, Candidate, Machine, opening, recipe, singles
from .tune_statistics import DEFAULT, Trial

VERSION = 1
_TRIALS = 140
"""Trials that a search makes when it has the time: the window of one is what the budget leaves to each."""
_FIRST, _LEAST, _MOST = 0.1, 0.03, 1.0
"""Seconds of a trial's window: of the first ones, and at the least and the most."""
_RUNS = 7  # of a trial, in a window and before it, at the least
_SHARE, _LIMIT, _SLOW = 1.25, 5.0, 10.0
_UNSTABLE = "the outputs differ from run to run, so that settings cannot be compared: "


@dataclass(frozen=True)
class Tuned:
    """What was found for a build on a device; ``looked`` is what the device said of itself."""

    build: Subject
    looked: Mapping[str, Any]
    outcome: Outcome
    plan: Plan
    seconds: float

    @property
    def settings(self) -> dict[str, Any]:
        """The settings to take."""
        return opening(self.build.base, self.outcome.chosen)

    @property
    def shipped(self) -> dict[str, Any]:
        """What of them is meant for the files that ship: all but what goes with a file that this machine alone has."""
        return opening(self.build.base, self._shipped)

    @property
    def _shipped(self) -> Candidate:
        return Candidate(tuple(one for one in self.outcome.chosen.changes if one.file != OPTIMISED))

    @property
    def news(self) -> bool:
        """Whether the recipe should say something else: others were taken, or its own are slower than the defaults."""
        own = self.outcome.ratios.get(RECIPE) if RECIPE in self.outcome.finalists else None
        slower = own is not None and own.low is not None and own.low > 1
        return self._shipped.name not in {DEFAULT, RECIPE} or (self._shipped.name == DEFAULT and slower)

    @property
    def session(self) -> dict[str, Any]:
        """The build's session.json with the settings to take for the files that ship."""
        return self._session(self.shipped)

    @property
    def optimised(self) -> dict[str, Any] | None:
        """The session.json of the file that this machine alone has; None where it was not taken."""
        return self._session(self.settings) if self.settings["file"] == OPTIMISED else None

    def _session(self, taken: Mapping[str, Any]) -> dict[str, Any]:
        return {**self.build.session, **{key: taken[key] for key in ("providers", "session_options", "config_entries")}}


def tune(build: Subject, device: Device, *, seconds: float, seed: int, say: Callable[[str], object] = str) -> Tuned:
    """Search for about so many seconds. HostError where the model does not run with the defaults."""
    looked = device.look(build, _FIRST, max(60.0, seconds), 2 * max(60.0, seconds))
    first = [one for one in looked["trials"] if "error" not in one]
    if len(first) < 2:
        why = next((one["error"] for one in looked["trials"] if "error" in one), "it was too slow")
        raise OrtolanError("the model does not run with ONNX Runtime's defaults", where=device.where, why=why)
    plan = _plan(first, seconds, looked["seconds"], seed)
    check = looked["checks"][DEFAULT].get("value", {"near": True, "measured": ""})
    if not check["near"]:
        outcome = Outcome(Candidate(), _UNSTABLE + check["measured"], {}, [], [], {}, [], 0.0)
        return Tuned(build, looked, outcome, plan, seconds)
    search = Search(plan, lambda batch, known: device.measure(build, batch, known), say)
    found = search.run(list(singles(_machine(looked["facts"]), build.session, build.files)), recipe(build.session))
    return Tuned(build, looked, found, plan, seconds)


def _plan(first: Sequence[Mapping[str, Any]], whole: float, before: float, seed: int) -> Plan:
    """A window that leaves time for all trials, whatever opening the model and starting a process take."""
    seconds = max(0.0, whole - before)
    run = median(one["p50_ms"] for one in first) / 1e3
    over = max(0.0, median(one["seconds"] for one in first) - max(_SHARE * _FIRST, _RUNS * run))
    window = min(_MOST, max(_LEAST, (seconds / _TRIALS - over) / _SHARE))
    cost = over + max(_SHARE * window, _RUNS * run)
    return Plan(seconds, seed, window, max(_LIMIT, _SLOW * cost), cost, before)


def _machine(facts: Mapping[str, Any]) -> Machine:
    takes = tuple(name for name, one in facts["takes"].items() if one.get("nodes"))
    return Machine(facts["processors"], facts["cores"], facts["machine"], takes)


# --- what is kept ---------------------------------------------------------------------------------------------------


def document(tuned: Tuned, device: str, about: About) -> dict[str, Any]:
    """The record of a tuning: the device's identity, all trials in their order, and what was taken."""
    build, found, what = tuned.build, tuned.outcome, bench.identity(about)
    digests = {one.name: one.digest for one in build.built.artifacts}
    here = about["facts"]["platform"]
    return {
        "tune_version": VERSION,
        "target": build.built.target.name,
        "model": build.built.model.name,
        "tag": build.built.tag,
        "platform": {"wanted": build.built.target.platform, "found": f"{here['os']}/{here['architecture']}"},
        "device": {"name": device, "digest": digest.of_json("device", what), **what},
        "files": {name: digests[name] for name in build.files},
        "looked": {key: tuned.looked[key] for key in ("facts", "trials", "checks")},
        "seconds": tuned.seconds,
        "spent": tuned.looked["seconds"] + found.seconds,
        "seed": tuned.plan.seed,
        "window": tuned.plan.window,
        "confidence": CONFIDENCE,
        "defaults": build.base,
        "settings": list(_settings(tuned)),
        "chosen": {"name": found.chosen.name, **tuned.settings},
        "why": found.why,
        "gain": gain(found),
        "trials": [asdict(one) for one in found.trials],
    }


def gain(found: Outcome) -> dict[str, float]:
    """How many times faster than the defaults the settings are that were taken; all 1 where the defaults stay."""
    ratio = found.ratios.get(found.chosen.name)
    if found.chosen.name == DEFAULT or ratio is None or not ratio.low or not ratio.high:
        return {"median": 1.0, "low": 1.0, "high": 1.0}
    return {"median": 1 / ratio.median, "low": 1 / ratio.high, "high": 1 / ratio.low}


def _settings(tuned: Tuned) -> Iterator[dict[str, Any]]:
    """Everything that was tried, the fastest first; the finalists before the others."""
    found = tuned.outcome
    order = {name: place for place, name in enumerate(dict.fromkeys((found.chosen.name, *found.finalists)))}

    def rank(one: Candidate) -> tuple[int, float, str]:
        ratio = found.ratios.get(one.name)
        return (order.get(one.name, len(order)), ratio.median if ratio else float("inf"), one.name)

    for one in sorted(found.tried, key=rank):
        ratio = found.ratios.get(one.name)
        own = [each for each in found.trials if each.name == one.name and each.ms]
        yield {
            "name": one.name,
            **opening(tuned.build.base, one),
            "outcome": _outcome(one.name, found),
            "ratio": asdict(ratio) if ratio else None,
            **_spent(own),
        }


def _outcome(name: str, found: Outcome) -> str:
    if name in found.out:
        return found.out[name]
    if name == found.chosen.name:
        return "taken"
    ratio = found.ratios.get(name)
    if name in found.finalists and ratio:
        return "faster too, not taken" if ratio.faster else "not faster beyond doubt"
    return "dropped by its first turns" if ratio else "the time was too short to try it"


def _spent(own: Sequence[Trial]) -> dict[str, float | None]:
    """The medians of opening in ms and of the peak of memory in bytes."""
    opened = [one.open_ms for one in own if one.open_ms is not None]
    peak = [one.peak_bytes for one in own if one.peak_bytes is not None]
    return {"open_ms": median(opened) if opened else None, "peak_bytes": median(peak) if peak else None}

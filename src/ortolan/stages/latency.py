"""Times the fp32 model and its form of fewer bits against each other in one process, runs interleaved."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from .lib import quant_runs
from .lib.refused import Refused
from .lib.sessions import first_line, open_session
from .lib.tensors import halved, read_samples
from .lib.transient import reraise_if_transient

if TYPE_CHECKING:
    from collections.abc import Callable

INPUTS = ("fp32+", "candidate+", "samples")
PARAMS = ("session", "min_speedup")
OUTPUTS = ()
CPU = True

_NAMES = {"fp32": "fp32", "candidate": "quantised"}
_WARM_UP = 3
_ENOUGH = 1.0  # seconds of measuring, after which
_PAIRS = 15  # pairs are enough
_LIMIT = 8.0  # seconds after which any number of pairs must do


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:  # noqa: ARG001
    feeds = read_samples(inputs["samples"])[0]
    runners = {name: _runner(name, inputs[name], params["session"], feeds) for name in ("fp32", "candidate")}
    times = _measure(runners)
    fp32, other = median(times["fp32"]), median(times["candidate"])
    noise = {"fp32_ms": fp32 * 1e3, "candidate_ms": other * 1e3, "speedup": fp32 / other, "pairs": len(times["fp32"])}
    return {"compared": True, "faster": fp32 / other >= params["min_speedup"], "noise": noise}


def _runner(name: str, path: Path, session: Mapping[str, Any] | None, feeds: Mapping[str, Any]) -> Callable[[], Any]:
    try:
        opened = open_session(path, session=session)
    except Exception as error:
        reraise_if_transient(error)
        raise Refused(f"the {_NAMES[name]} model cannot be timed", why=first_line(error)) from error
    what = f"the {_NAMES[name]} model does not run on the first sample"
    mine = halved(feeds, {info.name for info in opened.get_inputs() if info.type == "tensor(float16)"})
    return lambda: quant_runs.run(opened, None, mine, what)


def _measure(runners: Mapping[str, Callable[[], Any]]) -> dict[str, list[float]]:
    """Seconds per run; the two take turns, and take turns at being first, so that a busy machine slows both."""
    times: dict[str, list[float]] = {name: [] for name in runners}
    order, start = list(runners), time.perf_counter()
    for _ in range(_WARM_UP):
        if time.perf_counter() - start < _ENOUGH:
            _pair(runners, order)
    begin = time.perf_counter()
    while not _done(len(times["fp32"]), time.perf_counter() - begin, time.perf_counter() - start):
        order.reverse()
        for name, seconds in _pair(runners, order).items():
            times[name].append(seconds)
    return times


def _done(pairs: int, measured: float, total: float) -> bool:
    return pairs > 0 and (total > _LIMIT or (measured > _ENOUGH and pairs >= _PAIRS))


def _pair(runners: Mapping[str, Callable[[], Any]], order: list[str]) -> dict[str, float]:
    found = {}
    for name in order:
        start = time.perf_counter()
        runners[name]()
        found[name] = time.perf_counter() - start
    return found

"""Times a model on this machine. Needs Python 3.8 or newer with onnxruntime and numpy.

    python3 bench.py FOLDER MODEL       as FOLDER/bench.json says; prints a line of JSON

Inputs and outputs are bound once, to buffers that every run uses again. A burst comes first, from rest; then it runs on, in
windows of a second or more, until the latency is steady, or throttling shows, or the time is over. Temperatures and clocks are
read between windows. Each number on standard input then asks for a slice of so many seconds, and gets a line of JSON.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import resource
import sys
import time
from array import array
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

WARM_UP, BURST, WINDOW, LEAST = 0.3, 1.5, 1.0, 20
"""Seconds of warming up, of the burst at the most, of a window; and runs in each at the least."""
STEADY, CALM = 0.03, 1.0
"""Latencies of windows within 3%, and temperatures within 1 degree, are steady, over so many windows:"""
WINDOWS = 6
SLOWER, SLOWED = 1.15, 0.9
"""Throttled: a window takes so many times the burst's median while a clock is below that share of its highest."""
FEW = 3
"""Runs in a slice at the least."""
KEPT = 1_000_000
"""Times of the sustained run that are kept at the most: 8 MB."""
_ZONES = "class/thermal/thermal_zone*/temp"
_CLOCKS, _DEVICES = "devices/system/cpu/cpufreq/policy*/scaling_cur_freq", "class/devfreq/*/cur_freq"
"""Clocks of CPUs in kHz, and of GPUs, accelerators and memory in Hz (Documentation/ABI/testing/sysfs-class-devfreq)."""


class CannotRun(Exception):
    """A model could not be opened or run."""


# --- opening --------------------------------------------------------------------------------------------------------


def opened(model: Path, session: Mapping[str, Any]) -> tuple[Any, list[str], float]:
    """The session, the providers that this ONNX Runtime lacks, and the seconds that opening took."""
    ort = importlib.import_module("onnxruntime")
    have = ort.get_available_providers()
    usable = [one for one in session["providers"] if one["name"] in have]

    class Strict(ort.InferenceSession):  # type: ignore[misc,name-defined,unused-ignore]
        """Never tries again on another provider."""

        _enable_fallback = property(lambda _: False, lambda _, __: None)

    given = options(ort, session)
    began = time.perf_counter()
    made = Strict(
        str(model),
        given,
        providers=[one["name"] for one in usable] or ["CPUExecutionProvider"],
        provider_options=[one["options"] for one in usable] or [{}],
    )
    took = time.perf_counter() - began
    dead = [one["name"] for one in usable if one["name"] not in made.get_providers()]
    if dead:
        raise CannotRun("{} is listed, but could not be started".format(", ".join(dead)))
    return made, [one["name"] for one in session["providers"] if one["name"] not in have], took


def options(ort: Any, session: Mapping[str, Any]) -> Any:
    """As session.json says."""
    given = ort.SessionOptions()
    kinds = {"execution_mode": ort.ExecutionMode, "graph_optimization_level": ort.GraphOptimizationLevel}
    for key, value in session["session_options"].items():
        setattr(given, key, getattr(kinds[key], value) if key in kinds else value)
    for key, value in session["config_entries"].items():
        given.add_session_config_entry(key, value)
    return given


def bound(session: Any, feeds: Mapping[str, Any]) -> Any:
    """A binding of the inputs and, where their shapes are known after a run, of the outputs, each to a buffer of its own."""
    np, ort = importlib.import_module("numpy"), importlib.import_module("onnxruntime")
    names = [one.name for one in session.get_outputs()]
    values = session.run(names, dict(feeds))
    binding = session.io_binding()
    for name, value in feeds.items():
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(value)))
    for name, value in zip(names, values):
        if not isinstance(value, np.ndarray) or value.dtype == object:
            raise CannotRun(f"output {name} is no tensor of numbers: it cannot be bound")
        binding.bind_ortvalue_output(name, ort.OrtValue.ortvalue_from_numpy(np.empty(value.shape, value.dtype)))
    return binding


def feeds(folder: Path, golden: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of the first golden sample."""
    np, data = importlib.import_module("numpy"), (folder / golden["file"]).read_bytes()
    found = {}
    for name, entry in golden["samples"][0]["inputs"].items():
        if "values" in entry:
            raise CannotRun(f"input {name} has texts: it cannot be bound")
        dtype = np.dtype(entry["dtype"])
        flat = np.frombuffer(data, dtype.newbyteorder("<"), entry["size"] // dtype.itemsize, entry["offset"])
        found[name] = flat.astype(dtype).reshape(entry["shape"])
    return found


# --- timing ---------------------------------------------------------------------------------------------------------


def timed(run: Callable[[], Any], seconds: float, least: int) -> tuple[list[float], float]:
    """Seconds of each run, and of all together, for about ``seconds`` and so many runs at the least."""
    clock = time.perf_counter
    found: list[float] = []
    began = now = clock()
    while now - began < seconds or len(found) < least:
        run()
        then, now = now, clock()
        found.append(now - then)
    return found, now - began


def summary(times: Sequence[float], total: float) -> dict[str, float]:
    """Milliseconds by percentile (nearest rank), and runs in a second."""
    ordered = sorted(times)
    found = {f"p{share}_ms": ordered[max(0, -(-len(ordered) * share // 100) - 1)] * 1e3 for share in (50, 95, 99)}
    return {
        **found,
        "least_ms": ordered[0] * 1e3,
        "most_ms": ordered[-1] * 1e3,
        "per_second": len(times) / total,
        "runs": len(times),
    }


class Kept:
    """The times of a long run, of which no more than ``KEPT`` are kept, evenly spread: a device has little memory.

    The fastest and the slowest run, and how many there were, are of all.
    """

    def __init__(self) -> None:
        self.times, self.spacing, self.runs, self.total = array("d"), 1, 0, 0.0
        self.least, self.most = math.inf, 0.0

    def add(self, times: Sequence[float], took: float) -> None:
        """The runs of another window."""
        self.times.extend(times[-self.runs % self.spacing :: self.spacing])
        self.runs, self.total = self.runs + len(times), self.total + took
        self.least, self.most = min(self.least, *times), max(self.most, *times)
        while len(self.times) > KEPT:
            self.times, self.spacing = self.times[::2], self.spacing * 2

    def summary(self) -> dict[str, float]:
        """As of a short one."""
        ends = {"least_ms": self.least * 1e3, "most_ms": self.most * 1e3}
        return {**summary(self.times, self.total), **ends, "per_second": self.runs / self.total, "runs": self.runs}


class Senses:
    """Temperatures in degrees Celsius and clocks in MHz below /sys, where the machine shows them."""

    def __init__(self, root: Path) -> None:
        self.zones, self.clocks, self.devices = (sorted(root.glob(one)) for one in (_ZONES, _CLOCKS, _DEVICES))
        self.most = {path: _number(path.with_name("cpuinfo_max_freq")) for path in self.clocks}
        self.most.update({path: _number(path.with_name("max_freq")) for path in self.devices})
        self.used: set[Path] = set()

    def now(self) -> dict[str, float | None]:
        """The hottest zone, the slowest clock of a CPU, and the least share of a highest clock; None where that is not shown."""
        hot = [value / 1000 for value in map(_number, self.zones) if value is not None]
        pairs = [(value, self.most[path]) for path in self.clocks if (value := _number(path)) is not None]
        shares = [value / most for value, most in pairs if most] + self._used()
        return {
            "celsius": max(hot, default=None),
            "mhz": min((value / 1000 for value, _ in pairs), default=None),
            "clock_share": min(shares, default=None),
        }

    def _used(self) -> list[float]:
        """The shares of devices that have been near their highest clock: one that nothing uses has a slow clock, too."""
        values = {path: _number(path) for path in self.devices}
        found = {path: value / most for path, value in values.items() if value is not None and (most := self.most[path])}
        self.used.update(path for path, share in found.items() if share >= SLOWED)
        return [share for path, share in found.items() if path in self.used]


def _number(path: Path) -> float | None:
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return None


def sustained(run: Callable[[], Any], seconds: float, burst: float, senses: Senses) -> dict[str, Any]:
    """Windows until they are steady, or throttling shows, or the time is over; ``burst`` is the burst's median in ms."""
    windows: list[dict[str, Any]] = []
    every, ended = Kept(), "time"
    while every.total < seconds:
        times, took = timed(run, min(WINDOW, seconds), LEAST)
        every.add(times, took)
        seen = summary(times, took)
        windows.append({"at": round(every.total, 3), "p50_ms": seen["p50_ms"], "per_second": seen["per_second"], **senses.now()})
        if throttled(windows, burst):
            ended = "throttled"
            break
        if steady(windows):
            ended = "steady"
            break
    last = windows[-WINDOWS:]
    late, rates = sorted(one["p50_ms"] for one in last), sorted(one["per_second"] for one in last)
    return {
        **every.summary(),
        "ended": ended,
        "seconds": every.total,
        "of_burst": late[len(late) // 2] / burst,
        "late_per_second": rates[(len(rates) - 1) // 2],
        "windows": windows,
    }


def steady(windows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether neither latency nor temperature moved over the last windows."""
    last = windows[-WINDOWS:]
    times = [one["p50_ms"] for one in last]
    heat = [one["celsius"] for one in last if one["celsius"] is not None]
    calm = not heat or max(heat) - min(heat) <= CALM
    return len(last) == WINDOWS and max(times) <= min(times) * (1 + STEADY) and calm


def throttled(windows: Sequence[Mapping[str, Any]], burst: float) -> bool:
    """Whether the last windows all were slower than the burst, with a slower clock."""
    last = windows[-WINDOWS:]
    slow = [one["clock_share"] is not None and one["clock_share"] < SLOWED and one["p50_ms"] > burst * SLOWER for one in last]
    return len(last) == WINDOWS and all(slow)


# --- one model ------------------------------------------------------------------------------------------------------


def measure(folder: Path, name: str, wanted: Mapping[str, Any]) -> tuple[dict[str, Any], Callable[[], Any]]:
    """Everything of one model by itself, in this process alone; and how to run it again."""
    ort, sample = importlib.import_module("onnxruntime"), feeds(folder, json.loads((folder / "golden.json").read_text()))
    session, lacking, cold = opened(folder / name, json.loads((folder / "session.json").read_text()))
    began = time.perf_counter()
    binding = bound(session, sample)
    first = time.perf_counter() - began
    senses = Senses(Path("/sys"))
    rest = senses.now()

    def run() -> None:
        session.run_with_iobinding(binding)

    timed(run, WARM_UP, 3)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    burst = summary(*timed(run, min(BURST, wanted["seconds"] / 4), LEAST))
    found = {
        "runtime": ort.__version__, "providers": session.get_providers(), "lacking": lacking, "cold_start_ms": cold * 1e3,
        "first_run_ms": first * 1e3, "rest": rest, "burst": burst,
        "sustained": sustained(run, wanted["seconds"], burst["p50_ms"], senses),
        "peak_bytes": peak,
    }  # fmt: skip
    return found, run


def serve(folder: Path, name: str, wanted: Mapping[str, Any]) -> int:
    """A line with the result of one model, and then one for each slice that is asked for; what libraries print is no answer."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        found, run = measure(folder, name, wanted)
        print(json.dumps(found), file=answers, flush=True)
        for line in sys.stdin:
            print(json.dumps({"p50_ms": summary(*timed(run, float(line), FEW))["p50_ms"]}), file=answers, flush=True)
    except Exception as error:  # noqa: BLE001  ONNX Runtime's errors have no common type
        what = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        print(json.dumps({"error": what}), file=answers, flush=True)
    return 0


def main(arguments: Sequence[str]) -> int:
    """Serve one model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="with the model, bench.json, session.json, golden.json and golden.bin")
    parser.add_argument("model", help="its file")
    given = parser.parse_args(arguments)
    return serve(given.folder, given.model, json.loads((given.folder / "bench.json").read_text()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

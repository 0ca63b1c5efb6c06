"""Times a model under many session settings. Needs Python 3.8 or newer, onnxruntime, numpy, and bench.py and selftest.py beside.

    python3 tune.py FOLDER         as FOLDER/tune.json says; prints JSON

Every trial is a process of its own, so that no threads, memory or settings of one are left to the next. It is forked from this
one, which imports ONNX Runtime and never opens a session: a trial costs opening the model and running it. One that crashes or
hangs is ended and says so; the others go on.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import platform
import resource
import select
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

WARM, LEAST = 0.25, 5
"""The share of a trial's window that warms up before it; and runs in a window at the least."""
OPTIMISED, REFERENCE = "optimised.onnx", "reference.npz"
CPU = "CPUExecutionProvider"
bench: Any = importlib.import_module("bench")
selftest: Any = importlib.import_module("selftest")


class Late(Exception):
    """The time for all trials is over."""


# --- a process of its own -------------------------------------------------------------------------------------------


def apart(work: Callable[[], Any], limit: float, end: float) -> dict[str, Any]:
    """What ``work`` gives in a process of its own, as ``value``; or ``error`` in words, also when it was not over in ``limit`` s.

    Late when ``end`` (of time.monotonic) came first.
    """
    reader, writer = os.pipe()
    process = os.fork()
    if not process:
        os.close(reader)
        _child(work, writer)
    os.close(writer)
    until = min(time.monotonic() + limit, end)
    try:
        said = _read(reader, until)
    finally:
        os.close(reader)
        os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
    if said is None and until == end:
        raise Late
    return _answer(said, status, limit)


def _child(work: Callable[[], Any], writer: int) -> None:
    """Write the answer and end; what libraries print is no answer."""
    with contextlib.suppress(BaseException):
        os.dup2(2, 1)
        try:
            found: dict[str, Any] = {"value": work()}
        except BaseException as error:  # noqa: BLE001  ONNX Runtime's errors have no common type
            found = {"error": _first(error)}
        data = json.dumps(found).encode()
        while data:
            data = data[os.write(writer, data) :]
    os._exit(0)


def _read(reader: int, until: float) -> bytes | None:
    """All that comes until the other end is closed; None where that takes too long."""
    data = b""
    while True:
        left = until - time.monotonic()
        if left <= 0 or not select.select([reader], [], [], left)[0]:
            return None
        piece = os.read(reader, 1 << 16)
        if not piece:
            return data
        data += piece


def _answer(said: bytes | None, status: int, limit: float) -> dict[str, Any]:
    if said is None:
        return {"error": f"it was not over after {limit:.3g} s"}
    try:
        found: dict[str, Any] = json.loads(said.decode())
        return found
    except ValueError:
        ended = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"code {os.WEXITSTATUS(status)}"
        return {"error": f"its process ended with {ended}"}


def _first(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


# --- a trial --------------------------------------------------------------------------------------------------------


def trial(folder: Path, settings: Mapping[str, Any], window: float) -> dict[str, Any]:
    """Milliseconds of a run, for a window of so many seconds after warming up; ms of opening; bytes of memory at most."""
    sample = bench.feeds(folder, json.loads((folder / "golden.json").read_text()))
    session, _, cold = bench.opened(folder / settings["file"], settings)
    binding = bench.bound(session, sample)

    def run() -> None:
        session.run_with_iobinding(binding)

    bench.timed(run, window * WARM, 1)
    found = bench.summary(*bench.timed(run, window, LEAST))
    kept = {key: found[key] for key in ("p50_ms", "p95_ms", "least_ms", "runs")}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {**kept, "open_ms": cold * 1e3, "peak_bytes": peak}


# --- outputs --------------------------------------------------------------------------------------------------------


def outputs(folder: Path, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The outputs for each golden sample."""
    session = bench.opened(folder / settings["file"], settings)[0]
    golden = json.loads((folder / "golden.json").read_text())
    names = [one.name for one in session.get_outputs()]
    samples = selftest._samples(folder, golden)  # noqa: SLF001  the program that every bundle carries reads them so
    return [dict(zip(names, session.run(names, feeds))) for feeds, _ in samples]


def keep(folder: Path, settings: Mapping[str, Any]) -> int:
    """Write the outputs that others are compared with; how many samples there are."""
    np, found = importlib.import_module("numpy"), outputs(folder, settings)
    values = {f"{number} {name}": value for number, one in enumerate(found) for name, value in one.items()}
    np.savez(str(folder / REFERENCE), **values)
    return len(found)


def compare(folder: Path, settings: Mapping[str, Any], limits: Mapping[str, Any]) -> dict[str, Any]:
    """Whether the outputs are near those that were kept, and the first difference in words."""
    np = importlib.import_module("numpy")
    with np.load(str(folder / REFERENCE), allow_pickle=True) as file:  # written above, in this folder
        kept = {name: file[name] for name in file.files}
    for number, one in enumerate(outputs(folder, settings)):
        wanted = {name: kept[f"{number} {name}"] for name in one}
        for row in selftest._compared(number, one, wanted, limits):  # noqa: SLF001  as a bundle's own test judges
            if row["outcome"] != "pass":
                return {"near": False, "measured": "sample {sample}, {name}: {measured}".format(**row)}
    return {"near": True, "measured": ""}


# --- what the device has --------------------------------------------------------------------------------------------


def facts(folder: Path, settings: Mapping[str, Any], limit: float, end: float) -> dict[str, Any]:
    """Processors that may be used, cores, the last minute's load, and how many nodes each provider takes when it comes first."""
    ort = importlib.import_module("onnxruntime")
    named = {one["name"]: one["options"] for one in settings["providers"]}
    have = [one for one in ort.get_available_providers() if one != CPU]
    taken = {}
    for name in sorted(have, key=[*named, *have].index):
        asked = {**settings, "providers": [{"name": name, "options": named.get(name, {})}, {"name": CPU, "options": {}}]}
        found = apart(partial(nodes, folder, asked), limit, end)
        taken[name] = {"nodes": found["value"].get(asked["providers"][0]["name"], 0)} if "value" in found else found
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    machine = {"processors": len(allowed), "cores": cores(allowed, Path("/sys")), "machine": platform.machine()}
    return {**machine, "runtime": ort.__version__, "takes": taken, "load": os.getloadavg()[0]}


def nodes(folder: Path, settings: Mapping[str, Any]) -> dict[str, int]:
    """How many nodes ran on each provider, by ONNX Runtime's own profile of one run."""
    sample, session = bench.feeds(folder, json.loads((folder / "golden.json").read_text())), dict(settings)
    prefix = str(folder / f"profile-{os.getpid()}")
    session["session_options"] = {**settings["session_options"], "enable_profiling": True, "profile_file_prefix": prefix}
    opened = bench.opened(folder / settings["file"], session)[0]
    opened.run(None, dict(sample))
    path = Path(opened.end_profiling())
    events = json.loads(path.read_text())
    path.unlink()
    found: dict[str, int] = {}
    for one in events:
        provider = one.get("args", {}).get("provider")
        if one.get("cat") == "Node" and one["name"].endswith("_kernel_time") and provider:
            found[provider] = found.get(provider, 0) + 1
    return found


def cores(allowed: Sequence[int], sys_root: Path) -> int:
    """How many cores these processors are of; as many as there are processors where the kernel does not say."""
    found = set()
    for number in allowed:
        about = sys_root / f"devices/system/cpu/cpu{number}/topology"
        try:
            found.add(tuple((about / name).read_text() for name in ("physical_package_id", "core_id")))
        except OSError:
            return len(allowed)
    return len(found)


def optimise(folder: Path) -> str:
    """Write the model as ONNX Runtime optimises it for this machine's processor."""
    ort = importlib.import_module("onnxruntime")
    given = ort.SessionOptions()
    given.optimized_model_filepath = str(folder / OPTIMISED)
    given.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    given.log_severity_level = 3  # it warns that the file is for this machine alone, which is what is wanted
    ort.InferenceSession(str(folder / "model.onnx"), given, providers=[CPU])
    return OPTIMISED


# --- all ------------------------------------------------------------------------------------------------------------


class Errand:
    """What was asked for: ``settings`` by name, the ``order`` of trials, names to ``check``, and times in seconds."""

    def __init__(self, folder: Path, asked: Mapping[str, Any]) -> None:
        self.folder, self.asked = folder, asked
        self.end = time.monotonic() + asked["seconds"]
        self.found: dict[str, Any] = {"trials": [], "checks": {}}

    def carry_out(self) -> dict[str, Any]:
        """As far as the time goes; ``over`` says that it was over."""
        try:
            self._all()
        except Late:
            self.found["over"] = True
        return self.found

    def _all(self) -> None:
        asked, settings = self.asked, self.asked["settings"]
        used = {settings[name]["file"] for name in (*asked["order"], *asked["check"])} | set(asked["make"])
        if OPTIMISED in used:
            self.found["made"] = self._apart(partial(optimise, self.folder))
        if asked["check"]:
            self.found["reference"] = self._apart(partial(keep, self.folder, settings[asked["base"]]))
        if asked["facts"]:
            self.found["facts"] = facts(self.folder, settings[asked["base"]], asked["limit"], self.end)
        for name in asked["check"]:
            self.found["checks"][name] = self._apart(partial(compare, self.folder, settings[name], asked["limits"]))
        for name in asked["order"]:
            began = time.monotonic()
            found = self._trial(settings[name])
            took = time.monotonic() - began
            self.found["trials"].append({"name": name, "seconds": took, **found.pop("value", {}), **found})

    def _trial(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = self.found.get("made", {})
        if settings["file"] == OPTIMISED and "error" in made:
            return {"error": "{} cannot be made: {}".format(OPTIMISED, made["error"])}
        return self._apart(partial(trial, self.folder, settings, self.asked["window"]))

    def _apart(self, work: Callable[[], Any]) -> dict[str, Any]:
        return apart(work, self.asked["limit"], self.end)


def main(arguments: Sequence[str]) -> int:
    """Print the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="with the models, tune.json, session.json, golden.json and golden.bin")
    given = parser.parse_args(arguments)
    os.environ.update(ORT_DISABLE_TELEMETRY="1", OPENBLAS_NUM_THREADS="1")  # read when they are imported
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    began = time.monotonic()
    for name in ("numpy", "onnxruntime"):
        importlib.import_module(name)
    found = Errand(given.folder, json.loads((given.folder / "tune.json").read_text())).carry_out()
    answers.write(json.dumps({**found, "seconds": time.monotonic() - began}))
    answers.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

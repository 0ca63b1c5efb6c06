"""Prints what a build of a large model in half precision costs over copying the model three times, and its peak memory."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from side_by_side import ROOT, empty_cache, plain_environment, step_seconds

sys.path.insert(0, str(ROOT / "tests"))

from large_models import blocks

MEMORY, TIME = 1.3, 2.0
"""The goals: peak memory over the size of the model, the build's time over three copies of it."""
RUNTIME = frozenset({"calibrate", "evaluate", "evidence_session", "golden", "latency", "reference_onnx", "sensitivity", "verify"})
"""Stages that open the model in ONNX Runtime, which then holds its weights: the check in the runtime, told apart."""
CHECKS = {"fp16": ("halve",), "dynamic": ("quantise_dynamic",), "weight-only": ("quantise_weights",), "static": ("quantise",)}
EVERY = 0.1  # seconds between two looks at all processes
TARGET = """
description = "A large machine"
platform = "linux/amd64"
runtime = { versions = ["1.31.1"], opset = 17 }
provider = [{ name = "CPUExecutionProvider" }]
shapes = { batch = 1 }
quantize = { policy = "%s", scheme = "%s" }
gates = { min_speedup = 0.001, min_agreement = 0.5, max_size = "9 GB" }
"""
MODEL = """
source = { kind = "onnx", file = "large.onnx", external_data = ["large.onnx.data"] }
parity = { samples = 1 }
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=3000, help="size of the model")
    parser.add_argument("--scheme", choices=sorted(CHECKS), default="fp16", help="what [quantize] asks for")
    parser.add_argument("--folder", type=Path, help="where there is room for six times the model; default: the system's own")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="large-model-") as folder:
        root = project(Path(folder), given.megabytes, given.scheme)
        size = sum(path.stat().st_size for path in (root / "recipes" / "models").glob("large.onnx*"))
        print(f"the model: {size / 1e9:.2f} GB; load before: {os.getloadavg()[0]:.1f}", flush=True)
        copies = [copied_three_times(root) for _ in range(2)]
        seen = built(root)
        copies.append(copied_three_times(root))
        return 0 if told(seen, size, copies) else 1


def project(folder: Path, megabytes: int, scheme: str) -> Path:
    """A project with one target and one model, a stack of a transformer's feed-forward blocks."""
    models, targets = folder / "recipes" / "models", folder / "recipes" / "targets"
    for each in (models, targets):
        each.mkdir(parents=True)
    blocks(models / "large.onnx", megabytes * 1_000_000)
    (models / "large.toml").write_text(MODEL)
    (targets / "board.toml").write_text(TARGET % ("require" if scheme == "fp16" else "prefer", scheme))
    return folder


def copied_three_times(root: Path) -> float:
    """Seconds of copying the model's files three times, each to the disk, as ``cp`` and ``sync`` do."""
    began = time.perf_counter()
    for number in range(3):
        to = root / f"copy-{number}"
        to.mkdir()
        for path in (root / "recipes" / "models").glob("large.onnx*"):
            shutil.copyfile(path, to / path.name)
            synced(to / path.name)
    seconds = time.perf_counter() - began
    for number in range(3):
        shutil.rmtree(root / f"copy-{number}")
    return seconds


def synced(path: Path) -> None:
    """Wait until a file is on the disk."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


@dataclass
class Seen:
    """What a build did: seconds, peaks of memory in bytes (proportional sets) by stage, and of all processes at one time."""

    seconds: float = 0.0
    runtime_alone: float = 0.0
    synced: float = 0.0
    stages: dict[int, str] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)
    together: int = 0
    apart: int = 0
    steps: list[tuple[str, float]] = field(default_factory=list)
    ended: str = ""


def built(root: Path) -> Seen:
    """Build from an empty store, looking at all processes meanwhile."""
    cache = empty_cache(root / "cache")
    command = [sys.executable, "-m", "ortolan", "build", "--target", "board", "--model", "large", "--json", "--cache", str(cache)]
    environment = plain_environment() | {"PYTHONPATH": str(ROOT / "src")}
    seen = Seen()
    with (root / "out.jsonl").open("wb") as out:
        began = last = time.perf_counter()
        process = subprocess.Popen([*command, "--no-emulation"], cwd=root, env=environment, stdout=out)
        while process.poll() is None:
            time.sleep(EVERY)
            now = time.perf_counter()
            look(process.pid, seen, now - last)
            last = now
        ended = time.perf_counter()
        for path in (*cache.glob("store/objects/*"), *root.glob("build/*/*/model.onnx*")):
            synced(path)
        seen.seconds, seen.synced = time.perf_counter() - began, time.perf_counter() - ended
    seen.steps = list(step_seconds((root / "out.jsonl").read_text()).items())
    record = json.loads((root / "build" / "board" / "large.json").read_text())
    failed = [gate for gate in record["gates"] if gate["outcome"] != "pass"]
    seen.ended = "\n".join(
        [f"ships {record['precision']}" if record["ok"] else "ships nothing", *map(str, failed), *record["errors"]]
    )
    return seen


def look(root: int, seen: Seen, passed: float) -> None:
    """Note the memory of the build's processes now. A worker is known by the request in its folder, until it is gone."""
    now = {process: (seen.stages.setdefault(process, "") or stage(process), memory(process)) for process in family(root)}
    seen.stages |= {process: name for process, (name, _) in now.items()}
    for name, size in now.values():
        seen.peaks[name] = max(seen.peaks.get(name, 0), size)
    busy = {name for name, _ in now.values()} - {""}
    seen.together = max(seen.together, sum(size for _, size in now.values()))
    seen.apart = max(seen.apart, sum(size for name, size in now.values() if name not in RUNTIME))
    seen.runtime_alone += passed if busy and busy <= RUNTIME else 0.0


def family(root: int) -> Iterator[int]:
    """A process and all that descend from it."""
    parents = {int(path.name): parent(path) for path in Path("/proc").iterdir() if path.name.isdigit()}
    found = {root}
    while more := {process for process, above in parents.items() if above in found} - found:
        found |= more
    yield from found


def parent(path: Path) -> int:
    try:
        return int((path / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def stage(process: int) -> str:
    try:
        return str(json.loads((Path(f"/proc/{process}/cwd").readlink() / "request.json").read_text())["stage"])
    except (OSError, ValueError, KeyError):
        return ""


def memory(process: int) -> int:
    """The proportional set of a process in bytes: pages that several share are counted once among them."""
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) * 1024
    except (OSError, StopIteration):
        return 0


def told(seen: Seen, size: int, copies: Sequence[float]) -> bool:
    """Print all of it; whether the goals are met."""
    for label, seconds in seen.steps:
        print(f"  {seconds:7.1f} s  {label}")
    for name, peak in sorted(seen.peaks.items(), key=lambda one: -one[1]):
        print(f"  {peak / 1e6:7.0f} MB  {name or 'the build itself'}{'  (check in the runtime)' if name in RUNTIME else ''}")
    once = median(copies)
    own = seen.seconds - seen.runtime_alone
    print(f"three copies, synced: {', '.join(f'{one:.1f} s' for one in copies)}; load after: {os.getloadavg()[0]:.1f}")
    print(f"peak memory, all at one time: {seen.apart / size:.2f}× the model  (≤ {MEMORY}×)")
    print(f"  with the checks in the runtime: {seen.together / size:.2f}×")
    print(f"time without the checks in the runtime: {own:.1f} s, {own / once:.2f}× three copies  (≤ {TIME}×)")
    print(f"  of which waiting for the disk at the end: {seen.synced:.1f} s")
    print(f"  with the checks in the runtime: {seen.seconds:.1f} s, {seen.seconds / once:.2f}×")
    print(seen.ended)
    return seen.apart <= MEMORY * size and own <= TIME * once


if __name__ == "__main__":
    sys.exit(main())

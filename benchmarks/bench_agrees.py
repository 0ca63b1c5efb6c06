"""Prints by how much what `bench` says differs from a bare loop around `run_with_iobinding` in the same interpreter.

Both are processes of their own on one model, turn by turn; what is compared is the median latency of each, over all rounds.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from side_by_side import ROOT

from ortolan import runtime
from ortolan.cache import user_cache

GOAL = 0.05
BENCH = ROOT / "src" / "ortolan" / "devices" / "remote" / "bench.py"
BARE = """
import json, sys, time, onnxruntime as ort, numpy as np
model, seconds = sys.argv[1], float(sys.argv[2])
options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
binding = session.io_binding()
for one in session.get_inputs():
    binding.bind_ortvalue_input(one.name, ort.OrtValue.ortvalue_from_numpy(np.ones(one.shape, np.float32)))
for one in session.get_outputs():
    binding.bind_ortvalue_output(one.name, ort.OrtValue.ortvalue_from_numpy(np.empty(one.shape, np.float32)))
times, end = [], time.perf_counter() + seconds
while time.perf_counter() < end:
    began = time.perf_counter()
    session.run_with_iobinding(binding)
    times.append(time.perf_counter() - began)
print(json.dumps(sorted(times[len(times) // 5:])[len(times) * 2 // 5] * 1e3))
"""

ASK = """
import json, sys, onnxruntime
print(json.dumps({one.name: one.shape for one in onnxruntime.InferenceSession(sys.argv[1]).get_inputs()}))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="with float32 inputs and outputs of fixed shapes, such as a build's model.onnx")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--runtime", default="onnxruntime-1.31.1")
    given = parser.parse_args()
    python = runtime.ensure(runtime.find(given.runtime, [ROOT / "runtimes"]), user_cache().runtimes).interpreter
    ours, bare = [], []
    with tempfile.TemporaryDirectory() as name:
        prepare(python, given, Path(name))
        for _ in range(given.rounds):
            said = json.loads(call([python, BENCH, name, "model.onnx"]))
            ours.append(said["sustained"]["p50_ms"])
            bare.append(float(call([python, "-c", BARE, given.model, str(given.seconds)])))
    differ = median(ours) / median(bare) - 1
    print(f"bench {median(ours):.4g} ms, bare loop {median(bare):.4g} ms: {differ:+.1%}, goal within {GOAL:.0%}")
    return 0 if abs(differ) <= GOAL else 1


def prepare(python: Path, given: argparse.Namespace, folder: Path) -> None:
    """What the program reads: ones as inputs, one thread."""
    shapes = json.loads(call([python, "-c", ASK, given.model]))
    data, entries = b"", {}
    for name, shape in shapes.items():
        count = 1
        for size in shape:
            count *= size
        entries[name] = {"dtype": "float32", "shape": shape, "offset": len(data), "size": 4 * count}
        data += b"\0\0\x80?" * count
    threads = {"intra_op_num_threads": 1, "inter_op_num_threads": 1}
    session = {"providers": [{"name": "CPUExecutionProvider", "options": {}}], "session_options": threads, "config_entries": {}}
    golden = {"file": "golden.bin", "samples": [{"inputs": entries, "outputs": {}}]}
    wanted = {"models": ["model.onnx"], "seconds": given.seconds}
    (folder / "golden.bin").write_bytes(data)
    for name, value in {"session": session, "golden": golden, "bench": wanted}.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    shutil.copyfile(given.model, folder / "model.onnx")


def call(command: list[str | Path]) -> str:
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    sys.exit(main())

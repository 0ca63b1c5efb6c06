"""Prints what a reduced ONNX Runtime takes over a wheel's library on the same ``.ort`` file; 1 beyond a goal.

The folders are builds that carry a library (``[outputs]`` has ``reduced_runtime``, and ``c`` among its snippets). Both libraries
are opened by the build's own ``bench_model``, which makes sessions and runs the first golden sample: a process for each of many
turns, and turns at being first. A process takes the median of many rounds of 0.1 ms, few of which meet other work on the machine.
What is compared are medians of all processes; beside them stand the best ones, which other work slows least. ``--threads 1``
compiles the program for one thread, whatever the target says.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from side_by_side import user_cache

GOALS = {"session": 0.6, "run": 1.1}
SAID = re.compile(r"session ([\d.]+) ms.*?bare Run ([\d.]+) us", re.DOTALL)
LONG, SHORT = "times / 10 + 1", "times / 2000 + 1"  # calls of a round, of as many as 0.2 s have
THREADS = re.compile(r"(SetI\w+OpNumThreads\(options, )\d+")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("builds", nargs="+", type=Path, help="build/<target>/<tag> of builds that carry a library")
    parser.add_argument(
        "--stock", type=Path, help="libonnxruntime.so to compare with; default: that of the newest runtime made here"
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, help="in place of the target's")
    given = parser.parse_args()
    stock = (given.stock or newest()).resolve()
    print(f"stock: {stock.name}, {stock.stat().st_size:,} B")
    met = [measured(one.resolve(), stock, given.rounds, given.threads) for one in given.builds]
    return 0 if all(met) else 1


def newest() -> Path:
    """The library of the newest wheel that a runtime was made of."""
    found = user_cache().runtimes.glob("onnxruntime-[0-9]*/lib/python*/site-packages/onnxruntime/capi/libonnxruntime.so.*")
    here = [path for path in found if "-arm64-" not in str(path)]
    return Path(max(here, key=lambda path: [int(part) for part in path.name.partition(".so.")[2].split(".")]))


def measured(build: Path, stock: Path, rounds: int, threads: int | None) -> bool:
    """Time one build's model with its own library and with the stock one; whether the goals are met."""
    libraries = {"reduced": build / "libonnxruntime.so", "stock": stock}
    with tempfile.TemporaryDirectory() as folder:
        program = compiled(build, Path(folder), threads)
        seen: dict[str, list[tuple[float, float]]] = {name: [] for name in libraries}
        order = list(libraries)
        for turn in range(rounds + 1):
            for name in order:
                found = told(program, build, libraries[name])
                if turn:
                    seen[name].append(found)
            order.reverse()
    print(f"{build.name}: reduced {libraries['reduced'].stat().st_size:,} B")
    met = [line(name, place, seen) for place, name in enumerate(GOALS)]
    return all(met)


def line(name: str, place: int, seen: dict[str, list[tuple[float, float]]]) -> bool:
    """Print one figure of both libraries; whether its goal is met."""
    reduced, stock = ([one[place] for one in seen[which]] for which in ("reduced", "stock"))
    ratio, best, goal = median(reduced) / median(stock), min(reduced) / min(stock), GOALS[name]
    unit = "ms" if name == "session" else "µs"
    values = f"{median(stock):9.3f} → {median(reduced):9.3f} {unit} (best {min(stock):.3f} → {min(reduced):.3f})"
    print(f"  {name:8} {values}  {ratio:.2f}×, best {best:.2f}×, goal ≤ {goal:.2f}×", flush=True)
    return ratio <= goal


def compiled(build: Path, folder: Path, threads: int | None) -> Path:
    """The build's ``bench_model``, with many short rounds in each process."""
    source = Path(shutil.copytree(build / "c", folder / "c"))
    program = source / "bench_model.c"
    if LONG not in program.read_text():
        raise SystemExit(f"{program} does not count its calls as it did: no {LONG!r} in it")
    program.write_text(program.read_text().replace(LONG, SHORT))
    if threads is not None:
        model = source / "model.c"
        model.write_text(THREADS.sub(rf"\g<1>{threads}", model.read_text()))
    flags = ["-std=c11", "-O2", "-DROUNDS=1001", "-isystem", str(build)]
    files = [str(source / name) for name in ("bench_model.c", "golden.c")]
    subprocess.run(["gcc", *flags, *files, "-o", str(folder / "bench"), "-ldl", "-lm", "-lpthread"], check=True)
    return folder / "bench"


def told(program: Path, build: Path, library: Path) -> tuple[float, float]:
    """Milliseconds of a session's creation and microseconds of a run."""
    words: list[str | Path] = [program, "--library", library, "--model", build / "model.ort", "--golden", build / "golden.bin"]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    found = SAID.search(said)
    if found is None:
        raise SystemExit(f"{program} said: {said}")
    return float(found[1]), float(found[2])


if __name__ == "__main__":
    sys.exit(main())

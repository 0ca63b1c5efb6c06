"""Times models on this machine, one after the other and then in turns. Needs bench.py beside it, and Python 3.8 or newer.

    python3 turns.py FOLDER         as FOLDER/bench.json says; prints JSON

Each model runs in a process of its own: opening it, its peak of memory and its runs say nothing of the others. At last they take
turns in short slices, in an order that rotates: what a machine that warms up or is busy does to one, it does to all.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Mapping, Sequence

ROUNDS, SLICE = 12, 0.2
"""Rounds in which all models take turns, and seconds of a slice at the most."""


class Model:
    """A model in a process of its own, which stays until ``end``; an answer has an ``error`` in words where it failed."""

    def __init__(self, folder: Path, path: str, patience: float) -> None:
        command = [sys.executable, str(Path(__file__).resolve().with_name("bench.py")), str(folder), path]
        environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}
        self.patience = patience
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115  as long as the process
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, env=environment, bufsize=0
        )

    def ask(self, seconds: float) -> Any:
        """The next answer, of a slice of so many seconds."""
        try:
            os.write(self.process.stdin.fileno(), f"{seconds}\n".encode())  # type: ignore[union-attr]
        except OSError:
            return {"error": self._ended()}
        return self.answer()

    def answer(self) -> Any:
        """The next answer."""
        data, late = b"", time.monotonic() + self.patience
        number = self.process.stdout.fileno()  # type: ignore[union-attr]
        while not data.endswith(b"\n"):
            if not select.select([number], [], [], max(0.0, late - time.monotonic()))[0]:
                return {"error": "it did not end in time"}
            piece = os.read(number, 1 << 16)
            if not piece:
                return {"error": self._ended()}
            data += piece
        return json.loads(data.decode())

    def _ended(self) -> str:
        code = self.process.wait()
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"it ended with code {code}"

    def end(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()
        self.errors.close()


def in_turns(models: Mapping[str, Model], seconds: float) -> dict[str, list[float]]:
    """The median latency of each model in each round, in ms; empty when one fails, or where there is nothing to compare."""
    names = list(models)
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(ROUNDS if len(names) > 1 else 0):
        for name in order(names, number):
            said = models[name].ask(min(SLICE, seconds / 20))
            if "error" in said:
                return {}
            found[name].append(said["p50_ms"])
    return found


def order(names: Sequence[str], number: int) -> list[str]:
    """Of a round: each is first, second, ... equally often, and after as well as before each other."""
    first = number % len(names)
    turned = [*names[first:], *names[:first]]
    return turned[::-1] if number // len(names) % 2 else turned


def everything(folder: Path, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Each model by itself, then those that run in turns."""
    models: dict[str, Model] = {}
    found: dict[str, Any] = {}
    try:
        for name, path in wanted["models"].items():
            models[name] = Model(folder, path, 120 + 4 * wanted["seconds"])
            found[name] = models[name].answer()
        well = {name: one for name, one in models.items() if "error" not in found[name]}
        return {"models": found, "rounds": in_turns(well, wanted["seconds"])}
    finally:
        for one in models.values():
            one.end()


def main(arguments: Sequence[str]) -> int:
    """Print the results of all models, and their times in turns."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="with the models, bench.json, session.json, golden.json and golden.bin")
    folder = parser.parse_args(arguments).folder
    print(json.dumps(everything(folder, json.loads((folder / "bench.json").read_text())), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Prints what bundling and verifying a large model cost over sha256sum and zstd -T0 of the same bytes, and their peak memory."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from array import array
from collections.abc import Callable, Sequence
from itertools import repeat
from pathlib import Path

from side_by_side import ROOT, Row, call, plain_environment, table, take_turns

sys.path.insert(0, str(ROOT / "tests"))

from builds import FILES, built, described, recorded
from ortolan.digest import of_file
from ortolan.manifest import NAME, Manifest

GOAL = 1.3
FLAT = 1.2
BLOCK = 16 << 20
"""Bytes of weights that are made; they repeat at a distance that neither program sees, 2 MiB at zstd's level 3."""
TOOLS, BUNDLE, VERIFY, BOTH = "sha256sum + zstd -T0", "./inv bundle", "verifying the release", "bundling and verifying"
CHECK = "import sys, pathlib, ortolan.release.check as c; c.check(pathlib.Path(sys.argv[1]))"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=1000, help="size of the model")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        large, small = (project(Path(folder) / str(size), size) for size in (given.megabytes, given.megabytes // 10))
        runs: dict[str, Callable[[], object]] = {
            TOOLS: lambda: tools(large), BUNDLE: lambda: bundled(large), VERIFY: lambda: verified(large),
        }  # fmt: skip
        runs[BOTH] = lambda: (bundled(large), verified(large))
        good = table([Row(TOOLS), *(Row(name, TOOLS, GOAL) for name in (BUNDLE, VERIFY, BOTH))], take_turns(runs, given.rounds))
        flat = [memory(name, run(small), run(large)) for name, run in {BUNDLE: bundled, VERIFY: verified}.items()]
    return 0 if good and all(flat) else 1


def project(root: Path, megabytes: int) -> Path:
    """A project with a build whose model is half float32, half INT8 weights."""
    (root / "recipes").mkdir(parents=True)
    made = described(FILES)
    built(root)
    folder = root / "build" / made.target.name / made.tag
    with (folder / "model.onnx").open("wb") as stream:
        for block in (floats(), integers()):
            for _ in repeat(None, megabytes * 1_000_000 // 2 // BLOCK):
                stream.write(block)
    (folder / NAME).write_bytes(described_anew(made, folder / "model.onnx").to_bytes())
    recorded(root, described_anew(made, folder / "model.onnx"))
    return root


def described_anew(made: Manifest, model: Path) -> Manifest:
    changed = {"digest": of_file(model), "size": model.stat().st_size}
    artifacts = [one.model_copy(update=changed) if one.name == model.name else one for one in made.artifacts]
    return made.model_copy(update={"artifacts": artifacts})


def floats() -> bytes:
    dice = random.Random(0)  # noqa: S311 - weights, not secrets
    return array("f", (dice.gauss(0, 0.05) for _ in range(BLOCK // 4))).tobytes()


def integers() -> bytes:
    dice = random.Random(1)  # noqa: S311 - weights, not secrets
    return array("b", (max(-127, min(127, round(dice.gauss(0, 30)))) for _ in range(BLOCK))).tobytes()


def tools(root: Path) -> None:
    (model,) = root.glob("build/*/*/model.onnx")
    call(("sha256sum", model), root)
    call(("zstd", "-T0", "-q", "-f", model, "-o", root / "model.zst"), root)


def bundled(root: Path) -> int:
    """Bundle from nothing; the peak memory in kB."""
    shutil.rmtree(root / "dist", ignore_errors=True)
    return peak((sys.executable, "-m", "ortolan", "bundle", "--target", "device", "--sequence", "1"), root)


def verified(root: Path) -> int:
    """Verify the release; the peak memory in kB."""
    (folder,) = root.glob("dist/*/net-*")
    return peak((sys.executable, "-c", CHECK, folder), root)


def peak(command: Sequence[str | Path], folder: Path) -> int:
    """Run a program; its largest resident set in kB."""
    environment = plain_environment() | {"PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL) as started:
        _, status, used = os.wait4(started.pid, 0)
        started.returncode = os.waitstatus_to_exitcode(status)
    if started.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed")
    return used.ru_maxrss


def memory(name: str, small: int, large: int) -> bool:
    print(f"{name}: peak memory {large / 1000:.0f} MB, {large / small:.2f}× that with a tenth of the bytes  (≤ {FLAT}×)")
    return large / small <= FLAT


if __name__ == "__main__":
    sys.exit(main())

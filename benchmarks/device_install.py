"""Prints how long `ortolan-device install` takes over unpacking the same archive with tar and hashing its files with sha256sum.

The release is made by hand: 100 MB of weights that do not compress, and forty small files. It is fetched before each round, so
that what is timed is what a device does between "it is here" and "it runs": signature, digest of the archive, unpacking with
every file hashed as it is written, everything on the disk (fsync), the switch. The self-test is a program of the bundle's and is
left out. tar and sha256sum leave their bytes in memory; the second comparison adds the sync that a device needs as well.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from side_by_side import ROOT, Row, table

sys.path.insert(0, str(ROOT / "tests"))

from releases import MODEL, TARGET, make_key, whole, write_release

GOAL = 1.5
DEVICE = ROOT / "device" / "ortolan-device"
HASH = "mkdir out && tar --extract --file {} --directory out && find out -type f -exec sha256sum {{}} + >sums"
ROWS = [
    Row("tar x, sha256sum"),
    Row("tar x, sha256sum, sync"),
    Row("ortolan-device", "tar x, sha256sum", GOAL),
    Row("the same", "tar x, sha256sum, sync"),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", type=int, default=100, help="MB")
    parser.add_argument("--folder", help="on the disk to be measured; default: the temporary folder")
    parser.add_argument("--python", default=sys.executable, help="the device's interpreter")
    given = parser.parse_args()
    met = []
    for name in ("bundle.tar.zst", "bundle.tar"):
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            print(f"{given.size} MB as {name}")
            release = prepare(Path(folder), given.size * 1_000_000, plain=name == "bundle.tar")
            met.append(table(ROWS, measure(Path(folder), release / name, given)))
    return 0 if all(met) else 1


def prepare(folder: Path, size: int, *, plain: bool) -> Path:
    """A device that runs a release, and has fetched a second one; returns that one's folder."""
    key, noise = make_key(folder / "keys"), random.Random(1)  # noqa: S311 - weights, not secrets
    small = {f"part-{number % 5}/file-{number}.bin": noise.randbytes(2_000) for number in range(40)}
    files = {**small, "model.onnx": noise.randbytes(size)}
    root = folder / "device"
    root.mkdir()
    (root / "config.json").write_text(json.dumps({"target": TARGET}))
    (root / "allowed_signers").write_bytes(key.signers.read_bytes())
    releases = [
        write_release(folder / f"release-{n}", whole(files | {"n": b"%d" % n}), key, sequence=n, plain=plain) for n in (1, 2)
    ]
    device(folder, sys.executable, "install", "--no-self-test", str(releases[0]))
    return releases[1]


def device(folder: Path, python: str, *words: str) -> None:
    command = [python, str(DEVICE), "--root", str(folder / "device"), *words]
    subprocess.run(command, check=True, capture_output=True)


def measure(folder: Path, archive: Path, given: argparse.Namespace) -> Mapping[str, list[float]]:
    """Seconds of each run in each round; they take turns at being first. What a run left is removed, and on the disk, before."""

    def unpack(more: str = "") -> None:
        subprocess.run(["sh", "-c", HASH.format(archive) + more], cwd=folder, check=True)

    def install() -> None:
        device(folder, given.python, "install", "--no-self-test", MODEL)

    runs: dict[str, Callable[[], None]] = {
        ROWS[0].what: unpack, ROWS[1].what: lambda: unpack(" && sync --file-system out"), ROWS[2].what: install,
    }  # fmt: skip
    times: dict[str, list[float]] = {row.what: [] for row in ROWS}
    for number in range(given.rounds + 1):
        for name in list(runs) if number % 2 else reversed(runs):
            ready(folder, archive)
            spent = timed(runs[name])
            times[name] += [spent] if number else []
    return times | {ROWS[3].what: times[ROWS[2].what]}


def ready(folder: Path, archive: Path) -> None:
    """Release 1 runs, release 2 is fetched, as it was at first; nothing waits to be written."""
    shutil.rmtree(folder / "out", ignore_errors=True)
    model = folder / "device" / MODEL
    shutil.rmtree(model / "slots" / "b", ignore_errors=True)
    shutil.rmtree(model / "incoming", ignore_errors=True)
    (model / "current").unlink()
    (model / "current").symlink_to("slots/a")
    (model / "state.json").unlink(missing_ok=True)
    incoming = model / "incoming"
    incoming.mkdir()
    for path in archive.parent.iterdir():
        if not path.name.startswith("bundle") or path == archive:
            shutil.copy(path, incoming / path.name)
    (incoming / "fetched.json").write_text(json.dumps({"release": "for install to check", "way": archive.name}))
    os.sync()


def timed(run: Callable[[], None]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())

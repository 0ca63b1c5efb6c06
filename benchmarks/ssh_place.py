"""Prints what it costs to send a 50 MB artifact to a host on loopback, against scp, and what it costs to send it again.

The host is a real sshd, started here with throw-away keys. Each way makes its own connection each time, and both ways once more
share one. scp is OpenSSH's own; what Ortolan sends is hashed on both sides beside it, and starts a Python there. Sent again, a
file costs what a command without files costs: one round trip.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from side_by_side import ROOT, Row, table, take_turns

sys.path.insert(0, str(ROOT / "tests"))

import ssh_device
from ortolan.place import Errand, Host

SENT, AGAIN = 1.5, 1.5
ROWS = [
    Row("scp"),
    Row("place", "scp", SENT),
    Row("scp, shared connection"),
    Row("place, shared connection", "scp, shared connection"),
    Row("no file at all, shared connection"),
    Row("place, sent again", "no file at all, shared connection", AGAIN),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", type=int, default=50, help="MB")
    parser.add_argument("--python", default="/usr/bin/python3", help="the host's interpreter")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ssh_device.running(Path(folder) / "device") as device:
        os.environ.update(device.variables)
        times = measure(device, Path(folder), given.size * 1_000_000, given)
    return 0 if table(ROWS, times) else 1


def measure(device: ssh_device.SshDevice, folder: Path, size: int, given: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of each way; a file that is to be sent has bytes that nobody has seen."""
    new, known, config = folder / "new", folder / "known", str(device.folder / "config")
    known.write_bytes(os.urandom(size))
    new.write_bytes(os.urandom(size))
    copy = ["scp", "-q", "-F", config]
    shared = [*copy, "-o", "ControlMaster=auto", "-o", f"ControlPath={folder}/c", "-o", "ControlPersist=yes"]
    with Host("device", given.python) as host:
        found = take_turns(
            {
                "scp": lambda: subprocess.run([*copy, new, f"device:{folder}/copy"], check=True),
                "place": lambda: alone(new, given.python),
                "scp, shared connection": lambda: subprocess.run([*shared, new, f"device:{folder}/copy"], check=True),
                "place, shared connection": lambda: send(host, new),
                "no file at all, shared connection": lambda: host.run(Errand(("true",), {}, 60), folder),
                "place, sent again": lambda: host.run(Errand(("true",), {"file": known}, 60), folder),
            },
            given.rounds,
        )
        subprocess.run(["ssh", "-F", config, "-o", f"ControlPath={folder}/c", "-O", "exit", "device"], check=True)
    return found


def alone(path: Path, python: str) -> None:
    with Host("device", python) as host:
        send(host, path)


def send(host: Host, path: Path) -> None:
    """A file that is new to the host: its first bytes change each time."""
    with path.open("r+b") as stream:
        stream.write(os.urandom(16))
    host.run(Errand(("true",), {"file": path}, 60), path.parent)


if __name__ == "__main__":
    sys.exit(main())

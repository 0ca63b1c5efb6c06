#!/usr/bin/env python3
"""Tells whether this bundle fits this device, before anything of it is loaded. Needs Python 3.8 or newer, nothing else."""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64", "armv7l": "arm/v7"}


def main() -> int:
    """Print the checks; return the exit code."""
    parser = argparse.ArgumentParser(description="Tells whether a bundle fits this device.")
    parser.add_argument("--manifest", type=Path, default=HERE.parent / "manifest.json")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--folder", type=Path, default=HERE)
    given = parser.parse_args()
    try:
        rules = json.loads(given.manifest.read_text(encoding="utf-8"))["preflight"]
        wanted, size = rules["platform"], int(rules["size"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"not a manifest: {error}", file=sys.stderr)
        return 2
    machine = platform.machine().lower()
    found = f"{platform.system().lower()}/{ARCHITECTURES.get(machine, machine)}"
    free = shutil.disk_usage(str(given.folder)).free
    checks = [
        {"name": "platform", "outcome": "pass" if found == wanted else "fail", "measured": found, "limit": wanted, "why": ""},
        {"name": "disk", "outcome": "pass" if free >= 2 * size else "fail", "measured": free, "limit": 2 * size, "why": ""},
    ]
    fits = all(one["outcome"] == "pass" for one in checks)
    if given.json:
        print(json.dumps({"fits": fits, "checks": checks}))
    else:
        print("\n".join("{name} {outcome} {measured} {limit}".format(**one) for one in checks))
    return 0 if fits else 1


if __name__ == "__main__":
    sys.exit(main())

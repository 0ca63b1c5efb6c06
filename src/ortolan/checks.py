"""Lint, types and tests of a checkout, in the pinned runtime ``dev``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from . import runtime
from .errors import OrtolanError

_RUNTIME = "dev"


def run(checkout: Path, runtimes: Path, *, fast: bool, no_skips: bool) -> int:
    """Run every check and return the first exit code that is not 0. OrtolanError when this is not a checkout."""
    if not (checkout / "tests").is_dir():
        raise OrtolanError("the tests are not part of an installed ortolan", hint="run ./inv test in a checkout")
    made = runtime.ensure(runtime.find(_RUNTIME, [checkout / "runtimes"]), runtimes, _say)
    codes = [_check(name, [str(made.interpreter), "-m", *command], checkout) for name, command in _checks(fast=fast, no_skips=no_skips)]
    return next((code for code in codes if code), 0)


def _checks(*, fast: bool, no_skips: bool) -> list[tuple[str, list[str]]]:
    tests = ["pytest", "tests/unit", "-m", "not slow"] if fast else ["pytest", "-n", str(os.cpu_count() or 1), "--dist", "loadgroup"]
    return [
        ("ruff", ["ruff", "check"]),
        ("ruff format", ["ruff", "format", "--check"]),
        ("mypy", ["mypy"]),
        ("pytest", [*tests, "-q", "-rs", *["--no-skips"] * no_skips]),
    ]


def _check(name: str, command: list[str], checkout: Path) -> int:
    _say(f"== {name}")
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    path = os.pathsep.join([str(Path(command[0]).parent), env.get("PATH", "")])
    return subprocess.run(command, cwd=checkout, env=env | {"PATH": path}, check=False).returncode  # noqa: S603 - our own tools


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

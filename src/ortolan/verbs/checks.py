"""``test``: lint, types and tests of a checkout, in the pinned runtime ``dev``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from .. import runtime
from ..cache import Cache, shipped
from ..errors import OrtolanError

_RUNTIME = "dev"
_LINT = [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]]


def run(cache: Cache, *, fast: bool, lint: bool, no_skips: bool, slow: bool) -> int:
    """Run every check and return the first exit code that is not 0. OrtolanError when this is not a checkout."""
    checkout = shipped()
    if not (checkout / "tests").is_dir():
        raise OrtolanError("the tests are not part of an installed ortolan", hint="run ./inv test in a checkout")
    made = runtime.ensure(runtime.find(_RUNTIME, [checkout / "runtimes"]), cache.runtimes, _say)
    commands = _LINT if lint else [*_LINT, _tests(fast=fast, no_skips=no_skips, slow=slow)]
    codes = [_check([str(made.interpreter), "-m", *command], checkout) for command in commands]
    return next((code for code in codes if code), 0)


def _tests(*, fast: bool, no_skips: bool, slow: bool) -> list[str]:
    """The tests come last, so that their summary is what a reader and a CI system see at the end."""
    some = ["tests/unit", "-m", "not slow"] if fast else []
    strict, more = ["--no-skips"] if no_skips else [], ["--slow"] if slow else []
    return ["pytest", "-n", "2", "-q", "-rs", *some, *strict, *more]


def _check(command: list[str], checkout: Path) -> int:
    _say(f"== {' '.join(command[2:])}")
    env = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}
    return subprocess.run(command, cwd=checkout, env=env, check=False).returncode  # noqa: S603  our own pinned tools


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

"""docs/quantisation.md: its recipes are written, its commands run, and what it shows is said."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

import pytest

from conftest import ROOT, Workspace

PAGE = ROOT / "docs" / "quantisation.md"
_BLOCK = re.compile(r"^```(toml|sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run(line: str, workspace: Workspace) -> str:
    """What a command of the page says; it must succeed. The runtimes are those of the user's cache."""
    program, *words = shlex.split(line)
    assert program == "./inv"
    (workspace.cache.root).mkdir(parents=True, exist_ok=True)
    if not (workspace.cache.root / "runtimes").exists():
        (workspace.cache.root / "runtimes").symlink_to(workspace.cache.runtimes)
    put = [sys.executable, "-m", "ortolan", *words, "--cache", str(workspace.cache.root)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(put, cwd=workspace.root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_what_the_page_shows_works(own_cache: Workspace) -> None:
    said = ""
    for what, text in _BLOCK.findall(PAGE.read_text()):
        if what == "toml":
            own_cache.add(text.partition("\n")[0].removeprefix("# recipes/"), text)
        elif what == "text":
            assert [line for line in text.splitlines() if line not in said] == [], said
        else:
            said = "".join(run(line, own_cache) for line in text.splitlines())

"""docs/releasing.md as a release manager follows it: all commands in order, a real registry, a folder as the device."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import ROOT, Workspace
from ortolan import runtime
from program import PROGRAM, environment
from registry import Registry, running

PAGE = ROOT / "docs" / "releasing.md"
AS_WRITTEN = "localhost:5000"
SAID = {
    "update digits": [f"digits-d4f7f9a00b7a-opset17-ort{version} is installed in slot" for version in ("1.17.3", "1.31.1")],
    "verify $OLD": ["verified"],
    "delta $OLD": ["gives NEW by"],
    "diff $OLD": ["onnxruntime-1.17.3"],
    "rollback digits": ["digits-d4f7f9a00b7a-opset17-ort1.17.3"],
}
"""Words of commands, and what they must say, one text for each time that they stand on the page."""


def commands() -> list[str]:
    """The commands of the page in order; one with a here-document is one."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    lines = re.compile(r"(?:[^\n]*<<END\n.*?^END$)|[^\n]+", re.MULTILINE | re.DOTALL)
    return [found for block in blocks for found in lines.findall(block)]


@pytest.fixture
def project(workspace: Workspace) -> Workspace:
    """A git repository with a commit of an earlier day; ``./inv`` starts the program of this checkout, ``.gitignore`` is its."""
    root = workspace.root
    (root / "inv").write_text(f'#!/bin/sh\nexec {shlex.join(PROGRAM)} "$@"\n')
    (root / "inv").chmod(0o755)
    (root / ".gitignore").write_bytes((ROOT / ".gitignore").read_bytes())
    first = {"GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z"}
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "Recipes"]):
        subprocess.run(["git", *words], cwd=root, env=git(workspace) | first, check=True)
    return workspace


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with running(tmp_path / "registry") as found:
        yield found


def git(workspace: Workspace) -> dict[str, str]:
    who = {f"GIT_{role}_{what}": "release" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return environment(workspace) | who


@pytest.mark.slow
def test_the_page_can_be_followed(project: Workspace, registry: Registry) -> None:
    made = runtime.ensure(runtime.find("onnxruntime-1.31.1", [ROOT / "runtimes"]), project.cache.runtimes)
    variables = git(project) | {"PYTHON": str(made.interpreter), "HOME": str(project.root)}
    wanted = {words: iter(texts) for words, texts in SAID.items()}
    for command, said in followed(project.root, variables, registry.host):
        for words in [words for words in SAID if words in command]:
            assert next(wanted[words]) in said, f"{command}\n{said}"
    assert not any(list(rest) for rest in wanted.values()), "a command is no longer on the page"


def followed(root: Path, variables: dict[str, str], registry: str) -> list[tuple[str, str]]:
    """Each command with what it printed; they share one shell, which ends with the first that fails."""
    mark = "== done =="
    steps = [command.replace(AS_WRITTEN, registry) for command in commands()]
    script = "\n".join(f"{{ {step}\n}} 2>&1\necho '{mark}'" for step in steps)
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script], cwd=root, env=os.environ | variables, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    printed = done.stdout.split(mark + "\n")
    assert done.returncode == 0, f"{steps[len(printed) - 1]}\n{printed[-1]}{done.stderr}"
    return list(zip(steps, printed, strict=False))

"""The pages of docs/sources: every file that they show is written, every command is run, in a fresh project.

A block of Python or TOML begins with a comment that names its file. ``sh`` blocks must succeed, ``sh refused`` must not, and
each line of a ``text`` block must be in what the last command said.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from conftest import ROOT, Workspace
from ortolan import runtime
from ortolan.cache import user_cache
from ortolan.origins import KINDS
from ortolan.recipe.sources import TABLES

PAGES = sorted(path for path in (ROOT / "docs" / "sources").glob("*.md") if path.stem != "README")
_BLOCK = re.compile(r"^```(python|toml|sh refused|sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str]]:
    return [(match[1], match[2]) for match in _BLOCK.finditer(page.read_text())]


def command(line: str, kind: str, cache: Path) -> list[str]:
    """What a line of a page means here: ``./inv`` is this checkout, ``python`` that of the kind's runtime."""
    words = shlex.split(line)
    program = next(index for index, word in enumerate(words) if "=" not in word)
    if words[program] == "./inv":
        put = [sys.executable, "-m", "ortolan", *words[program + 1 :], "--cache", str(cache)]
    else:
        name = KINDS[kind].RUNTIME if kind in KINDS else kind
        made = runtime.ensure(runtime.find(name, [ROOT / "runtimes"]), user_cache().runtimes)
        put = [str(made.interpreter), *words[program + 1 :]]
    return ["/usr/bin/env", *words[:program], *put]


def run(line: str, kind: str, workspace: Workspace) -> tuple[int, str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    words = command(line, kind, workspace.cache.root)
    done = subprocess.run(words, cwd=workspace.root, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, f"$ {line}\n{done.stdout}{done.stderr}"


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_shows_works(page: Path, workspace: Workspace) -> None:
    said = ""
    (workspace.cache.root).mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        (workspace.cache.root / "runtimes").symlink_to(user_cache().runtimes)
    for what, text in blocks(page):
        if what in {"python", "toml"}:
            path = workspace.root / text.partition("\n")[0].removeprefix("# ")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        elif what == "text":
            assert [line for line in text.splitlines() if line not in said] == [], said
        else:
            for line in text.splitlines():
                code, said = run(line, page.stem, workspace)
                assert (code == 0) is (what == "sh"), said


def test_every_kind_has_a_page_that_the_overview_names() -> None:
    kinds = {str(table.model_fields["kind"].annotation.__args__[0]) for table in TABLES}  # type: ignore[union-attr]
    assert {page.stem for page in PAGES} - {"transformers"} == kinds == set(KINDS)  # that is PyTorch in another runtime
    overview = (ROOT / "docs" / "sources" / "README.md").read_text()
    assert all(f"[{kind}]({kind}.md)" in overview for kind in kinds)

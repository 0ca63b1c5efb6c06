"""docs/silent-lies.md: each lie names tests that exist, and none of those that the project knows of is left out."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "silent-lies.md"
TEST = re.compile(r"`(test_\w+\.py)::(test_\w+)`")
ROWS = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and not line.startswith("| lie |")]


def functions(path: Path) -> set[str]:
    """The tests of a module."""
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:40])
def test_a_lie_has_its_teller_its_remedy_and_tests_that_exist(row: str) -> None:
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert all(cells)
    assert len(cells) == 4
    named = TEST.findall(cells[3])
    assert named
    for file, name in named:
        (path,) = (ROOT / "tests").glob(f"*/{file}")
        assert name in functions(path), f"{file} has no {name}"


@pytest.mark.parametrize("words", [
    "tries again on the CPU", "listed by `get_providers()`", "`htp_arch = 99`", "A context file", "U8 with zero points 0",
    '"Supported"', "The wrong bundle",
])  # fmt: skip
def test_the_page_has_the_lie(words: str) -> None:
    assert any(words in row.split("|")[1] for row in ROWS)

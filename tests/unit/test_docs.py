"""Generated parts of the documents are what they are generated from."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from ortolan.contract import STAGES, contract

DOCS = Path(__file__).parents[2] / "docs"
START, END = "<!-- generated from the stages by tests/unit/test_docs.py --update -->\n", "<!-- end -->"


def stage_table() -> str:
    """One row for each stage: what it does, what it declares."""
    rows = ["| stage | what it does | inputs | params | outputs |", "|---|---|---|---|---|"]
    for path in sorted(STAGES.glob("[!_]*.py")):
        tree = ast.parse(path.read_text())
        declared = {
            t.id: ast.literal_eval(n.value)
            for n in tree.body
            if isinstance(n, ast.Assign)
            for t in n.targets
            if isinstance(t, ast.Name) and t.id in {"INPUTS", "PARAMS", "OUTPUTS"}
        }
        cells = [", ".join(declared[name]) or "–" for name in ("INPUTS", "PARAMS", "OUTPUTS")]
        rows.append(f"| `{path.stem}` | {ast.get_docstring(tree).splitlines()[0]} | {' | '.join(cells)} |")  # type: ignore[union-attr]
    return "\n".join(rows) + "\n"


def test_the_table_of_stages_is_current(request: pytest.FixtureRequest) -> None:
    path = DOCS / "stages.md"
    head, _, rest = path.read_text().partition(START)
    found, _, tail = rest.partition(END)
    if request.config.getoption("--update"):
        path.write_text(head + START + stage_table() + END + tail)
        found = stage_table()
    assert found == stage_table(), "run ./inv test once with --update, or pytest tests/unit/test_docs.py --update"


def test_every_stage_has_a_contract_that_reads() -> None:
    for path in STAGES.glob("[!_]*.py"):
        assert contract(path.stem).name == path.stem

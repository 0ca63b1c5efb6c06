"""Generated parts of the documents are what they are generated from."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from ortolan.contract import contract
from ortolan.recipe.jsonschema import schemas
from ortolan.stage_files import STAGES

DOCS = Path(__file__).parents[2] / "docs"
START, END = "<!-- generated from the stages by tests/unit/test_docs.py --update -->\n", "<!-- end -->"


START_RECIPES = "<!-- generated from the recipe schema by tests/unit/test_docs.py --update -->\n"


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


def _type(field: dict[str, Any], defs: dict[str, Any]) -> str:
    """A JSON Schema type in a few words."""
    if "$ref" in field:
        return f"`[{field['$ref'].rpartition('/')[2]}]`" if "enum" not in defs[field["$ref"].rpartition("/")[2]] else "text"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    several = field.get("anyOf") or field.get("oneOf")
    if several:
        return " or ".join(dict.fromkeys(_type(one, defs) for one in several if one.get("type") != "null"))
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}), defs)}" if "items" in field else "list"
    return {"string": "text", "object": "table", "boolean": "true, false"}.get(
        str(field.get("type")), str(field.get("type", "any"))
    )


def _rows(name: str, schema: dict[str, Any], defs: dict[str, Any]) -> list[str]:
    head = ["", f"### {name}", "", (schema.get("description") or "").replace("``", "`"), ""]
    rows = ["| key | values | default | meaning |", "|---|---|---|---|"]
    for key, field in schema.get("properties", {}).items():
        needed = key in schema.get("required", [])
        default = "**required**" if needed else f"`{json.dumps(field['default'])}`" if field.get("default") is not None else "–"
        rows.append(f"| `{key}` | {_type(field, defs)} | {default} | {field.get('description', '')} |")
    return head + rows


def recipe_tables() -> str:
    """Every table of both kinds of recipe, from the same schema that checks them."""
    lines: list[str] = []
    for kind, schema in schemas().items():
        defs = schema.get("$defs", {})
        lines += ["", f"## {kind.capitalize()} recipes", *_rows(f"{kind}.toml", schema, defs)]
        for name, one in sorted(defs.items()):
            lines += _rows(name, one, defs) if "properties" in one else []
    return "\n".join(lines) + "\n"


def test_the_reference_of_recipes_is_current(request: pytest.FixtureRequest) -> None:
    path = DOCS / "recipes.md"
    head, _, rest = path.read_text().partition(START_RECIPES)
    found, _, tail = rest.partition(END)
    if request.config.getoption("--update"):
        path.write_text(head + START_RECIPES + recipe_tables() + END + tail)
        found = recipe_tables()
    assert found == recipe_tables(), "run pytest tests/unit/test_docs.py --update"


def test_every_stage_has_a_contract_that_reads() -> None:
    for path in STAGES.glob("[!_]*.py"):
        assert contract(path.stem).name == path.stem

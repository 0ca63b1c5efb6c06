"""The recipes that ship, and the JSON Schemas for editors."""

from __future__ import annotations

import tomllib
from pathlib import Path

import jsonschema
import pytest

from ortolan.recipe.jsonschema import schemas
from ortolan.recipe.project import Project
from ortolan.recipe.provider_data import find

ROOT = Path(__file__).parents[2]
SCHEMAS = schemas()
SHIPPED = sorted((ROOT / "recipes").glob("*/*.toml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_editors_accept_what_ships(path: Path) -> None:
    schema = SCHEMAS[path.parent.name.removesuffix("s")]
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(tomllib.loads(path.read_text()))


def test_editors_see_most_mistakes() -> None:
    """A schema cannot say all that the loader checks: slips in provider names, or what two tables say together."""
    mistakes = [path for path in (ROOT / "tests" / "bad_recipes").glob("*.toml") if "syntax" not in path.name]
    seen = []
    for path in mistakes:
        validator = jsonschema.Draft202012Validator(SCHEMAS[path.name.partition("-")[0]])
        seen += [path] * (not validator.is_valid(tomllib.loads(path.read_text())))
    unseen = {path.stem for path in mistakes} - {path.stem for path in seen}
    assert len(seen) > len(unseen), sorted(unseen)


def test_quantization_fits_what_runs_it() -> None:
    """Where a provider's data file says which Q/DQ types it takes, or would like, the target has them."""
    project = Project(ROOT)
    for name in project.targets():
        target = project.target(name).recipe
        schemes = [data.qdq for one in target.provider if (data := find(one.name)) and data.qdq]
        if target.quantize.policy == "never" or not schemes:
            continue
        assert target.quantize.activations in schemes[0].activations, name
        assert target.quantize.weights in schemes[0].weights, name
        assert schemes[0].symmetric_activations in {None, target.quantize.symmetric_activations}, name


def test_every_version_that_a_target_names_is_a_pinned_runtime() -> None:
    project = Project(ROOT)
    versions = {version for name in project.targets() for version in project.target(name).recipe.runtime.versions}
    assert [version for version in versions if not list((ROOT / "runtimes").glob(f"onnxruntime*-{version}"))] == []


def test_phones_and_small_boards_ship_an_ort_file() -> None:
    project = Project(ROOT)
    small = [name for name in project.targets() if project.target(name).recipe.outputs.ort]
    assert small == ["android-arm64", "arm64-cpu", "ios", "raspberry-pi-5", "x86-cpu"]

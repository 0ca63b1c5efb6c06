"""tests/bad_recipes: one file per mistake; its first line says what the user is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from ortolan.errors import RecipeError
from ortolan.recipe.load import load_model, load_target

FOLDER = Path(__file__).parents[1] / "bad_recipes"
MARK = "# expect: "


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_mistake(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    first = path.read_text().partition("\n")[0]
    assert first.startswith(MARK)
    with pytest.raises(RecipeError) as caught:
        (load_target if path.name.startswith("target-") else load_model)(Path(path.name))
    assert str(caught.value) == f"{path.name}:{first.removeprefix(MARK)}"


def test_there_is_one_for_each_kind() -> None:
    assert {path.stem.partition("-")[0] for path in FOLDER.glob("*.toml")} == {"model", "target"}

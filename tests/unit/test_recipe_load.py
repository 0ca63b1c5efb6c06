"""Reading recipe files: all mistakes at once in the order of their lines, and files that are no TOML at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from ortolan.errors import RecipeError
from ortolan.recipe.load import load_model, load_target

GOOD = """description = "A board"
platform = "linux/arm64"
[runtime]
versions = ["1.31.1", "1.9.0", "1.20.1", "1.9.0"]
opset = 17
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def target(text: str | bytes, name: str = "board.toml") -> Path:
    path = Path(name)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def complaint(path: Path) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load_target(path)
    return str(caught.value).splitlines()


def test_versions_are_sorted_as_versions() -> None:
    assert load_target(target(GOOD)).runtime.versions == ["1.9.0", "1.20.1", "1.31.1"]


def test_what_is_not_said_has_the_defaults_of_the_schema() -> None:
    recipe = load_target(target(GOOD))
    assert [one.name for one in recipe.provider] == ["CPUExecutionProvider"]
    assert (recipe.quantize.policy, recipe.quantize.method, recipe.gates.min_agreement) == ("prefer", "minmax", 0.9)
    assert recipe.outputs.onnx
    assert recipe.outputs.ort is None


def test_every_mistake_at_once_in_the_order_of_lines() -> None:
    path = target(
        GOOD.replace("17", "3") + '[gates]\nmax_size = "1 TB"\nmin_agreement = 2\n[quantize]\npolicy = "yes"\n[sessions]\n'
    )
    assert complaint(path) == [
        "board.toml:5: runtime.opset: wants at least 7, found 3",
        "board.toml:7: gates.max_size: wants a number and a unit. Write it like '8 MB' or '512 KiB'.",
        "board.toml:8: gates.min_agreement: wants at most 1, found 2",
        'board.toml:10: quantize.policy: "yes" is not one of "require", "prefer", "recover", "never"',
        "board.toml:11: sessions: unknown key. Did you mean session?",
    ]


def test_a_misspelt_key_that_is_needed_is_one_mistake() -> None:
    assert complaint(target(GOOD.replace("opset", "opst"))) == ["board.toml:5: runtime.opst: unknown key. Did you mean opset?"]


def test_no_word_of_pydantic_reaches_the_user() -> None:
    path = target("runtime = 3\nprovider = [1]\nshapes = { batch = [] }\noutputs = { ort = { style = 1 } }\nengine = {}\n")
    told = "\n".join(complaint(path))
    assert not [
        word for word in ("Input should", "pydantic", "dictionary", "instance", "str_", "type=", "None", "null") if word in told
    ]
    assert told.count("\n") + 1 == 7


@pytest.mark.parametrize(
    ("size", "expected"), [('"8 MB"', 8_000_000), ('"1.5KiB"', 1536), ('"7 B"', 7), ("4096", 4096), ('"2 GiB"', 2 << 30)]
)
def test_sizes(size: str, expected: int) -> None:
    assert load_target(target(GOOD + f"[gates]\nmax_size = {size}\n")).gates.max_size == expected


@pytest.mark.parametrize("size", ['"8"', '"-1 MB"', "true", "1.5", "-3", "0", '"0 MB"', "[]"])
def test_no_sizes(size: str) -> None:
    wanted = "board.toml:7: gates.max_size: wants a number and a unit. Write it like '8 MB' or '512 KiB'."
    assert complaint(target(GOOD + f"[gates]\nmax_size = {size}\n")) == [wanted]


def test_windows_lines_and_a_byte_order_mark_are_read() -> None:
    text = "\ufeff" + GOOD.replace("17", "3")
    assert complaint(target(text.replace("\n", "\r\n"))) == ["board.toml:5: runtime.opset: wants at least 7, found 3"]


def test_other_encodings_are_told_with_their_line() -> None:
    wanted = ["board.toml:2: byte 0xe9 is not UTF-8. Save the file as UTF-8."]
    assert complaint(target('\ndescription = "caf\xe9"'.encode("latin-1"))) == wanted
    assert complaint(target(GOOD.encode("utf-16")))[0].startswith("board.toml:1: byte 0xff is not UTF-8")


def test_text_that_ends_too_early_is_told_at_the_end() -> None:
    [line] = complaint(target(GOOD + 'models = [\n  "a",\n'))
    assert line.startswith("board.toml:8: at the end: not valid TOML: ")
    assert line.endswith("A bracket or a quote is not closed.")


def test_an_empty_file_misses_what_is_needed() -> None:
    assert [line.split(": ")[:2] for line in complaint(target(""))] == [
        ["board.toml:1", "description"],
        ["board.toml:1", "platform"],
        ["board.toml:1", "runtime"],
    ]


def test_a_missing_file_names_the_nearest() -> None:
    target(GOOD, "raspberry-pi-5.toml")
    assert complaint(Path("rasberry-pi-5.toml")) == ["rasberry-pi-5.toml: no such file. Did you mean raspberry-pi-5.toml?"]
    assert complaint(Path("nowhere/a.toml")) == ["nowhere/a.toml: no such file"]


def test_a_folder_is_no_recipe(here: Path) -> None:
    (here / "board.toml").mkdir()
    assert complaint(Path("board.toml")) == ["board.toml: cannot be read: Is a directory"]


def test_files_elsewhere_are_told_by_their_whole_path(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = here / target("[", "a.toml")
    (here / "sub").mkdir()
    monkeypatch.chdir(here / "sub")
    assert complaint(path)[0].startswith(f"{path}:1: ")


def test_recipes_cannot_be_changed() -> None:
    recipe = load_target(target(GOOD))
    with pytest.raises(ValueError, match="frozen"):
        recipe.description = "another"


@pytest.mark.parametrize(
    ("data", "kind"),
    [('{ npz = "a.npz" }', "npz"), ('{ images = "d", size = [8, 4] }', "images"), ('{ callable = "a.py:f" }', "callable")],
)
def test_a_data_set_is_told_by_the_key_that_names_its_file(data: str, kind: str) -> None:
    path = target(f'[source]\nkind = "onnx"\nfile = "a.onnx"\n[data]\ncalibration = {data}\n[[input]]\nname = "x"\nshape = [1]\n')
    calibration = load_model(path).data.calibration
    assert calibration is not None
    assert calibration.kind == kind

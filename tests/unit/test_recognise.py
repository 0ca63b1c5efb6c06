"""What a file is, told from what is in it; and the recipe that is written for it."""

from __future__ import annotations

import pickle
import tomllib
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ortolan.errors import RecipeError
from ortolan.recipe.load import load_model
from ortolan.recipe.project import clean, model_from_file
from ortolan.recipe.sources import TABLES, Missing, recognise
from ortolan.report.model_recipe import recipe

LIGHTGBM = "tree\nversion=v4\nnum_class=1\n"
XGBOOST = '{"learner":{"attributes":{}},"version":[3,2,0]}'
UBJ = b"{L\x00\x00\x00\x00\x00\x00\x00\x07learner{"


def archive(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as made:
        for name in names:
            made.writestr(name, "{}")
    return path


def kind(path: Path) -> str:
    offer = recognise(path)
    return offer.table["kind"] if offer else ""


def test_each_kind_is_told_by_what_is_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(LIGHTGBM)
    (tmp_path / "windows.txt").write_text(LIGHTGBM, newline="\r\n")
    (tmp_path / "a.json").write_text(XGBOOST)
    (tmp_path / "other-order.json").write_text('{ "version": [3,2,0], "learner": {} }')
    (tmp_path / "a.ubj").write_bytes(UBJ)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({}))
    (tmp_path / "disguised.model").write_bytes(pickle.dumps({}))
    (tmp_path / "a.onnx").write_bytes(b"\x08\x08")
    (tmp_path / "a.safetensors").write_bytes(b'\x02\x00\x00\x00\x00\x00\x00\x00{"')
    archive(tmp_path / "a.skops", "schema.json", "1.npy")
    archive(tmp_path / "a.pt", "weights/data.pkl", "weights/version")
    told = {path.name: kind(path) for path in sorted(tmp_path.iterdir())}
    assert told == {
        "a.txt": "lightgbm", "windows.txt": "lightgbm", "a.json": "xgboost", "other-order.json": "xgboost", "a.ubj": "xgboost",
        "a.pkl": "sklearn", "disguised.model": "sklearn", "a.onnx": "onnx", "a.safetensors": "pytorch", "a.skops": "sklearn",
        "a.pt": "pytorch",
    }  # fmt: skip


def test_what_merely_bears_the_name_is_not_taken_for_a_model(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"name": "x"}')
    (tmp_path / "notes.txt").write_text("tree of life")
    archive(tmp_path / "data.npz", "x.npy")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    assert {kind(path) for path in tmp_path.iterdir()} == {""}


@given(head=st.binary(max_size=64), suffix=st.sampled_from(["", *{one for table in TABLES for one in table.SUFFIXES}]))
def test_no_bytes_break_it(tmp_path_factory: pytest.TempPathFactory, head: bytes, suffix: str) -> None:
    path = tmp_path_factory.mktemp("any") / f"file{suffix}"
    path.write_bytes(head)
    recognise(path)


def test_an_unknown_file_names_the_nearest_and_what_is_known(tmp_path: Path) -> None:
    (tmp_path / "net.onxx").write_bytes(b"\x08\x08")
    with pytest.raises(RecipeError, match=r"this is no model that Ortolan knows") as caught:
        model_from_file(tmp_path / "net.onxx")
    assert "Did you mean .onnx? Known are .safetensors" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "data", "why", "hint"),
    [
        ("net.onnx", b"", "it is empty", "copy it again"),
        ("net.joblib", b"", "it is empty", "copy it again"),
        ("net.onnx", b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "it is a pointer of Git LFS", "git lfs pull"),
        ("net.pkl", b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "it is a pointer of Git LFS", "git lfs pull"),
        ("net.onnx", b"\x1f\x8b\x08", "it is compressed by gzip", "gunzip"),
        ("net.onnx.gz", b"\x1f\x8b\x08", "it is compressed by gzip", "gunzip"),
        ("net.h5", b" <!DOCTYPE HTML><html>", "it is a web page", "copy it again"),
        ("net.onnx", b"ir_version: 8\ngraph {", "it is ONNX as text", "onnx.load"),
        ("net.pt2", b"PK\x03\x04 and no end", "it was cut short", "copy it again"),
        ("net.onnx", b"PK\x03\x04 and no end", "it was cut short", "copy it again"),
        ("net.pt2", b"nothing known", "it is called .pt2, and what is in it is not that", "is it whole"),
    ],
)
def test_what_a_file_plainly_is_instead_is_said(tmp_path: Path, name: str, data: bytes, why: str, hint: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(RecipeError, match="this is no model that Ortolan knows") as caught:
        model_from_file(tmp_path / name)
    assert why in str(caught.value.why)
    assert hint in caught.value.hint
    assert "Did you mean" not in str(caught.value)


def test_an_archive_or_a_folder_that_is_called_like_a_model_is_none(tmp_path: Path) -> None:
    archive(tmp_path / "net.onnx", "config.json", "model.weights.h5")
    assert kind(tmp_path / "net.onnx") == "keras"
    (tmp_path / "net.joblib").mkdir()
    with pytest.raises(RecipeError, match="this is a folder, and no model") as caught:
        model_from_file(tmp_path / "net.joblib")
    assert "saved_model.pb" in caught.value.why
    (tmp_path / "packed.joblib").write_bytes(b"\x1f\x8b\x08")
    assert kind(tmp_path / "packed.joblib") == "sklearn", "joblib packs where it is asked to"


@pytest.mark.parametrize(
    ("stem", "name"), [("Ünïcode 模型", "unicode"), ("my net é", "my-net-e"), ("模型", "model"), ("-x-", "x")]
)
def test_names_of_any_letters_become_names_of_models(stem: str, name: str) -> None:
    assert clean(stem) == name


def test_what_a_file_does_not_tell_is_listed(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({}))
    with pytest.raises(RecipeError, match="a pickle cannot be built without a recipe") as caught:
        model_from_file(tmp_path / "a.pkl")
    assert "trust = true" in str(caught.value)
    assert "./inv model-add" in str(caught.value)


@pytest.mark.parametrize(
    ("source", "files", "expected"),
    [
        ('file = "a.txt"', {"a.txt": LIGHTGBM}, "lightgbm"),
        ('file = "a.onnx"', {}, "onnx"),
        ('file = "a.json"', {"a.json": XGBOOST}, "xgboost"),
        ('factory = "net.py:build"', {}, "pytorch"),
        ('file = "a.joblib"\ntrust = true', {}, "sklearn"),
    ],
)
def test_a_recipe_need_not_say_its_kind(tmp_path: Path, source: str, files: dict[str, str], expected: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "net.toml").write_text(f'[source]\n{source}\n[[input]]\nname = "x"\nshape = [1]\n')
    assert load_model(tmp_path / "net.toml").source.kind == expected


def test_a_written_recipe_loads_and_holds_what_was_read(tmp_path: Path) -> None:
    facts = {
        "inputs": [{"name": 'a "b"', "dtype": "float32", "shape": ["batch", None, 4]}],
        "outputs": [{"name": "y", "dtype": "int64", "shape": None}],
    }
    text = recipe("net", "an ONNX model, net.onnx", {"kind": "onnx", "file": "net.onnx"}, (), facts)
    (tmp_path / "net.toml").write_text(text)
    made = load_model(tmp_path / "net.toml")
    assert [(one.name, one.shape) for one in made.input] == [('a "b"', ["batch", 'a "b"_1', 4])]
    assert "# gives y: int64 of unknown rank" in text


def test_what_no_recipe_can_say_is_a_comment() -> None:
    facts = {"inputs": [{"name": "s", "dtype": "str", "shape": ["N"]}, {"name": "r", "dtype": "float32", "shape": None}]}
    lacking = (Missing("[source]\ntrust = true", "it is code"), Missing('[[input]]\nname = "x"', "it tells no inputs"))
    text = recipe("net", "a file", {"kind": "sklearn", "file": "a.pkl"}, lacking, facts)
    assert tomllib.loads(text) == {"description": "", "source": {"kind": "sklearn", "file": "a.pkl"}}
    for line in ("# it is code:", "# trust = true", "# it tells no inputs:", '# dtype = "str"'):
        assert line in text.splitlines()

"""``model-add``: a recipe from a file, nothing overwritten, and the recipe builds."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

import models
from conftest import Workspace
from estimator_models import fit
from ortolan.errors import OrtolanError, RecipeError
from ortolan.verbs import model_add


def add(workspace: Workspace, file: Path, name: str = "", *, as_json: bool = False) -> dict[str, object]:
    model_add.run(workspace.root, str(file), name, "", as_json=as_json, cache=workspace.cache)
    written = workspace.root / "recipes" / "models" / f"{name or file.stem}.toml"
    return tomllib.loads(written.read_text())


def test_an_onnx_file_tells_its_inputs(workspace: Workspace, tmp_path: Path) -> None:
    file = models.write(models.convnet(), tmp_path / "elsewhere" / "net.onnx")
    (file.parent / "net.onnx.data").write_bytes(b"x")
    made = add(workspace, file)
    assert made["input"] == [{"name": "image", "dtype": "float32", "shape": ["batch", 1, 8, 8]}]
    assert made["source"] == {"kind": "onnx", "file": "net.onnx", "external_data": ["net.onnx.data"]}
    assert (workspace.root / "recipes" / "models" / "net.onnx").read_bytes() == file.read_bytes()
    (built,) = workspace.build("x86-cpu", "net")
    assert built.ok, [str(error) for error in built.errors]


def test_a_file_of_the_project_stays_where_it_is(workspace: Workspace) -> None:
    file = models.write(models.convnet(), workspace.root / "data" / "net.onnx")
    made = add(workspace, file, "other")
    assert made["source"] == {"kind": "onnx", "file": "../../data/net.onnx"}
    assert not (workspace.root / "recipes" / "models" / "net.onnx").exists()


def test_nothing_is_overwritten(workspace: Workspace, tmp_path: Path) -> None:
    file = models.write(models.convnet(), tmp_path / "digits-mlp.onnx")
    before = {path: path.read_bytes() for path in (workspace.root / "recipes" / "models").glob("digits-mlp*")}
    for name in ("digits-mlp", "another"):
        with pytest.raises(OrtolanError, match="is there already"):
            add(workspace, file, name)
    assert {path: path.read_bytes() for path in (workspace.root / "recipes" / "models").glob("digits-mlp*")} == before
    assert not (workspace.root / "recipes" / "models" / "another.toml").exists()


def test_a_refused_file_leaves_nothing(workspace: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "broken.onnx"
    file.write_bytes(b"\x08\x08 no model")
    with pytest.raises(OrtolanError):
        add(workspace, file)
    assert not list((workspace.root / "recipes" / "models").glob("broken*"))


def test_a_copy_that_fails_leaves_nothing(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of two copies ends half-way, as on a disk that is full; then the recipe cannot be written."""
    file = models.write(models.convnet(), tmp_path / "elsewhere" / "net.onnx")
    (file.parent / "net.onnx.data").write_bytes(bytes(100))
    copyfile, before = shutil.copyfile, set((workspace.root / "recipes" / "models").iterdir())

    def full(source: Path, to: Path, **_: Any) -> None:
        copyfile(source, to)
        if source.name.endswith(".data"):
            os.truncate(to, 50)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def no_room(path: Path, _: bytes) -> None:
        raise OrtolanError("cannot write", where=str(path))

    for name, instead in (("shutil.copyfile", full), ("write_bytes", no_room)):
        with monkeypatch.context() as patch:
            patch.setattr(f"ortolan.verbs.model_add.{name}", instead)
            with pytest.raises(OrtolanError, match="cannot write"):
                add(workspace, file)
        assert set((workspace.root / "recipes" / "models").iterdir()) == before


def test_what_a_kill_left_is_swept_and_whole_copies_are_taken(workspace: Workspace, tmp_path: Path) -> None:
    file, beside = models.write(models.convnet(), tmp_path / "elsewhere" / "net.onnx"), workspace.root / "recipes" / "models"
    (beside / ".part-999999999-net.onnx").write_bytes(b"half")
    shutil.copyfile(file, beside / "net.onnx")
    add(workspace, file)
    assert not list(beside.glob(".part-*"))


def test_the_graph_of_a_saved_model_stands_for_its_folder(workspace: Workspace, tmp_path: Path) -> None:
    folder, names = tmp_path / "words", (b"best", b"scores")
    entries = b"".join(b"\x2a" + bytes([len(one) + 2]) + b"\x0a" + bytes([len(one)]) + one for one in names)
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"\x08\x01\x12" + bytes([len(entries)]) + entries)
    (folder / "variables" / "variables.index").write_bytes(b"i")
    model_add.run(workspace.root, str(folder / "saved_model.pb"), "", "", as_json=True, cache=workspace.cache)
    beside = workspace.root / "recipes" / "models"
    assert tomllib.loads((beside / "words.toml").read_text())["source"]["file"] == "words"
    assert (beside / "words" / "variables" / "variables.index").read_bytes() == b"i"
    (beside / "words.toml").unlink()  # as if the process had been killed before it was written
    model_add.run(workspace.root, str(folder), "", "", as_json=True, cache=workspace.cache)
    assert (beside / "words.toml").exists()


def test_a_name_that_cannot_be_part_of_a_tag_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    file = models.write(models.convnet(), tmp_path / "net.onnx")
    with pytest.raises(RecipeError, match="cannot be part of a tag"):
        add(workspace, file, "My Net")


def test_weights_alone_are_told_with_what_to_fill_in(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "w.safetensors"
    file.write_bytes((workspace.root / "recipes" / "models" / "digits.safetensors").read_bytes())
    made = add(workspace, file, as_json=True)
    assert made["source"] == {"kind": "pytorch", "weights": "w.safetensors"}
    told = json.loads(capsys.readouterr().out)
    assert told["files"] == ["recipes/models/w.toml", "recipes/models/w.safetensors"]
    assert told["missing"][0] == '[source]\nfactory = "model.py:build"'
    with pytest.raises(RecipeError, match=r"w\.toml:\d+: source\.factory: missing"):
        workspace.build("x86-cpu", "w")


@pytest.mark.slow
def test_trees_tell_how_many_features_they_take(workspace: Workspace, tmp_path: Path) -> None:
    made = add(workspace, fit("binary.txt", tmp_path))
    assert made["input"] == [{"name": "X", "dtype": "float32", "shape": ["batch", 4]}]
    (built,) = workspace.build("raspberry-pi-5", "binary")
    assert built.ok, [str(error) for error in built.errors]


@pytest.mark.slow
def test_a_pickle_is_not_opened(workspace: Workspace, tmp_path: Path) -> None:
    made = add(workspace, fit("scaled.joblib", tmp_path))
    assert made["source"] == {"kind": "sklearn", "file": "scaled.joblib"}
    with pytest.raises(RecipeError, match="a pickle is code"):
        workspace.build("x86-cpu", "scaled")

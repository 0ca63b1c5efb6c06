"""``model-add``: a recipe from a file, nothing overwritten, and the recipe builds."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

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

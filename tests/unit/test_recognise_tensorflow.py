"""SavedModels, graphs, Keras and TFLite files told from what is in them, without TensorFlow."""

from __future__ import annotations

import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ortolan.errors import RecipeError
from ortolan.recipe.project import model_from_file
from ortolan.recipe.sources import recognise
from ortolan.recipe.sources.wire import fields

_HDF5 = b"\x89HDF\r\n\x1a\n"
_GRAPH = b"\n\x1f\n\x01x\x12\x0bPlaceholder*\x0b\n\x05dtype\x12\x020\x01"
_SAVED = b"\x08\x01\x12\x04\n\x02:\x00"


def table(path: Path) -> dict[str, object]:
    offer = recognise(path)
    return offer.table if offer else {}


def saved(folder: Path) -> Path:
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(_SAVED)
    (folder / "variables" / "variables.index").write_bytes(b"")
    return folder


def test_a_kind_is_told_by_what_is_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "net.bin").write_bytes(_HDF5)
    (tmp_path / "net.lite").write_bytes(b"\x20\x00\x00\x00TFL3\x00")
    (tmp_path / "net.pb").write_bytes(_GRAPH)
    with zipfile.ZipFile(tmp_path / "net.zip", "w") as made:
        for name in ("metadata.json", "config.json", "model.weights.h5"):
            made.writestr(name, "{}")
    saved(tmp_path / "net")
    told = {path.name: table(path).get("kind") for path in tmp_path.iterdir()}
    assert told == {"net.bin": "keras", "net.zip": "keras", "net.lite": "tflite", "net.pb": "tensorflow", "net": "tensorflow"}


def test_a_saved_model_is_all_its_files_whether_the_folder_is_named_or_its_graph(tmp_path: Path) -> None:
    folder = saved(tmp_path / "Speech Model")
    whole = model_from_file(folder)
    assert (whole.name, set(whole.files.source)) == (
        "speech-model", {"Speech Model/saved_model.pb", "Speech Model/variables/variables.index"},
    )  # fmt: skip
    by_graph = model_from_file(folder / "saved_model.pb")
    assert (by_graph.name, set(by_graph.files.source)) == (whole.name, set(whole.files.source))


def test_the_graph_beside_which_one_stands_is_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(saved(tmp_path / "words"))
    assert model_from_file(Path("saved_model.pb")).name == "words"


def test_signatures_are_read_from_the_file_itself(tmp_path: Path) -> None:
    def message(number: int, data: bytes) -> bytes:
        return bytes([number << 3 | 2, len(data)]) + data

    folder = saved(tmp_path / "net")
    entries = [message(5, message(1, name) + message(2, b"")) for name in (b"serve", b"embed", b"__saved_model_init_op")]
    (folder / "saved_model.pb").write_bytes(b"\x08\x01" + message(2, b"".join(entries)))
    offer = recognise(folder)
    assert offer
    assert [one.lines for one in offer.missing] == ['[source]\nsignature = "embed"']
    with pytest.raises(RecipeError) as caught:
        model_from_file(folder)
    assert "the SavedModel has 2 signatures: embed, serve" in str(caught.value)
    (folder / "saved_model.pb").write_bytes(b"\x08\x01" + message(2, entries[0] + entries[2]))
    assert model_from_file(folder).name == "net"
    (folder / "saved_model.pb").write_bytes(b"\x08\x01" + message(2, entries[0])[:-3])
    assert model_from_file(folder).name == "net"


@given(st.binary(max_size=64))
def test_fields_of_any_bytes_end(data: bytes) -> None:
    with suppress(ValueError):
        assert sum(len(content) for _, content in fields(memoryview(data))) <= len(data)


def test_what_merely_bears_the_name_is_not_taken_for_a_model(tmp_path: Path) -> None:
    for name in ("a.pb", "a.h5", "a.keras", "a.tflite"):
        (tmp_path / name).write_text("text")
        assert recognise(tmp_path / name) is None
        with pytest.raises(RecipeError, match="this is no model that Ortolan knows"):
            model_from_file(tmp_path / name)


@given(st.binary(max_size=200))
def test_no_bytes_trouble_a_look(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "net.pb"
    path.write_bytes(data)
    assert isinstance(table(path).get("kind", ""), str)

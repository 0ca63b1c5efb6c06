"""What a file of PyTorch's is, told from the names in it; nothing is unpickled."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ortolan.errors import RecipeError
from ortolan.recipe.project import model_from_file, named_from
from ortolan.recipe.sources import Look, Offer, recognise
from ortolan.recipe.sources.torch_file import kind

LEGACY = pickle.dumps(0x1950A86A20F9469CFC6C, 2)  # the first thing that torch.save wrote before 1.6


class Loud:
    """Would tell if it were loaded."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("loaded",)


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as made:
        for name, data in members.items():
            made.writestr(f"net/{name}", data)
    return path


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"archive_format": b"pt2", "models/model.json": b"{}"}, "program"),
        ({"constants.pkl": b"", "code/__torch__.py": b"", "data.pkl": b""}, "script"),
        ({"data.pkl": pickle.dumps(OrderedDict(), 2)}, "state"),
        ({"data.pkl": pickle.dumps(OrderedDict(), 5)}, "state"),
        ({"data.pkl": pickle.dumps(Loud(), 2)}, "object"),
        ({"data.pkl": pickle.dumps([Loud()], 5)}, "object"),
        ({"data.pkl": b"\x80\x02no pickle"}, "object"),
        ({"other": b""}, ""),
    ],
)
def test_an_archive_is_told_by_its_members(tmp_path: Path, members: dict[str, bytes], expected: str) -> None:
    assert kind(Look(archive(tmp_path / "net.pt", **members))) == expected


@pytest.mark.parametrize(("held", "expected"), [(OrderedDict(), "state"), (Loud(), "object")])
def test_the_old_format_is_told_by_its_first_bytes(
    tmp_path: Path, held: object, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = io.BytesIO()
    for one in (1001, {"little_endian": True}, held):
        pickle.dump(one, stream, 2)
    (tmp_path / "net.pth").write_bytes(LEGACY + stream.getvalue())
    assert kind(Look(tmp_path / "net.pth")) == expected
    assert not capsys.readouterr().out


def test_each_says_what_it_does_not_tell(tmp_path: Path) -> None:
    found = {
        name: recognise(archive(tmp_path / name, **members))
        for name, members in {
            "a.pt2": {"archive_format": b"pt2"},
            "b.ts": {"constants.pkl": b"", "code/x.py": b""},
            "c.pt": {"data.pkl": pickle.dumps(Loud(), 2)},
        }.items()
    }
    told = {name: [one.lines.splitlines()[-1] for one in offer.missing] for name, offer in found.items() if offer}
    axes = 'shape = ["batch", 4]'
    assert told == {"a.pt2": [], "b.ts": [axes], "c.pt": ["trust = true", axes]}


@given(data=st.binary(max_size=200), old=st.booleans())
def test_no_bytes_break_it(tmp_path_factory: pytest.TempPathFactory, data: bytes, old: bool) -> None:
    path = tmp_path_factory.mktemp("any") / "net.pt"
    if old:
        path.write_bytes(LEGACY + data)
    else:
        archive(path, **{"data.pkl": data})
    assert kind(Look(path)) in {"state", "object"}


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".PT2"])
def test_a_program_by_another_name_is_no_traceback(tmp_path: Path, suffix: str) -> None:
    path = archive(tmp_path / f"net{suffix}", archive_format=b"pt2")
    if suffix == ".PT2":
        assert model_from_file(path).recipe.source.tells_inputs
        return
    with pytest.raises(RecipeError, match="a PyTorch ExportedProgram cannot be built without a recipe") as caught:
        model_from_file(path)
    assert "end in .pt2: rename it" in str(caught.value)
    assert "[[input]]" in str(caught.value)


def test_what_a_recipe_would_have_to_add_is_a_mistake_in_words(tmp_path: Path) -> None:
    path = archive(tmp_path / "net.pt", archive_format=b"pt2")
    with pytest.raises(RecipeError, match=r"net\.pt: a pytorch source does not tell the inputs of the model\. Add \[\[input\]\]"):
        named_from(path, Offer("a program", {"kind": "pytorch", "file": "net.pt"}))

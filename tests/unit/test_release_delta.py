"""Deltas of hand-made releases: what is written and what is refused; both kinds of patches are what other programs apply."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, get_args

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from delta_releases import noise, release
from ortolan import digest
from ortolan.errors import OrtolanError
from ortolan.events import Event
from ortolan.release import delta, layout, patch
from ortolan.release.patch import KINDS, Kind, Method, run_program

METHODS: list[Method] = list(get_args(Method))
PROGRAMS = {"zstd": "zstd", "bsdiff": "bspatch"}
BODY = noise(300_000, 0)


def silent(_: Event) -> None:
    return


def model(head: int) -> dict[str, bytes]:
    """A model whose last layer comes from this seed, in two files, as .onnx and .ort hold it."""
    network = BODY + noise(9_000, head)
    return {"manifest.json": b'{"head": %d}' % head, "model.onnx": network, "model.ort": network}


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    return release(tmp_path / "old", model(1), sequence=1), release(tmp_path / "new", model(2), sequence=2)


def apply(old: Path, new: Path) -> bytes:
    """What a device does: its archive by digest, the patch beside the description, the digest of what comes out."""
    (path,) = new.glob("delta-*.json")
    told = delta.read(path)
    before, after = layout.read(old), layout.read(new)
    assert (told.old, told.new, path.name) == (before.tar.digest, after.tar.digest, f"{delta.name_of(before)}.json")
    data = (new / told.file).read_bytes()
    assert (digest.of_bytes(data), len(data)) == (told.digest, told.size)
    return KINDS[told.method].apply(delta.load(old, before), data, told.new_size)


# --- what is written -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [None, *METHODS])
def test_a_delta_leads_from_one_release_to_the_other(two: tuple[Path, Path], method: Method | None) -> None:
    made = delta.make(*two, silent, method)
    assert made.delta
    assert made.delta.size < 0.05 * made.new.zst.size
    assert made.warnings == ()
    assert apply(*two) == delta.load(two[1], made.new)
    assert method in {None, made.delta.method}


def test_the_smaller_one_is_kept_and_all_that_were_tried_are_told(two: tuple[Path, Path]) -> None:
    made = delta.make(*two, silent)
    sizes = {one.method: one.size for one in made.tried}
    assert made.delta
    assert made.delta.size == min(size for size in sizes.values() if size)
    assert sizes.keys() == set(METHODS)
    for one in made.tried:
        program = PROGRAMS[one.method]
        assert one.checked == (("library", program) if shutil.which(program) else ("library",))


def test_what_both_files_of_a_release_hold_is_sent_once(two: tuple[Path, Path]) -> None:
    made = delta.make(*two, silent, "zstd")
    assert made.delta
    assert 9_000 < made.delta.size < 10_000


def test_equal_releases_give_equal_deltas(two: tuple[Path, Path]) -> None:
    def files() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in two[1].glob("delta-*")}

    for method in METHODS:
        delta.make(*two, silent, method)
        first = files()
        delta.make(*two, silent, method)
        assert files() == first


def test_another_method_takes_the_place_of_the_first(two: tuple[Path, Path]) -> None:
    order: list[tuple[Method, str]] = [("zstd", "zst"), ("bsdiff", "bsdiff"), ("zstd", "zst")]
    for method, suffix in order:
        delta.make(*two, silent, method)
        name = delta.name_of(layout.read(two[0]))
        assert {path.name for path in two[1].glob("*delta-*")} == {f"{name}.json", f"{name}.{suffix}"}


def test_a_plain_archive_is_used_where_it_is_kept(tmp_path: Path) -> None:
    two = release(tmp_path / "old", model(1), plain=True), release(tmp_path / "new", model(2), sequence=2, plain=True)
    for folder in two:
        (folder / layout.ZST).unlink()
    delta.make(*two, silent)
    assert apply(*two) == (two[1] / layout.TAR).read_bytes()


def test_the_steps_are_told(two: tuple[Path, Path]) -> None:
    events: list[Event] = []
    delta.make(*two, events.append, "zstd")
    assert [event.label for event in events if event.kind == "done"] == ["unpack", "zstd", "zstd: apply and compare"]


def test_an_older_release_as_the_new_one_is_warned_of(two: tuple[Path, Path]) -> None:
    made = delta.make(two[1], two[0], silent)
    assert [warning for warning in made.warnings if "from sequence 2 to 1" in warning]


# --- the full bundle -----------------------------------------------------------------------------------------------


def test_nothing_is_written_where_a_patch_is_hardly_smaller_and_an_earlier_one_goes(tmp_path: Path) -> None:
    old = release(tmp_path / "old", {"a": noise(50_000, 1)})
    new = release(tmp_path / "new", {"a": noise(50_000, 2)}, sequence=2)
    for suffix in ("json", "zst", "bsdiff"):
        (new / f"{delta.name_of(layout.read(old))}.{suffix}").write_text("earlier")
    made = delta.make(old, new, silent)
    assert (made.delta, made.path) == (None, None)
    assert "% of bundle.tar.zst; it is worth it below 80%" in made.why
    assert not list(new.glob("delta-*"))


def test_a_method_is_left_out_for_archives_that_are_too_large_for_it(two: tuple[Path, Path], monkeypatch: Any) -> None:
    small = {name: Kind(kind.make, kind.apply, 1000, kind.command) for name, kind in KINDS.items()}
    monkeypatch.setitem(KINDS, "bsdiff", small["bsdiff"])
    made = delta.make(*two, silent)
    assert [(one.method, one.size is None, one.why) for one in made.tried] == [
        ("zstd", False, ""), ("bsdiff", True, "only for archives of 1,000 bytes at most"),
    ]  # fmt: skip
    assert made.delta
    forced = delta.make(*two, silent, "bsdiff")
    assert (forced.delta, forced.why) == (None, "no method is for archives of this size")
    monkeypatch.setitem(KINDS, "zstd", small["zstd"])
    with pytest.raises(OrtolanError, match=r"too large for a delta[^$]*deltas are made of 1,000 at most"):
        delta.make(*two, silent)


# --- refusals ------------------------------------------------------------------------------------------------------


def test_releases_of_two_models_or_targets_and_the_same_are_refused(tmp_path: Path) -> None:
    old = release(tmp_path / "old", model(1))
    for what, more in (("model", ("other", "device")), ("target", ("net", "other"))):
        with pytest.raises(OrtolanError, match=f"no delta between two {what}s"):
            delta.make(old, release(tmp_path / what, model(2), name=more), silent)
    with pytest.raises(OrtolanError, match="OLD and NEW are the same bundle"):
        delta.make(old, release(tmp_path / "same", model(1), sequence=2), silent)


@pytest.mark.parametrize("which", [0, 1])
def test_a_damaged_bundle_is_refused_and_nothing_is_written(two: tuple[Path, Path], which: int) -> None:
    path = two[which] / layout.ZST
    whole = path.read_bytes()
    damages = {"damaged": whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:], "cut": whole[: len(whole) // 2], "none": b""}
    for data in (*damages.values(), zstandard.ZstdCompressor().compress(bytes(10_000_000)), b"no archive"):
        path.write_bytes(data)
        with pytest.raises(OrtolanError, match=r"the bundle is damaged|cannot read the bundle"):
            delta.make(*two, silent)
        assert not list(two[1].glob("*delta-*"))
    path.unlink()
    with pytest.raises(OrtolanError, match="cannot read the bundle"):
        delta.make(*two, silent)


@pytest.mark.parametrize("method", METHODS)
def test_a_patch_that_gives_something_else_is_never_written(two: tuple[Path, Path], method: Method, monkeypatch: Any) -> None:
    kind = KINDS[method]
    wrong = {
        "library makes another": Kind(lambda old, new: kind.make(old, new[:-1] + b"!"), kind.apply, kind.most, kind.command),
        "does not make": Kind(lambda old, new: kind.make(old, new + b"!"), kind.apply, kind.most, kind.command),
    }
    for words, one in wrong.items():
        monkeypatch.setitem(KINDS, method, one)
        with pytest.raises(OrtolanError, match=f"the {method} patch does not give NEW\n  why: [^\n]*{words}"):
            delta.make(*two, silent, method)
        assert not list(two[1].glob("*delta-*"))


def test_a_program_that_makes_something_else_is_believed(two: tuple[Path, Path], monkeypatch: Any) -> None:
    def command(_: Path, __: Path, new: Path) -> list[str]:
        return ["tee", str(new)]

    def failing(*_: Path) -> list[str]:
        return ["ls", "--no-such-option"]

    kind = KINDS["zstd"]
    for does, words in ((command, "tee makes another archive"), (failing, "ls ended with 2: ")):
        monkeypatch.setitem(KINDS, "zstd", Kind(kind.make, kind.apply, kind.most, does))
        with pytest.raises(OrtolanError, match=words):
            delta.make(*two, silent, "zstd")
    monkeypatch.setitem(KINDS, "zstd", Kind(kind.make, kind.apply, kind.most, lambda *_: ["no-such-program"]))
    assert delta.make(*two, silent, "zstd").tried[0].checked == ("library",)


@pytest.mark.parametrize("change", [{"size": -1}, {"method": "xdelta"}, {"file": "../a"}, {"from": "sha256:1"}, {"extra": 1}])
def test_what_is_no_description_of_a_delta_is_refused(two: tuple[Path, Path], change: dict[str, Any]) -> None:
    path = delta.make(*two, silent, "zstd").path
    assert path
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(OrtolanError, match="not a delta"):
        delta.read(path)


# --- patches -------------------------------------------------------------------------------------------------------

PIECE = st.sampled_from([b"", b"a", noise(700, 3), noise(5000, 4), bytes(9000), b"text, " * 300])
PIECES = st.lists(PIECE, max_size=6).map(b"".join)


@pytest.mark.parametrize("method", METHODS)
@given(old=PIECES, new=PIECES)
@settings(max_examples=60, deadline=None)
def test_any_file_comes_back_from_its_patch(method: Method, old: bytes, new: bytes) -> None:
    made = KINDS[method].make(old, new)
    assert KINDS[method].make(old, new) == made
    assert KINDS[method].apply(old, made, len(new)) == new


@pytest.mark.parametrize("method", METHODS)
@given(data=st.binary(max_size=200))
def test_what_is_no_patch_is_a_refusal(method: Method, data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        KINDS[method].apply(BODY, data, 100_000)


@pytest.mark.parametrize("method", METHODS)
def test_the_program_of_a_device_applies_it(method: Method, tmp_path: Path) -> None:
    if not shutil.which(PROGRAMS[method]):
        pytest.skip(f"{PROGRAMS[method]} is not installed")
    old, new = BODY + bytes(5000), noise(3000, 5) + BODY[1000:]
    (tmp_path / "old").write_bytes(old)
    (tmp_path / "patch").write_bytes(KINDS[method].make(old, new))
    assert run_program(method, tmp_path / "old", tmp_path / "patch", tmp_path / "new") == PROGRAMS[method]
    assert (tmp_path / "new").read_bytes() == new
    (tmp_path / "old").write_bytes(b"!" + old[1:] if method == "bsdiff" else old[:1000])
    (tmp_path / "patch").write_bytes(b"no patch")
    with pytest.raises(ValueError, match=f"{PROGRAMS[method]} ended with"):
        run_program(method, tmp_path / "old", tmp_path / "patch", tmp_path / "new")


def test_repeats_are_found_in_all_of_a_large_archive() -> None:
    old, head = noise(20_000_000, 6), noise(50_000, 7)
    new = head + old[:8_000_000] + head + old[8_000_000:]
    assert len(patch.KINDS["zstd"].make(old, new)) < 52_000

"""Digests that are remembered: a write is always seen, however soon it comes; what is shared is verified."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from conftest import SmallDisk
from ortolan import digest, known
from ortolan.errors import CorruptObject
from ortolan.store import Store

OLD = 10**18


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file that is worth a link, written long ago."""
    path = tmp_path / "large"
    path.write_bytes(bytes(known.LARGE))
    os.utime(path, ns=(OLD, OLD))
    return path


def flip(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.seek(1000)
        stream.write(b"x")


def stored(store: Store, path: Path) -> tuple[str, Path]:
    found = store.put(path).digest
    return found, store.root / "objects" / digest.short(found, 64)


def test_a_file_is_read_once_until_it_is_written_to(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    whole = digest.of_file

    def noted(path: Path) -> str:
        read.append(path)
        return whole(path)

    monkeypatch.setattr(digest, "of_file", noted)
    first = known.of_file(large)
    assert (known.of_file(large), len(read)) == (first, 1)
    flip(large)
    assert known.of_file(large) == whole(large) != first
    assert len(read) == 2


def test_what_was_just_written_is_read_again(tmp_path: Path) -> None:
    for data in (b"abc", b"abd"):  # within one tick of the clock, in one file of one size
        (tmp_path / "new").write_bytes(data)
        os.utime(tmp_path / "new")
        assert known.of_file(tmp_path / "new") == digest.of_bytes(data)


def test_a_large_object_is_shared_and_a_small_one_copied(tmp_path: Path, large: Path) -> None:
    store = Store(tmp_path / "store")
    (tmp_path / "small").write_bytes(b"small")
    for path, names in ((large, 2), (tmp_path / "small", 1)):
        found, kept = stored(store, path)
        store.fetch(found, tmp_path / f"{path.name}-out", shared=True)
        assert kept.stat().st_nlink == names
        store.fetch(found, tmp_path / f"{path.name}-own")
        assert kept.stat().st_nlink == names


def test_a_write_through_a_shared_name_is_seen_by_the_next_reader(tmp_path: Path, large: Path) -> None:
    store = Store(tmp_path / "store")
    found, kept = stored(store, large)
    store.fetch(found, tmp_path / "one", shared=True)
    assert not known.changed(tmp_path / "one")
    flip(tmp_path / "one")
    assert known.changed(tmp_path / "one")
    with pytest.raises(CorruptObject):
        store.fetch(found, tmp_path / "two", shared=True)
    assert not (tmp_path / "two").exists()
    assert not kept.exists()
    (tmp_path / "one").unlink()
    assert not known.changed(tmp_path / "one")


@pytest.mark.parametrize("absolute", [True, False])
def test_what_a_symbolic_link_leads_to_is_shared(tmp_path: Path, absolute: bool) -> None:
    """As git-annex, DVC and the caches of model hubs lay out large files."""
    kept, shown, out = tmp_path / "annex" / "kept", tmp_path / "models" / "net.data", tmp_path / "out" / "net.data"
    for folder in (kept.parent, shown.parent, out.parent):
        folder.mkdir()
    with kept.open("wb") as stream:
        stream.truncate(known.LARGE)
    os.utime(kept, ns=(OLD, OLD))
    shown.symlink_to(kept if absolute else "../annex/kept")
    assert known.link(shown, out, digest.of_file(kept))
    assert not out.is_symlink()
    assert out.samefile(kept)
    flip(out)
    assert known.changed(out)


def test_a_link_that_leads_nowhere_is_not_shared(tmp_path: Path) -> None:
    (tmp_path / "net.data").symlink_to("gone")
    assert not known.link(tmp_path / "net.data", tmp_path / "out", "sha256:0")


@pytest.mark.parametrize("how", ["unlinked", "renamed over", "cut short"])
def test_a_write_is_seen_also_where_the_shared_name_is_gone(tmp_path: Path, large: Path, how: str) -> None:
    out = tmp_path / "out"
    assert known.link(large, out, known.of_file(large))
    if how == "cut short":
        os.truncate(out, 100)
    else:
        flip(out)
    if how == "unlinked":
        out.unlink()
    elif how == "renamed over":
        (tmp_path / "new").write_bytes(b"new")
        (tmp_path / "new").replace(out)
    assert known.changed(out)


def test_a_name_that_only_went_away_or_is_no_link_has_not_changed(tmp_path: Path, large: Path) -> None:
    out = tmp_path / "out"
    assert known.link(large, out, known.of_file(large))
    out.unlink()
    assert not known.changed(out)
    assert not known.changed(large)
    (tmp_path / "new").write_bytes(b"another file")
    (tmp_path / "new").replace(large)
    assert not known.changed(out)


def test_damage_before_this_process_began_is_seen(tmp_path: Path, large: Path) -> None:
    store = Store(tmp_path / "store")
    found, kept = stored(store, large)
    flip(kept)
    known.settle(kept)
    known._found.clear()  # as a new process has it
    with pytest.raises(CorruptObject):
        store.fetch(found, tmp_path / "out", shared=True)


def test_another_disk_gets_a_copy(large: Path, small_disk: SmallDisk) -> None:
    mounted = small_disk("40m")
    assert not known.link(large, mounted / "out", known.of_file(large))
    store = Store(large.parent / "store")
    found, kept = stored(store, large)
    store.fetch(found, mounted / "out", shared=True)
    assert kept.stat().st_nlink == 1
    assert digest.of_file(mounted / "out") == found


def test_a_file_that_has_the_number_of_one_that_is_gone_is_hashed_itself(tmp_path: Path) -> None:
    store, kept = Store(tmp_path / "store"), []
    for text in (b"one", b"two", b"six"):
        (tmp_path / "made").write_bytes(text)
        kept.append(store.take(tmp_path / "made").digest)
        next((tmp_path / "store" / "objects").iterdir()).unlink()  # its number is free for the next file
    assert kept == [digest.of_bytes(text) for text in (b"one", b"two", b"six")]

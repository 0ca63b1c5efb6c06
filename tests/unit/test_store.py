"""The store: verified on read, whole or not at all, also on a full disk."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import SmallDisk
from ortolan import digest
from ortolan.errors import CorruptObject, StoreError
from ortolan.store import Action, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(tmp_path / "store")


@given(data=st.binary(max_size=3000))
@settings(max_examples=30, deadline=None)
def test_what_goes_in_comes_out(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("store")
    (folder / "in").write_bytes(data)
    store = Store(folder / "store")
    output = store.put(folder / "in")
    assert (output.digest, output.size) == (digest.of_bytes(data), len(data))
    store.fetch(output.digest, folder / "out")
    assert (folder / "out").read_bytes() == data


@given(bit=st.integers(0, 8 * 64 - 1))
@settings(max_examples=40, deadline=None)
def test_any_flipped_bit_is_noticed(tmp_path_factory: pytest.TempPathFactory, bit: int) -> None:
    folder = tmp_path_factory.mktemp("store")
    (folder / "in").write_bytes(bytes(range(64)))
    store = Store(folder / "store")
    output = store.put(folder / "in")
    stored = folder / "store" / "objects" / digest.short(output.digest, 64)
    damaged = bytearray(stored.read_bytes())
    damaged[bit // 8] ^= 1 << bit % 8
    stored.write_bytes(damaged)
    with pytest.raises(CorruptObject):
        store.fetch(output.digest, folder / "out")
    assert not (folder / "out").exists()
    assert not stored.exists()


def test_putting_again_heals_a_damaged_object(store: Store, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"abc")
    output = store.put(tmp_path / "in")
    (store.root / "objects" / digest.short(output.digest, 64)).write_bytes(b"abd")
    store.put(tmp_path / "in")
    store.fetch(output.digest, tmp_path / "out")


def test_an_action_is_recalled_only_with_all_its_outputs(store: Store, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"abc")
    action = Action("key:" + "1" * 64, {"stage": "s"}, {"out": store.put(tmp_path / "in")}, {"n": 1})
    store.record(action)
    assert store.recall(action.key) == action
    (store.root / "objects" / digest.short(digest.of_bytes(b"abc"), 64)).unlink()
    assert store.recall(action.key) is None
    assert store.preimage(action.key) == {"stage": "s"}


def test_a_truncated_action_counts_as_none(store: Store) -> None:
    action = Action("key:" + "1" * 64, {"stage": "s"})
    store.record(action)
    path = next((store.root / "actions").iterdir())
    path.write_bytes(path.read_bytes()[:-5])
    assert store.recall(action.key) is None


def test_a_record_that_was_tampered_with_counts_as_none(store: Store) -> None:
    action = Action("key:" + "1" * 64, {"stage": "latency"}, facts={"faster": False})
    store.record(action)
    path = next((store.root / "actions").iterdir())
    path.write_bytes(path.read_bytes().replace(b"false", b"true "))
    assert store.recall(action.key) is None
    assert store.preimage(action.key) is None


def test_a_record_under_another_key_counts_as_none(store: Store) -> None:
    action = Action("key:" + "1" * 64, {"stage": "s"})
    store.record(action)
    path = next((store.root / "actions").iterdir())
    path.rename(path.with_name("2" * 64 + ".json"))
    assert store.recall("key:" + "2" * 64) is None


def test_a_second_result_for_a_key_is_refused_and_noise_is_not_a_result(store: Store) -> None:
    key = "key:" + "1" * 64
    store.record(Action(key, {"stage": "s"}, facts={"n": 1, "noise": 0.5}))
    store.record(Action(key, {"stage": "s"}, facts={"n": 1, "noise": 0.7}))
    with pytest.raises(StoreError, match=r"not reproducible[\s\S]*differing facts: n"):
        store.record(Action(key, {"stage": "s"}, facts={"n": 2}))
    found = store.recall(key)
    assert found
    assert found.facts["n"] == 1


def test_parts_of_dead_builds_are_swept_and_those_of_living_ones_stay(store: Store) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    dead, living = store.root / "parts" / f"{gone.pid}-x", store.root / "parts" / f"{os.getpid()}-x"
    dead.touch()
    living.touch()
    Store(store.root)
    assert not dead.exists()
    assert living.exists()


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(small_disk: SmallDisk, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"x" * 3_000_000)
    disk = small_disk("1m")
    store = Store(disk / "store")
    with pytest.raises(StoreError, match="No space left on device") as caught:
        store.put(tmp_path / "in")
    assert "clean" in caught.value.hint
    assert list((disk / "store" / "parts").iterdir()) == []
    assert list((disk / "store" / "objects").iterdir()) == []

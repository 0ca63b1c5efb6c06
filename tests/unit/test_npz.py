"""Arrays are read row by row out of the archive, and damage is named."""

from __future__ import annotations

import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ortolan.stages.lib import npz
from ortolan.stages.lib.refused import Refused


def read(path: Path, array: str = "a", limit: int | None = None) -> list[np.ndarray[Any, Any]]:
    return list(npz.rows(path, path.name, array, limit))


@settings(deadline=None, max_examples=60)
@given(
    array=hnp.arrays(
        st.sampled_from(["<f4", ">f4", "<f8", "|u1", "<i8", "|b1", "<f2"]), hnp.array_shapes(min_dims=1, max_dims=4, min_side=0)
    ),
    deflated=st.booleans(),
)
def test_rows_are_what_numpy_reads(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray[Any, Any], deflated: bool) -> None:
    path = tmp_path_factory.mktemp("npz") / "x.npz"
    (np.savez_compressed if deflated else np.savez)(path, a=np.ascontiguousarray(array))
    found = read(path)
    assert len(found) == len(array)
    for row, wanted in zip(found, array, strict=True):
        np.testing.assert_array_equal(row, wanted)
        assert row.shape == np.shape(wanted)
        assert row.dtype.isnative


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_memory_is_that_of_a_row(tmp_path: Path, write: Any) -> None:
    write(tmp_path / "x.npz", a=np.random.default_rng(0).standard_normal((100, 10_000)))
    tracemalloc.start()
    for _ in npz.rows(tmp_path / "x.npz", "x.npz", "a"):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * 10_000 * 8  # the array has 100 rows


def test_limit_takes_the_first(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.arange(5))
    assert read(tmp_path / "x.npz", limit=2) == [0, 1]
    assert len(read(tmp_path / "x.npz", limit=9)) == 5


def test_absent_file(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"x\.npz is missing"):
        npz.headers(tmp_path / "x.npz", "x.npz")


def test_absent_array_names_the_nearest(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", imagee=np.zeros(3), label=np.zeros(3))
    with pytest.raises(Refused, match="no array 'image'") as caught:
        npz.pick(npz.headers(tmp_path / "x.npz", "x.npz"), "image", "x.npz", "input 'image'")
    assert "'imagee'" in caught.value.hint
    assert "'label'" in caught.value.why


@pytest.mark.parametrize("data", [b"", b"not a zip", bytes(1000)])
def test_something_else_than_npz(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(Refused, match=r"x\.npz cannot be read as \.npz"):
        npz.headers(tmp_path / "x.npz", "x.npz")


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_a_flipped_bit_is_noticed(tmp_path: Path, write: Any) -> None:
    path = tmp_path / "x.npz"
    write(path, a=np.random.default_rng(0).standard_normal((20, 1000)))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)
    with pytest.raises(Refused, match="cannot be read"):
        read(path)


def test_an_array_that_ends_early(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 8)))
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", (tmp_path / "a.npy").read_bytes()[:-40])
    with pytest.raises(Refused, match="cannot be read") as caught:
        read(tmp_path / "x.npz")
    assert "ends after 24 of a row's 64 bytes" in caught.value.why


@pytest.mark.parametrize(
    ("array", "why"),
    [
        (np.asfortranarray(np.zeros((3, 4))), "Fortran order"),
        (np.array([{}, {}]), "Python objects"),
        (np.float32(1), "single number"),
    ],
)
def test_arrays_without_rows_in_order(tmp_path: Path, array: Any, why: str) -> None:
    np.savez(tmp_path / "x.npz", a=array)
    with pytest.raises(Refused, match=why):
        read(tmp_path / "x.npz")


def test_a_header_of_rubbish(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00\x04\x00spam")
    with pytest.raises(Refused, match="no readable header"):
        npz.headers(tmp_path / "x.npz", "x.npz")

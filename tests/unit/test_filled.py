"""A file that is filled at several places at a time: its bytes, its digest, and what stops it."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ortolan.stages.lib import filled
from ortolan.stages.lib.external import Range
from ortolan.stages.lib.filled import Filled

GAPS = st.lists(st.tuples(st.integers(0, 5000), st.binary(max_size=9000)), max_size=40)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(np.arange(500_000, dtype=np.float32).tobytes())
    return path


def fill(path: Path, *writes: filled.Write, length: int) -> str:
    """The digest of a file that these writes fill, one after the other."""
    with Filled(path) as file:
        for number, write in enumerate(writes):
            file.at(number * length, length, write)
        return file.digest()


@given(pieces=GAPS)
def test_the_digest_is_that_of_the_file_and_gaps_are_zeros(
    pieces: list[tuple[int, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path, wanted = tmp_path_factory.mktemp("filled") / "file", b""
    with Filled(path) as file:
        for gap, data in pieces:
            wanted += bytes(gap) if data else b""
            file.at(len(wanted), len(data), filled.put(data))
            wanted += data
        found = file.digest()
    assert path.read_bytes() == wanted
    assert found == "sha256:" + hashlib.sha256(wanted).hexdigest()


@pytest.mark.parametrize("number", [None, errno.EXDEV, errno.ENOSYS])
def test_a_range_is_copied_with_and_without_the_systems_help(
    source: Path, tmp_path: Path, number: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> NoReturn:
        raise OSError(number, "no")

    if number:
        monkeypatch.setattr(os, "copy_file_range", refuse)
    fill(tmp_path / "made", *(filled.copy(one) for one in Range(source, 4, 1_500_000).split(500_000)), length=500_000)
    assert (tmp_path / "made").read_bytes() == source.read_bytes()[4:1_500_004]


def test_values_are_converted_and_those_that_are_too_large_become_infinite(source: Path, tmp_path: Path) -> None:
    old, new = np.dtype(np.float32), np.dtype(np.float16)
    pieces = list(Range(source, 0, 2_000_000).split(400_000))
    fill(tmp_path / "made", *(filled.convert(one, old, new) for one in pieces), length=200_000)
    made = np.fromfile(tmp_path / "made", np.float16)
    with np.errstate(over="ignore"):
        assert np.array_equal(made, np.arange(500_000, dtype=np.float32).astype(np.float16))
    assert np.isinf(made[-1])


@pytest.mark.parametrize("way", ["copy", "convert"])
def test_a_file_that_became_shorter_stops_it(source: Path, tmp_path: Path, way: str) -> None:
    where = Range(source, 0, 2_000_000)
    write = filled.copy(where) if way == "copy" else filled.convert(where, np.dtype(np.float32), np.dtype(np.float16))
    os.truncate(source, 1_000_000)
    with pytest.raises(OSError, match="source became shorter while it was read"):
        fill(tmp_path / "made", write, length=2_000_000)


def test_a_write_that_fails_is_told_and_nothing_is_left_running(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        number = full.fileno()
        failing = [lambda _file, offset: filled.put(b"x" * 1000)(number, offset) for _ in range(100)]
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            fill(tmp_path / "made", *failing, length=1000)

"""The one form of archives: every reader of tar understands it, and the same files give the same bytes."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ortolan.release.tarball import ALIGNED, BLOCK, Member, chunks, header

NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="/\\"), min_size=1, max_size=150)
PATHS = st.lists(NAMES.filter(lambda name: name not in {".", ".."}), min_size=1, max_size=3).map("/".join)
SIZES = st.sampled_from([0, 1, 511, 512, 513, 4095, 4096, 4097, 8192, 70_000])
FILES = st.dictionaries(PATHS, st.tuples(SIZES, st.booleans()), max_size=8)


def archive(files: Mapping[str, tuple[int, bool]]) -> bytes:
    members = [Member(path, *files[path], partial(io.BytesIO, contents(path, files[path][0]))) for path in sorted(files)]
    return b"".join(piece for _, piece in chunks(members))


def contents(path: str, size: int) -> bytes:
    return (path.encode() * (size // len(path.encode()) + 1))[:size]


@given(FILES)
def test_any_files_come_back_with_one_owner_and_one_time(files: Mapping[str, tuple[int, bool]]) -> None:
    with tarfile.open(fileobj=io.BytesIO(archive(files))) as tar:
        found = tar.getmembers()
        assert [one.name for one in found] == sorted(files)
        for one in found:
            size, executable = files[one.name]
            stream = tar.extractfile(one)
            assert stream
            assert stream.read() == contents(one.name, size)
            assert one.isreg()
            assert (one.mode, one.uid, one.gid, one.mtime) == (0o755 if executable else 0o644, 0, 0, 0)
            assert (one.uname, one.gname, one.linkname) == ("", "", "")


@given(FILES)
def test_large_contents_begin_at_boundaries_and_no_filling_is_longer_than_it_must_be(
    files: Mapping[str, tuple[int, bool]],
) -> None:
    data = archive(files)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for one in tar.getmembers():
            assert one.size < ALIGNED or one.offset_data % ALIGNED == 0
            assert one.offset_data - one.offset <= ALIGNED + 4 * BLOCK
    assert len(data) % BLOCK == 0
    assert data.endswith(bytes(2 * BLOCK))


@given(FILES)
def test_the_same_files_give_the_same_bytes(files: Mapping[str, tuple[int, bool]]) -> None:
    assert archive(files) == archive(dict(reversed(list(files.items()))))


@pytest.mark.parametrize("size", [(1 << 33) - 1, 1 << 33, 5 << 40])
def test_a_file_larger_than_octal_digits_can_say_is_told_to_every_reader(size: int) -> None:
    with tarfile.open(fileobj=io.BytesIO(header("model.onnx", size, executable=False, offset=0)), mode="r|") as tar:
        one = tar.next()
        assert one
        assert (one.name, one.size) == ("model.onnx", size)


@pytest.mark.parametrize("size", [3, 5])
def test_a_file_that_became_shorter_or_longer_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="a is not 4 bytes long"):
        list(chunks([Member("a", 4, executable=False, open=lambda: io.BytesIO(bytes(size)))]))


def test_tar_itself_unpacks_it(tmp_path: Path) -> None:
    files = {"deep/" + "n" * 120: (5000, False), "ä/model.onnx": (70_000, False), "device/preflight.py": (30, True)}
    (tmp_path / "bundle.tar").write_bytes(archive(files))
    subprocess.run(["tar", "xf", "bundle.tar"], cwd=tmp_path, check=True)
    assert {path: (tmp_path / path).stat().st_size for path in files} == {path: size for path, (size, _) in files.items()}
    assert (tmp_path / "device/preflight.py").stat().st_mode & 0o111

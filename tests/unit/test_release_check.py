"""A release is checked as a whole: each change is refused, and the file that differs is named."""

from __future__ import annotations

import io
import json
import random
import tarfile
from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from builds import FILES, built
from ortolan.digest import of_bytes, of_file
from ortolan.errors import OrtolanError
from ortolan.release import layout
from ortolan.release.bundle import Options, bundle
from ortolan.release.check import check
from ortolan.release.layout import DESCRIPTION, SUMS, TAR, ZST
from ortolan.release.source import source
from ortolan.release.tarball import END, Member, chunks, header
from ortolan.revision import Revision


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = source(built(tmp_path), date(2026, 11, 21))
    return bundle(found, Options(tmp_path / "dist", Revision("0" * 40, 1), plain=True)).folder


def refused(folder: Path, what: str) -> OrtolanError:
    with pytest.raises(OrtolanError, match=what) as caught:
        check(folder)
    return caught.value


def resum(folder: Path, **changes: Any) -> None:
    """Write release.json with changes, and SHA256SUMS over what lies there: as one who signs anything would."""
    told = json.loads((folder / DESCRIPTION).read_bytes())
    for name, key in ((TAR, "tar"), (ZST, "zst")):
        if (folder / name).exists():
            told[key] = {"digest": of_file(folder / name), "size": (folder / name).stat().st_size}
    (folder / DESCRIPTION).write_text(json.dumps({**told, **changes}))
    names = sorted(path.name for path in folder.iterdir() if path.name != SUMS)
    lines = [f"{of_file(folder / name).removeprefix('sha256:')}  {name}\n" for name in names]
    (folder / SUMS).write_text("".join(lines))


def replaced(folder: Path, tar: bytes) -> None:
    """Put another archive into the release, with sums that agree."""
    (folder / TAR).write_bytes(tar)
    (folder / ZST).write_bytes(zstandard.compress(tar))
    resum(folder)


# --- changes -------------------------------------------------------------------------------------------------------


def test_a_byte_changed_anywhere_is_refused_and_its_file_is_named(folder: Path) -> None:
    dice = random.Random(3)
    for path in sorted(folder.iterdir()):
        before = path.read_bytes()
        for place in {0, len(before) - 1, *(dice.randrange(len(before)) for _ in range(30))}:
            path.write_bytes(before[:place] + bytes([before[place] ^ dice.randrange(1, 256)]) + before[place + 1 :])
            error = refused(folder, "is not|not a")
            assert path.name in error.where or path.name == SUMS
        path.write_bytes(before)
    assert check(folder).model == "net"


@pytest.mark.parametrize("cut", [1, 600, 40_000])
@pytest.mark.parametrize("name", [TAR, ZST])
def test_an_archive_that_was_cut_off_is_refused(folder: Path, name: str, cut: int) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: -min(cut, len(data) // 2)])
    assert name in refused(folder, "is not the archive of this release").where


@pytest.mark.parametrize("name", [TAR, ZST])
def test_an_archive_with_more_after_its_end_is_refused(folder: Path, name: str) -> None:
    with (folder / name).open("ab") as stream:
        stream.write(bytes(512) if name == TAR else zstandard.compress(b"more"))
    assert "more follows" in refused(folder, "is not the archive of this release").why


def test_a_zst_that_would_unpack_to_far_more_is_not_unpacked(folder: Path) -> None:
    (folder / ZST).write_bytes(zstandard.compress(bytes(1 << 28)))
    assert "it holds something else" in refused(folder, "is not the archive").why


def test_a_zst_that_asks_for_much_memory_is_not_unpacked(folder: Path) -> None:
    form = zstandard.ZstdCompressionParameters(window_log=29, write_content_size=False)
    packer = zstandard.ZstdCompressor(compression_params=form).compressobj()
    (folder / ZST).write_bytes(packer.compress((folder / TAR).read_bytes()) + packer.flush())
    assert "too much memory" in refused(folder, "is not the archive of this release").why


# --- what SHA256SUMS and the folder must be -------------------------------------------------------------------------

Edit = Callable[[Path], object]
SUMS_EDITS: dict[str, Edit] = {
    "gone": lambda f: (f / SUMS).unlink(),
    "empty": lambda f: (f / SUMS).write_bytes(b""),
    "binary": lambda f: (f / SUMS).write_bytes(b"\xff"),
    "no sbom": lambda f: (f / SUMS).write_text("".join(line for line in lines(f) if "sbom" not in line)),
    "twice": lambda f: (f / SUMS).write_text("".join([*lines(f), lines(f)[-1]])),
    "unsorted": lambda f: (f / SUMS).write_text("".join(reversed(lines(f)))),
    "another name": lambda f: (f / SUMS).write_text("".join([*lines(f), "0" * 64 + "  z.txt\n"])),
    "leads out": lambda f: (f / SUMS).write_text("".join(["0" * 64 + "  ../a\n", *lines(f)])),
    "binary mode": lambda f: (f / SUMS).write_text("".join(line.replace("  ", " *") for line in lines(f))),
}


def lines(folder: Path) -> list[str]:
    return (folder / SUMS).read_text().splitlines(keepends=True)


@pytest.mark.parametrize("name", SUMS_EDITS)
def test_sums_of_another_form_are_refused(folder: Path, name: str) -> None:
    SUMS_EDITS[name](folder)
    assert refused(folder, "is not that of this release").where.endswith(SUMS)


@pytest.mark.parametrize("name", ["notes.txt", "bundle.tar.gz", ".part-1-x"])
def test_a_file_that_is_not_listed_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_text("")
    assert refused(folder, "is no part of the release").where.endswith(name)


BESIDE = ["SHA256SUMS.sig", "model.sig", "delta-0123456789ab.json", "delta-0123456789ab.zst"]


def test_signatures_and_deltas_lie_beside(folder: Path) -> None:
    for name in BESIDE:
        (folder / name).write_text("")
    assert check(folder).model == "net"


def test_a_listed_file_must_be_there_and_no_link(folder: Path, tmp_path: Path) -> None:
    (folder / "sbom.cdx.json").rename(tmp_path / "sbom")
    assert "no such file" in refused(folder, "is not that of this release").why
    (folder / "sbom.cdx.json").symlink_to(tmp_path / "sbom")
    refused(folder, "is no file of its own")


@pytest.mark.parametrize("name", BESIDE)
def test_what_lies_beside_is_no_link_and_no_folder(folder: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("")
    (folder / name).symlink_to(tmp_path / "secret")
    assert refused(folder, "is no file of its own").where.endswith(name)
    (folder / name).unlink()
    (folder / name).mkdir()
    assert refused(folder, "is no file of its own").where.endswith(name)


# --- what release.json may say --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"tag": "net-ffffffffffff-opset17-ort1.17.3"}, "is not that of this release"),
        ({"target": "other"}, "is not that of this release"),
        ({"model_hash": "sha256:" + "f" * 64}, "is not that of this release"),
        ({"manifest": "sha256:" + "f" * 64}, "is not that of this release"),
        ({"unpacked": 1}, "is not that of this release"),
        ({"tag": "../../etc"}, "not a release"),
        ({"target": "a/b"}, "not a release"),
        ({"sequence": -1}, "not a release"),
        ({"release_version": 2}, "not a release"),
        ({"more": 1}, "not a release"),
        ({"files": {"/etc/passwd": {"digest": "sha256:" + "0" * 64, "size": 1}}}, "not a release"),
    ],
)
def test_a_description_that_does_not_fit_is_refused_even_where_the_sums_agree(
    folder: Path, changes: dict[str, Any], what: str
) -> None:
    resum(folder, **changes)
    refused(folder, what)


def test_a_description_must_list_what_the_manifest_lists(folder: Path) -> None:
    files = json.loads((folder / DESCRIPTION).read_bytes())["files"]
    resum(folder, files={**files, "more": files["golden.bin"]})
    assert "its files are not those of manifest.json" in refused(folder, "is not that of this release").why


@given(st.sampled_from(["..", ".", "", "a/../b", "/a", "a//b", "a/", "a\\b", "c:d", "a\0b", "a\nb", "\u202eb"]))
def test_no_path_leads_out(path: str) -> None:
    with pytest.raises(ValueError, match="is no path inside a bundle"):
        layout.inside(path)


@given(st.lists(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True), min_size=1, max_size=4).map("/".join))
def test_plain_paths_stay_inside(path: str) -> None:
    assert layout.inside(path) == path


# --- archives of another form, whose sums agree -----------------------------------------------------------------------


def members(folder: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(folder / TAR) as tar:
        for one in tar:
            stream = tar.extractfile(one)
            assert stream
            yield one.name, stream.read()


def told(name: str, size: int = 0, **fields: Any) -> bytes:
    """A header as Python writes it, with the zeros that it leaves out of the number of the device."""
    one = tarfile.TarInfo(name)
    one.size = size
    for key, value in fields.items():
        setattr(one, key, value)
    block = one.tobuf(tarfile.USTAR_FORMAT)
    if not one.isdev():
        block = block[:148] + b" " * 8 + block[156:329] + b"0000000\0" * 2 + block[345:]
        block = block[:148] + b"%06o\0 " % sum(block) + block[156:]
    return block


GOLDEN = header("golden.bin", 640, executable=False, offset=0)
FORMS: dict[str, dict[str, Any]] = {
    "an owner": {"uid": 1000},
    "the name of an owner": {"uname": "root"},
    "a time": {"mtime": 1},
    "a mode": {"mode": 0o4755},
    "a link": {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
    "a hard link": {"type": tarfile.LNKTYPE, "linkname": "session.json"},
    "a character device": {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3},
    "a block device": {"type": tarfile.BLKTYPE, "devmajor": 8},
    "a pipe": {"type": tarfile.FIFOTYPE},
    "a folder": {"type": tarfile.DIRTYPE},
    "a path out": {"name": "../golden.bin"},
    "an absolute path": {"name": "/golden.bin"},
    "another file's name": {"name": "session.json"},
}


def test_a_header_as_python_writes_it_is_of_the_form() -> None:
    assert told("golden.bin", 640) == GOLDEN


@pytest.mark.parametrize("name", FORMS)
def test_an_archive_of_another_form_is_refused_even_where_the_sums_agree(folder: Path, name: str) -> None:
    data = (folder / TAR).read_bytes()
    assert GOLDEN in data
    replaced(folder, data.replace(GOLDEN, told(**{"name": "golden.bin", "size": 640, **FORMS[name]})))
    why = "where golden.bin should begin it holds something else"
    assert refused(folder, "is not the archive of this release").why == why


@pytest.mark.parametrize("name", ["session.json", "z", "../z"])
def test_an_archive_with_one_more_file_is_refused_even_where_the_sums_agree(folder: Path, name: str) -> None:
    replaced(folder, (folder / TAR).read_bytes().removesuffix(END) + told(name) + END)
    assert "where it should end it holds something else" in refused(folder, "is not the archive of this release").why


def test_an_archive_with_another_file_is_refused_even_where_the_sums_agree(folder: Path) -> None:
    files = dict(members(folder)) | {"golden.bin": bytes(639) + b"\1"}
    found = [
        Member(path, len(data), path.startswith("device/"), partial(io.BytesIO, data)) for path, data in sorted(files.items())
    ]
    replaced(folder, b"".join(piece for _, piece in chunks(found)))
    assert f"golden.bin has 640 bytes with {of_bytes(files['golden.bin'])}" in refused(folder, "is not the archive").why


def test_a_file_that_is_a_program_where_it_should_not_be_is_refused(folder: Path) -> None:
    data = (folder / TAR).read_bytes()
    replaced(folder, data.replace(GOLDEN, header("golden.bin", 640, executable=True, offset=0)))
    assert "where golden.bin should begin" in refused(folder, "is not the archive of this release").why


def test_files_keep_their_contents(folder: Path) -> None:
    assert {name: data for name, data in members(folder) if name in FILES} == FILES

"""What ortolan-device has of its own, as it is one file: the form of archives, patches, descriptions. And for which Pythons."""

from __future__ import annotations

import ast
import bz2
import contextlib
import io
import random
import sys
from pathlib import Path

import bsdiff4
import pytest
from hypothesis import given
from hypothesis import strategies as st

import releases
from devices import PROGRAM, load
from ortolan.disk import json_bytes
from ortolan.release import tarball

device = load()
PATHS = st.lists(
    st.text("abcdé-_.0123456789", min_size=1, max_size=40).filter(lambda part: part not in {".", ".."}), min_size=1, max_size=4
)
FILES = st.dictionaries(PATHS.map("/".join), st.tuples(st.integers(0, 9000), st.booleans()), max_size=6)


# --- Python 3.8 ----------------------------------------------------------------------------------------------------


def test_it_reads_as_python_3_8_and_imports_the_standard_library_alone() -> None:
    tree = ast.parse(PROGRAM.read_text(), feature_version=(3, 8))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in imports if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names | {"compression"}
    assert PROGRAM.read_text().startswith("#!/usr/bin/env python3\n")


def test_annotations_are_the_only_place_of_newer_types() -> None:
    """``list[str]`` and ``A | B`` are texts in annotations; anywhere else Python 3.8 would trip over them."""
    tree = ast.parse(PROGRAM.read_text())
    annotations = {
        id(inner)
        for node in ast.walk(tree)
        for part in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if part is not None
        for inner in ast.walk(part)
    }
    builtin = {"list", "dict", "tuple", "set", "type", "frozenset"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in builtin:
            assert id(node) in annotations, f"line {node.lineno}"


# --- archives ------------------------------------------------------------------------------------------------------


@given(FILES)
def test_archives_have_the_form_of_those_that_are_published(files: dict[str, tuple[int, bool]]) -> None:
    data = {path: bytes([len(path) % 256]) * size for path, (size, _) in files.items()}
    programs = {path for path, (_, executable) in files.items() if executable}
    parts = {path: device.Part(releases.digest(data[path]), len(data[path]), path in programs) for path in data}
    made = releases.tar(data, programs)
    assert device.tar_size(parts) == len(made)
    read = {path: stream.read(part.size) for path, part, stream in device.tar_members(io.BytesIO(made), parts)}
    assert read == data


@given(st.text("abé/", min_size=1, max_size=300), st.integers(0, 1 << 40), st.booleans(), st.integers(0, 1 << 12))
def test_headers_are_those_of_tarball(path: str, size: int, executable: bool, block: int) -> None:
    assert device.tar_header(path, size, executable, block * 512) == tarball.header(path, size, executable, block * 512)


def test_the_archive_of_installed_files_is_the_one_that_was_published(tmp_path: Path) -> None:
    files = {"a/b.bin": b"x" * 5000, "c": b"", "long/" + "n" * 120: b"y" * 4096}
    for path, data in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    out = io.BytesIO()
    device.write_tar(tmp_path, {path: device.Part("", len(data), path == "c") for path, data in files.items()}, out)
    assert out.getvalue() == releases.tar(files, {"c"})


# --- descriptions --------------------------------------------------------------------------------------------------


def described(path: str) -> bytes:
    files = {"manifest.json": b"", path: b"data"}
    return json_bytes(releases.describe(files, b"", b"") | {"tar": {"digest": "sha256:" + "0" * 64, "size": 0}})


ESCAPES = [
    "../x", "/etc/passwd", "a/../../x", "a//b", "./a", "a/.", "", "a\\..\\b", "a\nb", "a\0b", ".ortolan/release.json", "x" * 256,
    "manifest.json/a",
]  # fmt: skip


@pytest.mark.parametrize("path", ESCAPES)
def test_a_release_that_names_a_path_outside_its_folder_is_refused(path: str) -> None:
    with pytest.raises(device.Problem) as caught:
        device.parse_release(described(path))
    assert caught.value.code == 3
    assert "path inside a bundle" in caught.value.why or "lies in a file" in caught.value.why


def whole(**change: object) -> bytes:
    files = {"manifest.json": b"{}", "model.onnx": b"m" * 5000}
    archive = releases.tar(files)
    return json_bytes(releases.describe(files, archive, archive) | change)


def test_a_release_is_read() -> None:
    found = device.parse_release(whole(sequence=7))
    assert (found.model, found.target, found.sequence, found.unpacked) == ("digits", "x86-cpu", 7, 5002)
    assert found.files["model.onnx"].size == 5000


@pytest.mark.parametrize(
    "change",
    [
        {"release_version": 2}, {"sequence": -1}, {"sequence": True}, {"sequence": "7"}, {"tag": "../x"}, {"model": "a/b"},
        {"files": []}, {"unpacked": 1}, {"tar": {"digest": "sha256:" + "0" * 64, "size": 4}}, {"tar": None},
        {"zst": {"digest": "md5:0", "size": 4}}, {"files": {"a": {"digest": "sha256:" + "0" * 64, "size": 1.5}}},
    ],
    ids=str,
)  # fmt: skip
def test_a_release_that_does_not_add_up_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(device.Problem):
        device.parse_release(whole(**change))


@given(st.binary(max_size=300))
def test_no_bytes_make_it_crash(data: bytes) -> None:
    for read in (device.parse_release, device.parse_sums):
        with contextlib.suppress(device.Problem):
            read(data)


# --- patches -------------------------------------------------------------------------------------------------------


@given(st.integers(0, 40).flatmap(lambda n: st.tuples(st.binary(min_size=n, max_size=n), st.binary(min_size=n, max_size=n))))
def test_bytes_are_added_one_by_one(pair: tuple[bytes, bytes]) -> None:
    left, right = pair
    assert device.added(left, right) == bytes((a + b) % 256 for a, b in zip(left, right, strict=True))


def patched(folder: Path, old: bytes, patch: bytes, size: int) -> bytes:
    (folder / "old").write_bytes(old)
    (folder / "patch").write_bytes(patch)
    return b"".join(device.bspatch(folder / "old", folder / "patch", size))


@given(st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_patches_of_bsdiff_are_applied(
    tmp_path_factory: pytest.TempPathFactory, blocks: list[bytes], dice: random.Random
) -> None:
    old = b"".join(blocks) * 3
    blocks.append(b"new" * 20)
    dice.shuffle(blocks)
    new = b"".join(blocks) * 2
    folder = tmp_path_factory.mktemp("patch")
    assert patched(folder, old, bsdiff4.diff(old, new), len(new)) == new


def test_a_large_patch_is_applied_in_pieces(tmp_path: Path) -> None:
    old = random.Random(1).randbytes(1_300_000)
    new = bytes((byte + 1) % 256 for byte in old[:1_200_000]) + b"between" + old[1_000_000:]
    assert patched(tmp_path, old, bsdiff4.diff(old, new), len(new)) == new


def bsdiff(control: list[int], diff: bytes, extra: bytes, size: int) -> bytes:
    """A patch made by hand, to say what bsdiff would not."""

    def number(value: int) -> bytes:
        return (abs(value) | (1 << 63 if value < 0 else 0)).to_bytes(8, "little")

    parts = [bz2.compress(b"".join(map(number, control))), bz2.compress(diff), bz2.compress(extra)]
    return b"BSDIFF40" + number(len(parts[0])) + number(len(parts[1])) + number(size) + b"".join(parts)


def test_a_patch_that_reads_beside_the_old_file_reads_zeros(tmp_path: Path) -> None:
    patch = bsdiff([2, 0, -10, 4, 0, 0], b"\1" * 6, b"", 6)
    assert patched(tmp_path, b"ab", patch, 6) == b"bc" + b"\1" * 4


@pytest.mark.parametrize(
    "patch",
    [
        b"", b"BSDIFF40", bsdiff([9, 0, 0], b"1" * 9, b"", 6), bsdiff([-1, 0, 0], b"", b"", 6),
        bsdiff([0, 0, 0] * 50, b"", b"", 6), bsdiff([0, 0, 9] * 5000, b"", b"", 6), bsdiff([6, 0, 0], b"12", b"", 6),
        bsdiff([0, 6, 0], b"", b"12", 6), bsdiff([], b"", b"", 6), bsdiff([6, 0, 0], b"1" * 6, b"", 7),
        bsdiff([6, 0, 0], b"1" * 6, b"", 6)[:-30], b"BSDIFF40" + b"\xff" * 40,
        bsdiff([6, 0, 0], b"1" * 6, b"", 6).replace(b"BZh", b"BZx"),
    ],
)  # fmt: skip
def test_a_broken_patch_is_a_problem_and_nothing_worse(tmp_path: Path, patch: bytes) -> None:
    with pytest.raises(device.Problem):
        patched(tmp_path, b"abcdef", patch, 6)


def test_a_patch_of_nothing_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(device.Problem):
        patched(tmp_path, b"", bsdiff([0, 2, 0], b"", b"ab", 2), 2)


def test_a_patch_that_gives_something_else_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"abcdef")
    (tmp_path / "patch").write_bytes(bsdiff4.diff(b"abcdef", b"abcxef"))
    good = device.Part(releases.digest(b"abcxef"), 6)
    device.apply_delta("bsdiff", tmp_path / "old", tmp_path / "patch", good, tmp_path / "new")
    assert (tmp_path / "new").read_bytes() == b"abcxef"
    with pytest.raises(device.Problem, match="was signed"):
        device.apply_delta(
            "bsdiff", tmp_path / "old", tmp_path / "patch", device.Part(releases.digest(b"?"), 6), tmp_path / "new"
        )


# --- addresses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_this_machine_is_known(host: str) -> None:
    assert device.loopback(host)


@pytest.mark.parametrize("host", ["127.0.0.1.example.org", "example.org", "", "10.0.0.1", "localhost.example.org"])
def test_other_machines_are_not_taken_for_it(host: str) -> None:
    assert not device.loopback(host)


def net(**settings: object) -> object:
    return device.Net(device.Config(Path("/nowhere"), **settings), eager=False)


@pytest.mark.parametrize("url", ["http://example.org/x", "ftp://example.org/x", "javascript:x", "//example.org"])
def test_an_address_that_is_not_safe_is_no_address(url: str) -> None:
    with pytest.raises(device.Problem):
        net().secure(url)  # type: ignore[attr-defined]


@pytest.mark.parametrize("url", ["http://127.0.0.1:5000/x", "https://example.org/x", "file:///srv/x"])
def test_a_safe_address_is_one(url: str) -> None:
    assert net().secure(url) == url  # type: ignore[attr-defined]


def test_plain_http_is_spoken_when_it_is_asked_for() -> None:
    assert net(insecure=True).secure("http://example.org/x")  # type: ignore[attr-defined]


def test_gitlab_has_its_own_layout() -> None:
    store = device.FolderStore(net(), "gitlab://gitlab.example.com/group/sub/project", "x86-cpu", "digits")
    store.tag = "digits-5f3c9a1b2c4d-opset17-ort1.20.1"
    base = "https://gitlab.example.com/api/v4/projects/group%2Fsub%2Fproject/packages/generic/x86-cpu.digits/"
    assert store.url("SHA256SUMS") == f"{base}{store.tag}/SHA256SUMS"
    assert base + store.channels.format("stable") == f"{base}channel-stable/channel.json"


# --- what strangers say --------------------------------------------------------------------------------------------


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["sha256:" + "0" * 64, "application/x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["layers", "manifests", "annotations", "digest", "config", "artifactType"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(JSON, JSON)
def test_whatever_a_registry_says_is_a_problem_at_worst(image: object, refer: object) -> None:
    registry = device.Registry(net(), "oci://localhost/base", "x86-cpu", "digits")
    registry.net.page = lambda *_: (json_bytes({"layers": image, "manifests": refer}), "")
    part = device.Part("sha256:" + "1" * 64, 1)
    with contextlib.suppress(device.Problem):
        registry.find("", "stable")
    for ask in (registry.signatures, lambda: registry.delta(part, part), lambda: registry.read("release.json")):
        with contextlib.suppress(device.Problem):
            ask()


@given(JSON)
def test_whatever_is_called_a_delta_is_one_or_none(found: object) -> None:
    part = device.Part("sha256:" + "1" * 64, 1)
    assert device.parse_delta(json_bytes({"found": found}), part, part, str) is None

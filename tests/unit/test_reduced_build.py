"""A reduced runtime's sources, edits, flags and keys: what is taken, what is refused, and what changes a key."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import reduced_builds as small
from conftest import ROOT
from ortolan import digest
from ortolan.errors import OrtolanError, RuntimeSetupError
from ortolan.outputs.reduced_library import newest
from ortolan.reduced import edits, elf, flags, job, make, mobile, pinned, sources, tree
from ortolan.reduced import record as records
from ortolan.reduced.compile import configure, update
from ortolan.reduced.job import Work
from ortolan.reduced.progress import Progress, left

REAL = pinned.load([ROOT / "runtimes"])
KNOBS = flags.Knobs(exceptions=True, static_cxx=True, xnnpack=False, packed=True)


def work(tmp_path: Path, **other: object) -> Work:
    """A build of small sources; what is given takes the place of what it usually is made of."""
    pins = small.pins(tmp_path / "sources")
    told = flags.flags(KNOBS, small.AMD64, small.CONFIG, cross=False)
    own = Work("linux/amd64", small.CONFIG, KNOBS, told, sources.given(pins, tmp_path / "sources"), [], small.root(tmp_path))
    return dataclasses.replace(own, **other)  # type: ignore[arg-type]  # a test's own words


def test_the_pinned_sources_are_complete_and_their_patches_apply_to_their_versions() -> None:
    versions = {one.name: one.version for one in REAL.sources}
    assert versions == {"onnxruntime": REAL.onnxruntime, "onnx": "1.17.0", "protobuf": "3.21.12"}
    assert [len(one.digest) for one in REAL.sources] == [71, 71, 71]
    found = edits.edits(versions)
    assert len(found) == len(list(edits.FOLDER.iterdir())) == 4
    assert all(patch.why.endswith(".") and patch.source in versions for patch in found)
    assert edits.edits(versions | {"onnxruntime": "1.22.0"}) == []


def test_a_patch_that_does_not_say_why_is_no_patch(tmp_path: Path) -> None:
    (tmp_path / "0001.patch").write_text("Source: thing\nVersions: 1.2.3\n\n--- a/x\n")
    with pytest.raises(KeyError, match="Why"):
        edits.edits({"thing": "1.2.3"}, tmp_path)


@pytest.mark.parametrize("text", ["", "onnxruntime = 1", 'onnxruntime = "1.21.0"\nmirrors = []\n[[source]]\nname = "onnx"\n'])
def test_incomplete_pins_are_refused(tmp_path: Path, text: str) -> None:
    shutil.copytree(ROOT / "runtimes/reduced", tmp_path / "reduced")
    (tmp_path / "reduced/sources.toml").write_text(text)
    with pytest.raises(RuntimeSetupError, match="what reduced runtimes are built from is not told"):
        pinned.load([tmp_path])
    with pytest.raises(RuntimeSetupError, match=r"there is no reduced/sources\.toml"):
        pinned.load([tmp_path / "nowhere"])


def test_tarballs_of_a_folder_are_taken_by_their_digests(tmp_path: Path) -> None:
    pins = small.pins(tmp_path)
    (tmp_path / "thing_1.2.3.orig.tar.gz").rename(tmp_path / "thing-renamed.tgz")
    (found,) = sources.given(pins, tmp_path)
    assert (found.digest, found.file) == (pins.sources[0].digest, "thing-renamed.tgz")
    sources.unpack(found, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == ["LICENSE", "VERSION"]  # docs is skipped


def test_a_tarball_with_other_bytes_is_refused_with_both_digests(tmp_path: Path) -> None:
    pins = small.pins(tmp_path)
    path = tmp_path / pins.sources[0].file
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(OrtolanError, match="other bytes than the pinned one") as caught:
        sources.given(pins, tmp_path)
    assert {digest.of_file(path), pins.sources[0].digest} <= set(caught.value.why.replace(";", "").replace(",", "").split())


@pytest.mark.parametrize("name", ["thing_1.3.0.orig.tar.gz", "thing-1.3.0.tgz"])
def test_a_tarball_of_another_version_is_refused(tmp_path: Path, name: str) -> None:
    pins = small.pins(tmp_path / "pinned")
    small.tarball(tmp_path / "given" / name, {"VERSION": b"1.3.0\n"}, "thing-1.3.0")
    with pytest.raises(OrtolanError, match=r"this is thing 1\.3\.0, and builds are made of 1\.2\.3"):
        sources.given(pins, tmp_path / "given")


def test_a_folder_without_a_source_is_refused_and_onnx_is_not_onnxruntime(tmp_path: Path) -> None:
    pins = small.pins(tmp_path / "pinned")
    small.tarball(tmp_path / "given/things-1.2.3.tar.gz", {"VERSION": b"1.2.3\n"}, "things")
    with pytest.raises(OrtolanError, match="there is no thing here"):
        sources.given(pins, tmp_path / "given")
    with pytest.raises(OrtolanError, match="there is no such folder"):
        sources.given(pins, tmp_path / "nowhere")


def test_an_unpacked_tree_is_taken_and_a_changed_file_changes_its_digest(tmp_path: Path) -> None:
    pins = small.pins(tmp_path / "pinned")
    tree = tmp_path / "given/thing-1.2.3"
    shutil.copytree(tmp_path / "pinned", tree)
    (tree / "VERSION").write_text("1.2.3\n")
    (tree / "run.sh").touch(0o755)
    (first,) = sources.given(pins, tmp_path / "given")
    (tree / "docs").mkdir()
    (tree / "docs/more.txt").write_text("skipped")
    assert sources.given(pins, tmp_path / "given") == [first]
    (tree / "run.sh").write_text("changed")
    (second,) = sources.given(pins, tmp_path / "given")
    assert first.digest != second.digest
    sources.unpack(second, tmp_path / "out")
    assert os.access(tmp_path / "out/run.sh", os.X_OK)
    assert not (tmp_path / "out/docs").exists()


@pytest.mark.parametrize(("version", "said"), [("1.1.0", r"this is thing 1\.1\.0"), ("new", "thing of an unknown version")])
def test_an_unpacked_tree_of_another_version_is_refused(tmp_path: Path, version: str, said: str) -> None:
    pins = small.pins(tmp_path / "pinned")
    (tmp_path / "given/thing").mkdir(parents=True)
    (tmp_path / "given/thing/VERSION").write_text(f"{version}\n")
    with pytest.raises(OrtolanError, match=said):
        sources.given(pins, tmp_path / "given")


def test_of_several_trees_the_one_of_the_right_version_is_taken(tmp_path: Path) -> None:
    pins = small.pins(tmp_path / "pinned")
    for name, version in {"thing-1.1.0": "1.1.0", "thing-1.2.3": "1.2.3", "thing-1.3.0": "1.3.0"}.items():
        (tmp_path / "given" / name).mkdir(parents=True)
        (tmp_path / "given" / name / "VERSION").write_text(f"{version}\n")
    (found,) = sources.given(pins, tmp_path / "given")
    assert found.file == "thing-1.2.3"


def test_a_tarball_that_changes_after_it_was_looked_at_is_an_error(tmp_path: Path) -> None:
    (found,) = sources.given(small.pins(tmp_path), tmp_path)
    small.tarball(found.place, {"VERSION": b"1.2.3\n", "LICENSE": b"other\n"}, "thing-1.2.3")
    with pytest.raises(OrtolanError, match="a tarball changed while it was unpacked"):
        sources.unpack(found, tmp_path / "out")


def test_a_damaged_tarball_is_an_error_with_its_name(tmp_path: Path) -> None:
    pins = small.pins(tmp_path, **{"big.bin": os.urandom(300_000)})
    path = tmp_path / pins.sources[0].file
    path.write_bytes(path.read_bytes()[:200_000])
    cut = small.pinned(path)
    with pytest.raises(OrtolanError, match="a tarball cannot be unpacked"):
        sources.unpack(sources.Source(cut, path, cut.digest), tmp_path / "out")


def test_flags_follow_the_knobs_and_the_operators() -> None:
    own = flags.flags(KNOBS, small.AMD64, small.CONFIG, cross=False)
    assert own["onnxruntime_MINIMAL_BUILD"] == own["onnxruntime_REDUCED_OPS_BUILD"] == "ON"
    assert own["onnxruntime_DISABLE_EXCEPTIONS"] == "OFF"
    assert "-static-libstdc++" in own["CMAKE_SHARED_LINKER_FLAGS"]
    assert "CMAKE_SYSTEM_NAME" not in own
    assert not [value for value in own.values() if "/home" in value or "/root" in value]
    other = flags.flags(dataclasses.replace(KNOBS, exceptions=False, static_cxx=False), small.AMD64, small.CONFIG, cross=True)
    assert other["onnxruntime_DISABLE_EXCEPTIONS"] == "ON"
    assert "-static-libstdc++" not in other["CMAKE_SHARED_LINKER_FLAGS"]
    assert flags.shims(dataclasses.replace(KNOBS, static_cxx=False)) == ["old_libc", "old_cxx"]
    assert other["CMAKE_SYSTEM_PROCESSOR"] == "x86_64"
    trees = small.config("ai.onnx.ml;3;TreeEnsembleClassifier\n")
    assert own["onnxruntime_DISABLE_ML_OPS"] == "ON"
    assert flags.flags(KNOBS, small.AMD64, trees, cross=False)["onnxruntime_DISABLE_ML_OPS"] == "OFF"
    extended = flags.flags(dataclasses.replace(KNOBS, xnnpack=True), small.AMD64, small.CONFIG, cross=False)
    assert extended["onnxruntime_EXTENDED_MINIMAL_BUILD"] == extended["onnxruntime_USE_XNNPACK"] == "ON"
    fusing = flags.flags(dataclasses.replace(KNOBS, extended=True), small.AMD64, small.CONFIG, cross=False)
    assert fusing.keys() - own.keys() == {"onnxruntime_EXTENDED_MINIMAL_BUILD"}


def test_equal_builds_have_equal_keys_wherever_they_are(tmp_path: Path) -> None:
    one, other = work(tmp_path / "one"), work(tmp_path / "another/place")
    assert (one.key, one.tree) == (other.key, other.tree)


@pytest.mark.parametrize("field", ["config", "flags"])
def test_other_operators_or_another_link_change_the_key_and_not_the_tree(tmp_path: Path, field: str) -> None:
    one = work(tmp_path)
    linked = flags.flags(dataclasses.replace(KNOBS, static_cxx=False), small.AMD64, small.CONFIG, cross=False)
    changed = {"config": small.config("ai.onnx;13;Relu\n"), "flags": linked}[field]
    other = dataclasses.replace(one, **{field: changed})  # type: ignore[arg-type]  # one of several fields
    assert one.tree == other.tree
    assert one.key != other.key


def test_another_way_of_making_the_other_files_changes_the_key_and_not_the_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = work(tmp_path)
    before = (one.key, one.tree)
    monkeypatch.setattr(job, "_FILES", job._FILES + 1)
    assert (one.key == before[0], one.tree == before[1]) == (False, True)


@pytest.mark.parametrize("field", ["platform", "flags", "sources", "patches", "root"])
def test_everything_else_changes_both_keys(tmp_path: Path, field: str) -> None:
    one = work(tmp_path)
    changed = {
        "platform": "linux/arm64",
        "flags": {**one.flags, "CMAKE_BUILD_TYPE": "Release"},
        "sources": [dataclasses.replace(one.sources[0], digest="sha256:11")],
        "patches": edits.edits({"onnxruntime": "1.21.0"})[:1],
        "root": dataclasses.replace(one.root, packages={"dash": {"version": "1"}}),
    }[field]
    other = dataclasses.replace(one, **{field: changed})  # type: ignore[arg-type]  # one of several fields
    assert one.tree != other.tree
    assert one.key != other.key


def test_flags_of_a_configuration_that_was_stopped_are_not_linked_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else ninja would link with the flags of the one that was stopped, under the key of the one before."""
    own = work(tmp_path)
    linked = flags.flags(dataclasses.replace(KNOBS, static_cxx=False), small.AMD64, small.CONFIG, cross=False)
    one, asked = tree.Tree(tmp_path / "tree", own.root, 0), []
    one.place.mkdir()

    def runs(self: tree.Tree, command: list[str], line: object = str) -> int:  # noqa: ARG001 - as it is called
        asked.append(command)
        if command[0] == "cmake" and ["stop"] in asked:
            raise KeyboardInterrupt
        return 0

    monkeypatch.setattr(tree.Tree, "run", runs)
    configure(one, small.CONFIG, KNOBS, own.flags)
    one.objects.mkdir()
    (one.objects / "compiled.o").write_bytes(b"kept")
    asked.append(["stop"])
    with pytest.raises(KeyboardInterrupt):
        configure(one, small.CONFIG, KNOBS, linked)
    assert one.configured == {}
    asked.clear()
    configure(one, small.CONFIG, KNOBS, own.flags)
    assert [command[0] for command in asked] == ["python3", f"{small.AMD64.triple}-gcc", "cmake"]
    assert (one.configured, (one.objects / "compiled.o").is_file()) == (own.flags, True)


def test_the_file_of_a_source_is_the_pinned_one_whatever_the_users_copy_is_called(tmp_path: Path) -> None:
    one, library = work(tmp_path), tmp_path / "libonnxruntime.so"
    library.write_bytes(b"\x7fELF")
    place = one.sources[0].place
    renamed = dataclasses.replace(one.sources[0], place=place.rename(place.with_name("thing-mine.tgz")))
    told = records.record(dataclasses.replace(one, sources=[renamed]), library, READELF, "1.2.3")
    assert told == records.record(one, library, READELF, "1.2.3")
    assert [row["file"] for row in told["sources"]] == ["thing_1.2.3.orig.tar.gz"]
    unpacked = dataclasses.replace(one.sources[0], place=tmp_path / "my-tree", digest="sha256:22")
    told = records.record(dataclasses.replace(one, sources=[unpacked]), library, READELF, "1.2.3")
    assert [row["file"] for row in told["sources"]] == ["thing"]


def test_what_stands_in_for_newer_libraries_and_what_is_made_for_speed_is_in_the_record_by_digest(tmp_path: Path) -> None:
    library = tmp_path / "libonnxruntime.so"
    library.write_bytes(b"\x7fELF")
    shared = work(tmp_path, knobs=dataclasses.replace(KNOBS, static_cxx=False))
    told = records.record(shared, library, READELF, "1.2.3")["glue"]
    assert told == [
        {"file": name, "digest": digest.of_file(tree.GLUE / name)} for name in ("old_libc.c", "old_cxx.c", "speed.cmake")
    ]


@pytest.mark.parametrize(("platform", "cross"), [("linux/amd64", False), ("linux/arm64", True), ("linux/arm64", False)])
def test_the_cpp_runtime_that_is_linked_in_is_the_platforms(tmp_path: Path, platform: str, cross: bool) -> None:
    told = {"version": "14.2.0-19", "digest": "sha256:33", "file": "x.deb"}
    names = ["libstdc++-14-dev", *(["libstdc++-14-dev-arm64-cross"] if cross else []), "libstdc++6"]
    one = work(tmp_path, platform=platform)
    root = dataclasses.replace(one.root, cross=cross, packages=dict.fromkeys(names, told))
    found = records._compiled_in(dataclasses.replace(one, root=root))
    assert list(found) == ["libstdc++-14-dev-arm64-cross" if cross else "libstdc++-14-dev"]


def kept(work: Work, cache: Path, library: bytes = b"\x7fELF") -> make.Made:
    """A result in the cache, as a build leaves it."""
    place = cache / "results" / digest.short(work.key)
    (place / "licences").mkdir(parents=True)
    (place / "licences/thing-LICENSE.txt").write_text("do as you like\n")
    (place / "libonnxruntime.so").write_bytes(library)
    (place / "required_operators_and_types.config").write_text(work.config.text())
    (place / "runtime.json").write_text(json.dumps(records.record(work, place / "libonnxruntime.so", READELF, "1.2.3")))
    return make.Made(place, json.loads((place / "runtime.json").read_text()), None)


def test_a_result_is_recalled_when_library_configuration_and_key_are_its_own(tmp_path: Path) -> None:
    one = work(tmp_path)
    result = kept(one, tmp_path)
    assert make.made(one, tmp_path, 1, str) == result
    assert make._sound(result.folder, "sha256:44") is None
    (result.folder / "required_operators_and_types.config").write_text("ai.onnx;13;Relu\n")
    assert make._sound(result.folder, one.key) is None
    (result.folder / "required_operators_and_types.config").write_text(one.config.text())
    (result.folder / "libonnxruntime.so").write_bytes(b"other")
    assert make._sound(result.folder, one.key) is None
    (result.folder / "runtime.json").write_text("[]")
    assert make._sound(result.folder, one.key) is None


def test_what_another_build_made_while_this_one_waited_for_the_tree_is_recalled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = work(tmp_path)

    @contextmanager
    def opened(place: Path, *_: object) -> Iterator[tree.Tree]:
        kept(one, tmp_path)
        yield tree.Tree(place, one.root, 0)

    monkeypatch.setattr(tree, "opened", opened)
    assert make.made(one, tmp_path, 1, str).seconds is None


def test_a_result_that_is_put_becomes_the_current_one_only_when_that_is_asked_for(tmp_path: Path) -> None:
    one = work(tmp_path)
    other = dataclasses.replace(one, config=small.config("ai.onnx;13;Relu\n"))
    good, bad, runtime = kept(one, tmp_path), kept(other, tmp_path, b"\x7fELF worse"), tmp_path / "build/x/runtime"
    first = make.put(good, runtime, current=True)
    second = make.put(bad, runtime, current=False)
    assert json.loads((runtime / make.CURRENT).read_text()) == {"key": one.key, "folder": first.name}
    assert (second / "libonnxruntime.so").read_bytes() == b"\x7fELF worse"
    (second / "licences").rename(second / "gone")
    (second / "libonnxruntime.so").write_bytes(b"damaged")
    assert make.put(bad, runtime, current=True) == second
    assert (second / "licences/thing-LICENSE.txt").is_file()
    assert json.loads((runtime / make.CURRENT).read_text())["key"] == other.key


def test_files_that_did_not_change_keep_their_times(tmp_path: Path) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    for name, text in {"a/same.cc": "same", "a/changed.cc": "new", "added.inc": "added"}.items():
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        (new / name).write_text(text)
    (old / "a").mkdir(parents=True)
    for name, text in {"a/same.cc": "same", "a/changed.cc": "old", "gone.cc": "gone"}.items():
        (old / name).write_text(text)
        os.utime(old / name, (1_000_000, 1_000_000))
    assert update(new, old) == ["a/changed.cc", "added.inc", "gone.cc"]
    assert (old / "a/same.cc").stat().st_mtime == 1_000_000
    assert (old / "a/changed.cc").stat().st_mtime > 1_000_000
    assert (old / "added.inc").read_text() == "added"
    assert not (old / "gone.cc").exists()
    assert update(new, old) == []


READELF = """
Dynamic section at offset 0x17d8a0 contains 33 entries:
 0x0000000000000001 (NEEDED)             Shared library: [libm.so.6]
 0x0000000000000001 (NEEDED)             Shared library: [libc.so.6]
 0x000000000000000e (SONAME)             Library soname: [libonnxruntime.so.1]

Version definition section '.gnu.version_d' contains 2 entries:
  000000: Rev: 1  Flags: BASE  Index: 1  Cnt: 1  Name: libonnxruntime.so.1
  0x001c: Rev: 1  Flags: none  Index: 2  Cnt: 1  Name: VERS_1.21.0

Version needs section '.gnu.version_r' contains 2 entries:
  000000: Version: 1  File: libm.so.6  Cnt: 2
  0x0010:   Name: GLIBC_2.29  Flags: none  Version: 33
  0x0020:   Name: GLIBC_2.2.5  Flags: none  Version: 8
  0x0030: Version: 1  File: libc.so.6  Cnt: 2
  0x0040:   Name: GLIBC_2.34  Flags: none  Version: 19
  0x0050:   Name: CXXABI_1.3.9  Flags: none  Version: 21
  0x0060:   Name: CXXABI_1.3.15  Flags: none  Version: 23
"""


def test_what_a_library_needs_is_read_from_readelf() -> None:
    assert elf.needed(READELF) == ["libc.so.6", "libm.so.6"]
    assert elf.symbol_versions(READELF) == {"CXXABI": "1.3.15", "GLIBC": "2.34"}


def test_packed_relocations_are_a_need_of_the_c_library_that_first_reads_them() -> None:
    packed = READELF + "  0x0070:   Name: GLIBC_ABI_DT_RELR  Flags: none  Version: 24\n"
    assert elf.symbol_versions(packed) == {"CXXABI": "1.3.15", "GLIBC": "2.36"}
    assert newest({"libc.so.6": ("GLIBC_2.34", "GLIBC_ABI_DT_RELR")}) == {"GLIBC": (2, 36)}
    assert "pack-relative-relocs" in flags.flags(KNOBS, small.AMD64, small.CONFIG, cross=False)[flags.LINKING]
    older = flags.flags(dataclasses.replace(KNOBS, packed=False), small.AMD64, small.CONFIG, cross=False)
    assert "pack-relative-relocs" not in older[flags.LINKING]


def test_the_record_says_what_the_library_was_built_from(tmp_path: Path) -> None:
    one = work(tmp_path, patches=edits.edits({"onnxruntime": "1.21.0"}))
    library = tmp_path / "libonnxruntime.so"
    library.write_bytes(b"\x7fELF")
    told = records.record(one, library, READELF, "1.2.3")
    assert told["key"] == one.key
    assert told["library"] == {"file": "libonnxruntime.so", "digest": digest.of_file(library), "size": 4}
    assert [(row["name"], row["licence"]) for row in told["sources"]] == [("thing", "MIT")]
    assert [row["file"] for row in told["patches"]] == sorted(path.name for path in edits.FOLDER.iterdir())
    assert told["toolchain"]["version"] == "14.2.0-19"
    assert str(tmp_path) not in str(told)


def test_progress_is_a_line_now_and_then_with_an_estimate() -> None:
    stream = io.StringIO()
    now = iter([100.0, 105.0, 140.0, 150.0])
    progress = Progress(stream, lambda: next(now))
    for line in (
        "[0/2] Re-checking globbed directories...",
        "[10/30] one",
        "a warning",
        "[15/30] two",
        "[20/30] three",
        "[30/30] end",
    ):
        progress(line)
    assert stream.getvalue().splitlines() == [
        "  compiled 10 of 30",
        "  compiled 20 of 30, about 40 s more",
        "  compiled 30 of 30",
    ]
    assert left(4, 10, 60.0) == ""
    assert left(10, 5, 60.0) == ", about 30 s more"


@pytest.mark.parametrize("kind", ["android", "ios"])
def test_phones_get_commands_that_are_marked_not_run(tmp_path: Path, kind: str) -> None:
    made = mobile.write(tmp_path, f"{kind}/arm64", "1.21.0", small.CONFIG, dataclasses.replace(KNOBS, exceptions=False))
    (script,) = [path for path in made if path.suffix == ".sh"]
    assert os.access(script, os.X_OK)
    subprocess.run(["sh", "-n", script], check=True)
    settings = json.loads((tmp_path / "build_settings.json").read_text())
    assert "--disable_exceptions" in str(settings["build_params"])
    assert "--include_ops_by_config required_operators_and_types.config build_settings.json" in script.read_text()
    assert (tmp_path / "required_operators_and_types.config").read_text() == small.CONFIG.text()
    assert (tmp_path / "Dockerfile").is_file() == (kind == "android")
    told = mobile.gate(f"{kind}/arm64")
    assert (told.outcome, bool(told.why)) == ("not-run", True)


def test_phones_keep_the_providers_of_their_recipe(tmp_path: Path) -> None:
    """One that is not built in takes no node, and nobody says so."""
    for kind, flag in (("android", "--use_nnapi"), ("ios", "--use_coreml")):
        providers = ["NnapiExecutionProvider", "XnnpackExecutionProvider", "CPUExecutionProvider"]
        providers[0] = providers[0] if kind == "android" else "CoreMLExecutionProvider"
        mobile.write(tmp_path / kind, f"{kind}/arm64", "1.21.0", small.CONFIG, KNOBS, providers)
        told = (tmp_path / kind / "build_settings.json").read_text()
        assert all(f'"{word}"' in told for word in ("--minimal_build=extended", flag, "--use_xnnpack"))
        assert mobile.gate(f"{kind}/arm64", providers) == mobile.gate(f"{kind}/arm64")
    plain = str(mobile.settings("android", KNOBS, ["CPUExecutionProvider"]))
    assert "'--minimal_build'" in plain
    assert "--use_" not in plain
    assert "leave out QNNExecutionProvider" in mobile.gate("android/arm64", ["QNNExecutionProvider", "CPUExecutionProvider"]).why


def test_the_licence_file_of_a_collection_is_cut_to_the_licence_that_counts() -> None:
    head, mit = b"Format: https://example.com\nUpstream-Name: Boost\nFiles-Excluded:\n *.o", b"License: MIT\n Permission"
    files = b"Files: *\nLicense: BSL-1.0\n" + b" libs/x\n" * 200_000
    text = b"\n\n".join([head, files, mit, b"License: BSL-1.0\n Boost Software License"])
    assert records.brief(text, "BSL-1.0") == (
        b"Format: https://example.com\nUpstream-Name: Boost\n\nLicense: BSL-1.0\n Boost Software License\n"
    )
    assert records.brief(text, "Zlib") == text, "nothing is left out where the licence is not found"
    assert records.brief(mit, "MIT") == mit

"""Building a reduced runtime for real: its steps up to a tree that ninja compiles, and what stops them; and to the end."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import models
import reduced_builds as small
import reduced_results
from conftest import ROOT, SmallDisk, Workspace
from ortolan import digest
from ortolan.cache import cache_at, user_cache
from ortolan.errors import OrtolanError, RuntimeSetupError, StoreError
from ortolan.platforms import host_platform
from ortolan.reduced import compile as compiler
from ortolan.reduced import enter, make, pinned, record, root, tree
from ortolan.reduced.compile import configure
from ortolan.reduced.config import Config, read
from ortolan.reduced.config_make import path_of
from ortolan.reduced.flags import XNNPACK, Knobs
from ortolan.reduced.job import Work
from ortolan.reduced.sources import also, given
from ortolan.verbs.runtime_wanted import Asked, config

KEPT = user_cache().root / "reduced"
PINS = pinned.load([ROOT / "runtimes"])
KNOBS = Knobs(exceptions=True, static_cxx=False, xnnpack=False, packed=True)
DIGITS = read("""\
ai.onnx;13;Flatten,Gemm{"inputs": {"0": ["float"]}},ReduceMean{"inputs": {"0": ["float"]}},Softmax{"inputs": {"0": ["float"]}}
ai.onnx;14;Reshape
com.microsoft;1;FusedConv,FusedGemm
""")
MORE = read(DIGITS.text() + 'ai.onnx;12;MaxPool{"inputs": {"0": ["float"]}}\n')
TARGETS = {"linux/amd64": "x86-cpu", "linux/arm64": "arm64-cpu"}


def command(workspace: Workspace, config: Path, *more: str, target: str = "x86-cpu") -> list[str]:
    cache = ["--cache", str(workspace.cache.root)]
    return [sys.executable, "-m", "ortolan", "runtime-build", "--target", target, "--config", str(config), *cache, *more]


def run(workspace: Workspace, config: Path, *more: str, target: str = "x86-cpu") -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    asked = command(workspace, config, *more, target=target)
    return subprocess.run(asked, cwd=workspace.root, env=env, capture_output=True, text=True, check=False)


def written(folder: Path, config: Config | str) -> Path:
    path = folder / "wanted.config"
    path.write_text(config if isinstance(config, str) else config.text())
    return path


# --- what is refused before anything is fetched ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ai.onnx;13;Reluu\n", "unknown operator 'Reluu' of ai.onnx. Did you mean Relu?"),
        ("ai.onnx;20;RegexFullMatch\n", "regular expressions"),
        ("Relu\n", "not a line of a configuration"),
    ],
)
def test_a_configuration_that_cannot_be_built_is_refused(own_cache: Workspace, tmp_path: Path, text: str, said: str) -> None:
    done = run(own_cache, written(tmp_path, text))
    assert (done.returncode, said in done.stderr) == (1, True), done.stderr
    assert not (own_cache.cache.root / "reduced").exists()


def test_sources_of_another_version_are_refused(own_cache: Workspace, tmp_path: Path) -> None:
    small.tarball(tmp_path / "given/onnxruntime-1.20.0.tar.gz", {"VERSION_NUMBER": b"1.20.0\n"}, "onnxruntime-1.20.0")
    done = run(own_cache, written(tmp_path, DIGITS), "--sources", str(tmp_path / "given"))
    assert done.returncode == 1
    assert f"this is onnxruntime 1.20.0, and builds are made of {PINS.onnxruntime}" in done.stderr


def test_targets_that_nothing_is_built_for_say_so(own_cache: Workspace, tmp_path: Path) -> None:
    done = run(own_cache, written(tmp_path, DIGITS), target="windows-iot")
    assert (done.returncode, "no reduced ONNX Runtime is built for windows" in done.stderr) == (1, True), done.stderr


def test_a_fleet_that_asks_for_a_newer_c_api_is_refused_before_anything_is_compiled(own_cache: Workspace, tmp_path: Path) -> None:
    recipe = own_cache.root / "recipes/targets/x86-cpu.toml"
    recipe.write_text(recipe.read_text().replace('["1.17.3", "1.31.1"]', '["1.31.1"]'))
    done = run(own_cache, written(tmp_path, DIGITS))
    assert done.returncode == 1
    assert f"is ONNX Runtime {PINS.onnxruntime}, and programs for this target ask for the C API of 1.31.1" in done.stderr
    assert not (own_cache.cache.root / "reduced").exists()


@pytest.mark.parametrize(("target", "package"), [("android-arm64", "AAR"), ("ios", "xcframework")])
def test_phones_get_the_command_lines_and_a_gate_that_says_not_run(
    own_cache: Workspace, tmp_path: Path, target: str, package: str
) -> None:
    merged = own_cache.root / "build" / target / "runtime/required_operators_and_types.config"
    merged.parent.mkdir(parents=True)
    merged.write_text(MORE.text())
    done = run(own_cache, written(tmp_path, DIGITS), "--json", target=target)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [(gate["subject"], gate["outcome"], bool(gate["why"])) for gate in told["gates"]] == [(package, "not-run", True)]
    files = {path.name: path.read_text() for path in map(Path, told["files"])}
    assert {Path(path).parent for path in told["files"]} == {merged.parent / target.partition("-")[0]}
    assert merged.read_text() == MORE.text(), "one that is given does not take the place of the target's"
    assert files[merged.name] == DIGITS.text()
    assert "--branch v1.31.1 " in "".join(files.values())


@pytest.mark.parametrize(("platform", "last"), [("linux/amd64", "pytorch_cpuinfo"), ("linux/arm64", "kleidiai")])
def test_xnnpack_is_refused_where_the_sources_have_none(tmp_path: Path, platform: str, last: str) -> None:
    pins, folder = dataclasses.replace(small.pins(tmp_path / "given"), root=PINS.root), tmp_path / "given"
    wanted = make.Wanted(platform, DIGITS, dataclasses.replace(KNOBS, xnnpack=True), folder, tmp_path / "kept", [], 1)
    with pytest.raises(OrtolanError, match=rf"these sources have no googlexnnpack, no pthreadpool, no fp16, .*no {last}\n"):
        make.planned(pins, wanted)
    for name in XNNPACK:
        (folder / name).mkdir()
        (folder / name / "CMakeLists.txt").write_text(name)
    found = also(XNNPACK, folder)
    assert [one.pinned.name for one in found] == list(XNNPACK)
    assert len({one.digest for one in found}) == len(XNNPACK)


# --- root file systems, disks ---------------------------------------------------------------------------------------


def test_a_root_file_system_without_a_compiler_is_an_error_that_names_it(tmp_path: Path) -> None:
    made = small.root(tmp_path, compiler=False)
    place = tmp_path / f"linux-amd64-{digest.short(root._identity(small.SPEC, small.AMD64, host_platform()))}"
    made.place.rename(place)
    with pytest.raises(RuntimeSetupError, match="the root file system has no compiler") as caught:
        root.ensure(small.SPEC, "linux/amd64", tmp_path)
    assert caught.value.where == str(place)
    assert "usr/bin/x86_64-linux-gnu-g++" in caught.value.why


def test_a_root_file_system_that_cannot_be_entered_is_an_error(tmp_path: Path) -> None:
    made = small.root(tmp_path)  # nothing in it is a program
    (tmp_path / "tree").mkdir()
    with pytest.raises(RuntimeSetupError, match="a root file system of its own cannot be entered here") as caught:
        enter.check(made.place, tmp_path / "tree")
    assert caught.value.why


def test_a_full_disk_leaves_no_half_unpacked_tree(tmp_path: Path, small_disk: SmallDisk) -> None:
    pins = small.pins(tmp_path, **{"big.bin": os.urandom(3_000_000)})
    disk = small_disk("2m")
    found = given(pins, tmp_path)
    with (
        pytest.raises(StoreError, match="No space left on device"),
        tree.opened(disk / "trees/one", small.root(tmp_path), found, []),
    ):
        pass
    assert [path.name for path in (disk / "trees").iterdir()] == ["one.lock"]


# --- the real sources -----------------------------------------------------------------------------------------------


@pytest.fixture
def real(tmp_path: Path) -> Work:
    """What a build for this machine is made of; sources and root file system are kept in the user's cache."""
    if enter.missing():
        pytest.skip("no root file system to compile in here: no unshare or setpriv")
    wanted = make.Wanted(host_platform(), DIGITS, KNOBS, None, KEPT, [], 1)
    try:
        work = make.planned(PINS, wanted)
        (tmp_path / "empty").mkdir()
        enter.check(work.root.place, tmp_path / "empty")
    except OrtolanError as error:
        if re.search("apt-get failed|cannot be fetched|cannot be entered|cannot be made", error.what):
            pytest.skip(f"no root file system to compile in here: {error.what}")
        raise
    return work


def inside(place: Path) -> list[int]:
    """The processes that run in a root file system with the tree at ``place`` as /build."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "root/build").samefile(place):
                found.append(int(process.name))
        except OSError:
            continue  # it has ended, or is not ours
    return found


def registered(path: Path) -> set[str]:
    """The operators whose kernels a reduced list still registers."""
    lines = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("//"))
    return set(re.findall(r"BuildKernelCreateInfo<ONNX_OPERATOR_\w+\([^()]*?(\w+)\)>", lines))


def compilations(ninja: str) -> dict[str, str]:
    """The flags with which each source is compiled."""
    found = re.finditer(r"^build \S+\.o: \S+ (\S+)(?: .*)?\n((?:  .*\n)+)", ninja, re.MULTILINE)
    return {one[1]: told[1].strip() for one in found if (told := re.search(r"^  FLAGS = (.*)$", one[2], re.MULTILINE))}


@pytest.mark.slow
def test_the_real_sources_become_a_tree_that_ninja_compiles(real: Work, tmp_path: Path) -> None:
    place = tmp_path / "tree"
    with tree.opened(place, real.root, real.sources, real.patches) as opened:
        seen: list[int] = []

        def look(line: str) -> None:
            if line == "begun":
                seen.extend(inside(place))
                (place / "scratch/seen").touch()

        waits = "import os, socket; print('begun', flush=True)\nwhile not os.path.exists('scratch/seen'): pass\n"
        assert opened.run(["python3", "-c", f"{waits}socket.create_connection(('1.1.1.1', 80), 3)"], look) != 0
        assert "Network is unreachable" in opened.tail()
        assert len(seen) == 1
        configure(opened, DIGITS, real.knobs, real.flags)
        assert opened.configured == real.flags
        ninja = (opened.objects / "build.ninja").read_text()
        assert "libonnxruntime.so" in ninja
        fast = re.findall(r"^  (\w+/\S+\.c\w+)$", (tree.GLUE / "speed.cmake").read_text(), re.MULTILINE)
        quick = {path for path, told in compilations(ninja).items() if "-Os" in told and told.endswith("-O2")}
        assert quick == {f"/build/onnxruntime/onnxruntime/{name}" for name in fast}
        listed = opened.objects / "op_reduction.generated/onnxruntime/core/providers/cpu/cpu_execution_provider.cc"
        first, since = registered(listed), listed.stat().st_mtime_ns
        assert {"Flatten", "Gemm", "Softmax"} <= first
        assert not {"MaxPool", "Relu", "Sin"} & first
        configure(opened, DIGITS, real.knobs, real.flags)
        assert listed.stat().st_mtime_ns == since
        configure(opened, MORE, real.knobs, real.flags)
        assert registered(listed) - first == {"MaxPool"}
    patched = (place / "onnxruntime/onnxruntime/core/common/safeint.h").read_text()
    assert "SAFEINT_CPP_THROW noexcept(false)" in patched
    assert str(tmp_path) not in (place / tree.LOG).read_text()
    assert str(tmp_path) not in (place / "obj/build.ninja").read_text()
    assert inside(place) == []


@pytest.mark.slow
def test_a_patch_that_does_not_apply_is_named_and_nothing_is_kept(real: Work, tmp_path: Path) -> None:
    wrong = tmp_path / "0009-wrong.patch"
    wrong.write_text(
        real.patches[1].path.read_text().replace("SAFEINT_EXCEPTION_HANDLER_CPP 1", "SAFEINT_EXCEPTION_HANDLER_CPP 2")
    )
    patches = [*real.patches[:1], dataclasses.replace(real.patches[1], path=wrong)]
    with (
        pytest.raises(OrtolanError, match=r"the patch 0009-wrong\.patch does not apply"),
        tree.opened(tmp_path / "trees/one", real.root, real.sources, patches),
    ):
        pass
    assert [path.name for path in (tmp_path / "trees").iterdir()] == ["one.lock"]


def test_a_disk_that_compiling_fills_is_told_as_such_and_other_failures_with_the_compilers_words(
    real: Work, small_disk: SmallDisk
) -> None:
    disk = small_disk("4m")
    (disk / "scratch").mkdir()
    with (disk / "lock").open("w") as lock:
        one = tree.Tree(disk, real.root, lock.fileno())
        with pytest.raises(StoreError, match="No space left on device"):
            compiler._step(one, "compiling", ["cp", "/usr/bin/cmake", "scratch/large"])
        (disk / "scratch/large").unlink()
        (disk / "scratch/wrong.c").write_text("int main() { return wrong; }\n")
        with pytest.raises(OrtolanError, match="compiling failed") as caught:
            compiler._step(one, "compiling", [real.root.compiler.replace("g++", "gcc"), "-c", "scratch/wrong.c"])
    assert "'wrong' undeclared" in caught.value.why
    assert caught.value.where == str(disk / tree.LOG)


@pytest.fixture
def linked(own_cache: Workspace, real: Work) -> Workspace:
    """A workspace whose cache has the real sources and root file systems, and no tree."""
    assert real.root.place.is_dir()
    kept = own_cache.cache.root / "reduced"
    kept.mkdir(parents=True)
    for name in ("sources", "roots"):
        (kept / name).symlink_to(KEPT / name)
    return own_cache


def recalled(workspace: Workspace, work: Work, library: Path) -> str:
    """Put a library into the cache, as the build of ``work`` leaves one; the name of its folder."""
    place = workspace.cache.root / "reduced/results" / digest.short(work.key)
    (place / "licences").mkdir(parents=True)
    shutil.copyfile(library, place / "libonnxruntime.so")
    (place / "required_operators_and_types.config").write_text(work.config.text())
    told = record.record(work, library, "", PINS.onnxruntime)
    (place / "runtime.json").write_text(json.dumps(told))
    return place.name


def test_a_library_that_fails_a_gate_does_not_take_the_place_of_one_that_passed(
    linked: Workspace, tmp_path: Path, real: Work
) -> None:
    target = TARGETS[host_platform()]
    good = reduced_results.compiled(tmp_path, "int one(void) { return 1; }", "-s", name="good.so")
    bad = reduced_results.compiled(tmp_path, "int two(void) { return 2; }", "-g", name="bad.so")
    first = recalled(linked, real, good)
    second = recalled(linked, dataclasses.replace(real, config=MORE), bad)
    current = linked.root / "build" / target / "runtime/current.json"
    done = run(linked, written(tmp_path, DIGITS), target=target)
    assert (done.returncode, json.loads(current.read_text())["folder"]) == (0, first), done.stderr
    assert f"configuration {digest.of_bytes(DIGITS.text().encode())}" in done.stdout
    assert f"{target}.toml has no [outputs] reduced_runtime" in done.stderr
    done = run(linked, written(tmp_path, MORE), "--json", target=target)
    assert (done.returncode, json.loads(current.read_text())["folder"]) == (3, first), done.stderr
    told = json.loads(done.stdout)
    assert (told["current"], Path(told["folder"]).name) == (False, second)
    assert [gate["name"] for gate in told["gates"] if gate["outcome"] == "fail"] == ["reduced-size"]
    assert "current.json was left as it was" in done.stderr


@pytest.mark.slow
def test_models_that_changed_since_the_configuration_was_merged_stop_a_build(workspace: Workspace) -> None:
    shutil.rmtree(workspace.root / "recipes/models")
    recipe = workspace.root / "recipes/targets/x86-cpu.toml"
    recipe.write_text(recipe.read_text().replace('["1.17.3", "1.31.1"]', '["1.20.1"]'))
    net = workspace.root / "net.onnx"
    models.write(models.graph("(float[1,4] x) => (float[1,4] y) { [rise] y = Sin(x) }"), net)
    assert workspace.build("x86-cpu", str(net))[0].folder
    asked = Asked(workspace.root, "x86-cpu", PINS.onnxruntime, workspace.cache.store)
    path = path_of(workspace.root, "x86-cpu")
    merged = config(asked, None)
    assert config(asked, None) == merged == read(path.read_text())
    models.write(
        models.graph("(float[1,4] x) => (float[1,4] y) { [rise] a = Sin(x) [up] y = Abs(a) }"), net.parent / "new/net.onnx"
    )
    assert workspace.build("x86-cpu", str(net.parent / "new/net.onnx"))[0].folder
    with pytest.raises(OrtolanError, match="does not hold what the models of x86-cpu need now") as caught:
        config(asked, None)
    assert caught.value.why == "net: ai.onnx;13;Abs (inputs 0: float): up"
    assert "./inv runtime-config --target x86-cpu merges it anew" in caught.value.hint
    assert read(path.read_text()) == merged
    assert config(asked, path) == merged, "one that is named is taken as it is"


@pytest.mark.slow
def test_a_build_killed_at_any_moment_goes_on_or_starts_clean(linked: Workspace, tmp_path: Path, real: Work) -> None:
    chance = random.Random(20261121)
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    asked = command(linked, written(tmp_path, DIGITS), "--jobs", "1", target=TARGETS[host_platform()])
    for _ in range(5):
        begun = subprocess.Popen(asked, cwd=linked.root, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.5, 8.0))
        begun.send_signal(signal.SIGKILL)
        begun.wait()
    (trees,) = (linked.cache.root / "reduced").glob("trees")
    with tree.opened(trees / digest.short(real.tree), real.root, real.sources, real.patches) as opened:
        assert inside(opened.place) == []  # who held the lock is gone with all that it started
        configure(opened, DIGITS, real.knobs, real.flags)
        assert opened.run(["ninja", "-C", "obj", "-n", "onnxruntime"]) == 0
    assert not list(trees.glob(".part-*"))
    assert not (linked.root / "build").exists()


# --- to the end: ./inv test --slow ----------------------------------------------------------------------------------


@pytest.fixture(params=["x86-cpu", "raspberry-pi-5"])
def twice(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Workspace, Workspace]]:
    """A target, and two projects in folders of their own with empty caches, which are a gigabyte each in the end."""
    made = []
    for name in ("one", "another/place"):
        root = tmp_path / name / "project"
        shutil.copytree(ROOT / "recipes", root / "recipes", ignore=shutil.ignore_patterns("__pycache__"))
        made.append(Workspace(root, cache_at(tmp_path / name / "cache"), []))
    yield (request.param, *made)
    for one in made:
        shutil.rmtree(one.cache.root, ignore_errors=True)


def built(workspace: Workspace, target: str, config: Path) -> tuple[dict[str, Any], Path]:
    """The record of a build that was run to its end, and the folder that it left."""
    done = run(workspace, config, "--json", target=target)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    current = json.loads((workspace.root / "build" / target / "runtime/current.json").read_text())
    assert current == {"key": told["runtime"]["key"], "folder": Path(told["folder"]).name}
    return told["runtime"], Path(told["folder"])


def compiled(folder: Path) -> int:
    """How many files the last run of ninja compiled, by the log."""
    return (folder / tree.LOG).read_text().rpartition("$ ninja")[2].count("] Building C")


@pytest.mark.minutes
def test_two_builds_have_the_same_bytes_also_by_way_of_other_operators(
    twice: tuple[str, Workspace, Workspace], tmp_path: Path
) -> None:
    target, one, another = twice
    whole, folder = built(one, target, written(tmp_path, DIGITS))
    other, elsewhere = built(another, target, written(tmp_path, MORE))
    assert other["library"]["digest"] != whole["library"]["digest"]
    again, changed = built(another, target, written(tmp_path, DIGITS))
    assert again == whole
    assert (folder / "libonnxruntime.so").read_bytes() == (changed / "libonnxruntime.so").read_bytes()
    assert 0 < compiled(changed) * 4 < compiled(elsewhere)
    assert whole["library"]["size"] < 1_500_000
    assert "libstdc++.so.6" in whole["needed"], "static_cxx is false unless a recipe says otherwise"
    for path in (folder / "libonnxruntime.so", folder / "runtime.json"):
        assert str(tmp_path).encode() not in path.read_bytes()
    recalled, _ = built(another, target, written(tmp_path, MORE))
    assert recalled == other

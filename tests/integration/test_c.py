"""The C snippet: built as its README says, as C11 and as C++17, run against libraries of the runtimes' wheels."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import c_header
import models
from c_board import (
    DATA,
    FLAGS,
    LANGUAGES,
    MANY,
    MODELS,
    NEW,
    OLD,
    PROGRAMS,
    TARGET,
    Board,
    library,
    render_again,
    render_into,
    replay,
    run,
)  # fmt: skip
from conftest import ROOT, Workspace
from ortolan import manifest
from ortolan.cache import Cache
from ortolan.manifest import Manifest, ProviderPart


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory, shared_cache: Cache) -> Board:
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    include, root = c_header.folder(), tmp_path_factory.mktemp("c") / "project"
    workspace = Workspace(root, shared_cache, [])
    for name, made in MODELS.items():
        models.write(made, root / "recipes" / "models" / f"{name}.onnx")
        workspace.add(f"models/{name}.toml", f'[source]\nkind = "onnx"\nfile = "{name}.onnx"\n')
    for file in (ROOT / "recipes" / "models").glob("digits-*"):
        shutil.copy(file, root / "recipes" / "models" / file.name)
    (root / "recipes" / "targets").mkdir()
    workspace.add("targets/board.toml", TARGET.format(versions=f'["{OLD}", "{NEW}"]'))
    builds = workspace.build("board", *MODELS, "digits-mlp")
    for one in builds:
        assert one.folder, [*map(str, one.errors), *(gate for gate in one.gates if str(gate.outcome) == "fail")]
    folders = dict(zip([*MODELS, "digits-mlp"], [one.folder for one in builds if one.folder], strict=True))
    place = root / "programs"
    place.mkdir()
    return Board(folders, include, place)


@pytest.mark.parametrize("as_cxx", ["OFF", "ON"])
def test_the_readme_with_cmake(board: Board, tmp_path: Path, as_cxx: str) -> None:
    source = board.folders["digits-mlp"] / "c"
    told = {"MODEL_AS_CXX": as_cxx, "ONNXRUNTIME_LIBRARY": library(NEW), "ONNXRUNTIME_INCLUDE": board.include,
            "CMAKE_COMPILE_WARNING_AS_ERROR": "ON", "CMAKE_C_FLAGS": "-DROUNDS=3", "CMAKE_CXX_FLAGS": "-DROUNDS=3"}  # fmt: skip
    first: list[str | Path] = ["cmake", "-S", source, "-B", tmp_path, *(f"-D{key}={value}" for key, value in told.items())]
    then: list[str | Path] = ["cmake", "--build", tmp_path, "--parallel", "2"]
    for call in (first, then):
        subprocess.run(call, check=True, capture_output=True, timeout=120)
    tested = run(Path("ctest"), "--test-dir", tmp_path, "--output-on-failure", "--verbose")
    assert tested.returncode == 0, tested.stdout
    assert f"ONNX Runtime {NEW} with CPUExecutionProvider" in tested.stdout
    assert "100% tests passed" in tested.stdout
    measured = run(tmp_path / "bench_model", "--library", library(NEW), cwd=source)
    assert "ratio" in measured.stdout, measured.stderr


def test_cmake_says_how_to_get_the_header(board: Board, tmp_path: Path) -> None:
    done = run(Path("cmake"), "-S", board.folders["net"] / "c", "-B", tmp_path, f"-DONNXRUNTIME_INCLUDE={tmp_path}")
    assert done.returncode
    assert "libonnxruntime-dev" in done.stderr
    assert "-DONNXRUNTIME_INCLUDE=" in done.stderr


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", MODELS)
def test_golden_samples_bit_for_bit(board: Board, name: str, language: str) -> None:
    folder = board.folders[name]
    done = replay(board.test(folder, language), folder, "--exact")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"ONNX Runtime {OLD} with CPUExecutionProvider, golden samples of {OLD}" in done.stdout
    assert done.stdout.count(": equal") == 2 * samples(folder)


def samples(folder: Path) -> int:
    """How many outputs the golden samples have."""
    return sum(len(one["outputs"]) for one in manifest.read(folder / manifest.NAME).golden.samples)


REFUSED = {
    "strings": ({"dtype": "str"}, "input 1, image, is of type str; output 1, scores, is of type str;"),
    "unknown": ({"shape": None}, "input image has a shape that the model does not tell;"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_snippet_does_not_take_is_refused_with_a_word(board: Board, tmp_path: Path, name: str) -> None:
    made = manifest.read(board.folders["net"] / manifest.NAME).signature
    update, words = REFUSED[name]
    odd = {end: [one.model_copy(update=update) for one in getattr(made, end)] for end in ("inputs", "outputs")}
    source = render_again(board.folders["net"], tmp_path / name, **odd) / "c"
    configured = run(Path("cmake"), "-S", source, "-B", tmp_path / "build", f"-DONNXRUNTIME_INCLUDE={board.include}")
    compiled = run(Path("gcc"), "-fsyntax-only", "-isystem", board.include, source / "model.c")
    for done in (configured, compiled):
        assert done.returncode
        assert words in " ".join(done.stderr.split())


@pytest.fixture(scope="module")
def chosen(board: Board) -> Path:
    """The program whose outputs change their shapes from run to run."""
    snippet = board.folders["chosen"] / "c"
    return board.compile([f"-I{snippet}", DATA / "chosen.c", snippet / "model.c"], name="chosen")


def test_an_axis_that_the_data_decides_may_change_from_run_to_run(board: Board, chosen: Path) -> None:
    """Golden samples alone would not show an output that is given the memory of another shape."""
    done = run(chosen, library(NEW), board.folders["chosen"] / "model.onnx")
    assert done.stdout == "1/1/6 2/2/6 3/3/6 4/4/6 ", done.stderr


@pytest.fixture(scope="module")
def faults(board: Board) -> tuple[Path, list[Path]]:
    """The program that does everything wrong, and its words."""
    net, place = board.folders["net"], board.place
    half, missing = place / "half.onnx", place / "missing"
    half.write_bytes((net / "model.onnx").read_bytes()[:200])
    made = board.compile([f"-I{net / 'c'}", DATA / "faults.c", net / "c" / "model.c"], name="faults")
    other = Path(subprocess.run(["gcc", "-print-file-name=libm.so.6"], check=True, capture_output=True, text=True).stdout.strip())
    return made, [library(NEW), net / "model.onnx", half, board.folders["types"] / "model.onnx", missing, other]


def test_each_fault_is_told_and_undone(faults: tuple[Path, list[Path]]) -> None:
    program, words = faults
    done = run(program, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    said = dict(line.split(": ", 1) for line in done.stdout.splitlines() if line[:1].strip())
    wanted = {
        "no library": f"no, cannot open {words[4]}: ", "another library": f"no, {words[5]} is not ONNX Runtime",
        "no model": "no, cannot load the model: ", "half a model": "no, cannot load the model: ",
        "another model": "no, this file is not the model: it has ", "without an error to fill": "no",
        "the model": "yes", "twice": "yes", "one": "yes", "seven": "yes", "none": "yes",
        "fewer than none": "no, the size of axis 'batch' is negative",
        "more than there is": "no, image: ", "calls are apart": "yes", "after another's end": "yes",
    }  # fmt: skip
    assert list(said) == list(wanted), done.stdout
    for what, begins in wanted.items():
        assert said[what].startswith(begins), f"{what}: {said[what]}"
    assert "File doesn't exist" in said["no model"]
    assert "25 inputs and 25 outputs in place of 1 and 1" in said["another model"]
    assert done.stdout.count("  run: yes") == 4, done.stdout
    assert "outputs: 7 rows, 21 elements" in done.stdout


def test_no_error_in_address_sanitizer(faults: tuple[Path, list[Path]], board: Board) -> None:
    """On every path that fails, and on golden samples of every type."""
    flags = (*FLAGS, "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    net, types = board.folders["net"] / "c", board.folders["types"]
    program = board.compile([f"-I{net}", DATA / "faults.c", net / "model.c"], flags=flags, name="sanitized-faults")
    tested = board.compile([types / "c" / n for n in ("model.c", "golden.c", "test_model.c")], flags=flags, name="sanitized-test")
    for done in (run(program, *faults[1]), replay(tested, types, version=NEW)):
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_no_error_in_valgrind(faults: tuple[Path, list[Path]], chosen: Path, board: Board) -> None:
    """On every path that fails, and on runs whose outputs change their shape."""
    kinds = "definite,indirect,possible"
    checks = [
        f"--suppressions={DATA / 'valgrind.supp'}", "--leak-check=full", f"--show-leak-kinds={kinds}",
        f"--errors-for-leak-kinds={kinds}", "--error-exitcode=9", "--keep-debuginfo=yes", "--quiet",
    ]  # fmt: skip
    calls = [[faults[0], *faults[1]], [chosen, library(NEW), board.folders["chosen"] / "model.onnx"]]
    for one in [_start(["valgrind", *checks, *call]) for call in calls]:
        out, said = one.communicate(timeout=200)
        assert one.returncode == 0, f"{one.args!r}: {said}{out}"


def _start(call: list[str | Path]) -> subprocess.Popen[str]:
    return subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_library_older_than_the_fleet(board: Board, tmp_path: Path) -> None:
    net = board.folders["net"]
    made = manifest.read(net / manifest.NAME)
    newest = made.model_copy(update={"target": made.target.model_copy(update={"versions": [NEW]})})
    folder = render_into(tmp_path / "newest", net, newest)
    program = board.test(folder)
    done = replay(program, folder, version=OLD)
    assert done.returncode == 1
    assert f"ONNX Runtime {OLD} in {library(OLD)} is too old: this model wants {NEW} or newer (C API 31)" in done.stderr
    assert replay(program, folder, version=NEW).returncode == 0


@pytest.mark.parametrize("language", LANGUAGES)
def test_providers_that_the_library_lacks_are_passed_over(board: Board, tmp_path: Path, language: str) -> None:
    providers = [ProviderPart(name=name, options=options) for name, options in MANY.items()]
    sharing = {"sessions": 1, "concurrent_run": False}
    folder = render_again(board.folders["net"], tmp_path / "many", providers=providers, sharing=sharing)
    done = replay(board.test(folder, language), folder, "--exact")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"ONNX Runtime {OLD} with CPUExecutionProvider," in done.stdout


def test_the_last_provider_must_be_there(board: Board, tmp_path: Path) -> None:
    providers = [ProviderPart(name=name, options={}) for name in ("CPUExecutionProvider", "XnnpackExecutionProvider")]
    folder = render_again(board.folders["net"], tmp_path / "last", providers=providers)
    done = replay(board.test(folder), folder)
    assert done.returncode == 1
    assert done.stderr == f"this ONNX Runtime {OLD} has no XnnpackExecutionProvider\n"


def test_a_provider_that_the_library_has_is_used(board: Board, tmp_path: Path) -> None:
    options = {"OpenVINOExecutionProvider": {"device_type": "CPU"}, "CPUExecutionProvider": {}}
    providers = [ProviderPart(name=name, options=given) for name, given in options.items()]
    folder = render_again(board.folders["net"], tmp_path / "openvino", providers=providers)
    done = run(board.test(folder), "--library", library("1.24.1", "onnxruntime-openvino"), cwd=folder / "c")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "with OpenVINOExecutionProvider, CPUExecutionProvider," in done.stdout


@pytest.mark.parametrize("name", ["show", "add", "golden", "whole", "free", "time", "tensor", "main", "sem", "ort"])
def test_a_model_may_have_a_name_of_c_or_of_the_snippet(board: Board, tmp_path: Path, name: str) -> None:
    net = board.folders["net"]
    made = manifest.read(net / manifest.NAME)
    folder = render_into(tmp_path / name, net, made.model_copy(update={"model": made.model.model_copy(update={"name": name})}))
    assert replay(board.test(folder), folder, "--exact").returncode == 0
    board.compile([folder / "c" / each for each in ("bench_model.c", "golden.c")], name="bench")


@pytest.mark.parametrize("concurrent", [True, False])
def test_threads_share_a_model(board: Board, tmp_path: Path, *, concurrent: bool) -> None:
    sharing = {"sessions": 1, "concurrent_run": concurrent}
    folder = render_again(board.folders["net"], tmp_path / "shared", sharing=sharing)
    assert ("pthread_mutex_lock" in (folder / "c" / "model.c").read_text()) is not concurrent
    made = board.compile([f"-I{folder / 'c'}", DATA / "threads.c", folder / "c" / "model.c"], name=f"threads-{concurrent}")
    done = run(made, library(NEW), folder / "model.onnx")
    assert done.stdout == "8 of 8 threads agree\n", done.stderr


def test_the_rule_of_nearness(board: Board, tmp_path: Path) -> None:
    """Golden values that were moved: a little is near, much is not, unless the ratio to the noise is enough."""
    net = board.folders["net"]
    made = manifest.read(net / manifest.NAME)
    loose = made.model_copy(update={"golden": made.golden.model_copy(update={"min_snr_db": 20.0})})
    strict_program, loose_program = board.test(net), board.test(render_into(tmp_path / "loose", net, loose))
    for factor, near, is_loud in ((1 + 1e-5, True, True), (1.01, False, True), (2.0, False, False), (float("nan"), False, False)):
        moved = ["--golden", str(moved_by(factor, net, made, tmp_path / f"moved-{factor}.bin"))]
        assert (replay(strict_program, net, *moved).returncode == 0) is near, factor
        assert (replay(loose_program, net, *moved).returncode == 0) is is_loud, factor
        assert replay(loose_program, net, *moved, "--exact").returncode == 1, factor


def moved_by(factor: float, folder: Path, made: Manifest, to: Path) -> Path:
    """golden.bin with its first output, of float32, times a factor."""
    data = bytearray((folder / "golden.bin").read_bytes())
    place = made.golden.samples[0]["outputs"]["scores"]
    end = place["offset"] + place["size"]
    data[place["offset"] : end] = (np.frombuffer(data[place["offset"] : end], np.float32) * np.float32(factor)).tobytes()
    to.write_bytes(data)
    return to


def test_golden_samples_that_are_cut_off_or_absent(board: Board, tmp_path: Path) -> None:
    net = board.folders["net"]
    program, cut = board.test(net), tmp_path / "cut.bin"
    cut.write_bytes((net / "golden.bin").read_bytes()[:-64])
    done = replay(program, net, "--golden", str(cut))
    assert (done.returncode, "golden.bin" in done.stdout + done.stderr) == (1, True)
    missing = replay(program, net, "--golden", str(tmp_path / "none.bin"))
    assert (missing.returncode, missing.stderr) == (2, f"cannot read {tmp_path / 'none.bin'}\n")
    assert replay(program, net, "--wrong").returncode == 2

"""Preflight as a device runs it: in real ONNX Runtimes by Python and by the C API, and in broken ones."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pythons
from conftest import ROOT, SmallDisk, Workspace
from device_programs import PREFLIGHT, SELFTEST, checks, interpreter, module, names, outcomes, run
from manifests import manifest
from ortolan import runtime
from ortolan.manifest import EnginePart, Manifest, NeededProvider
from ortolan.package.docker import entries
from ortolan.runtime.uv import uv

CPU, CUDA, OPENVINO, QNN, RTX = (
    f"{name}ExecutionProvider" for name in ("CPU", "CUDA", "OpenVINO", "QNN", "NvTensorRTRTX")
)  # fmt: skip
Judged = Callable[..., dict[str, dict[str, str]]]


@pytest.fixture
def judged(tmp_path: Path) -> Judged:
    """Run preflight on a manifest by its file; the checks by name. ``code`` is what it must exit with."""

    def judge(
        made: Manifest, *words: str | Path, code: int = 0, environment: dict[str, str] | None = None
    ) -> dict[str, dict[str, str]]:
        (tmp_path / "manifest.json").write_bytes(made.to_bytes())
        done = run(PREFLIGHT, "--manifest", tmp_path / "manifest.json", "--json", *words, environment=environment)
        assert done.returncode == code, done.stdout.decode()
        return checks(done)

    return judge


def asking(made: Manifest, *required: str, engines: dict[str, dict[str, str]] | None = None, **rules: Any) -> Manifest:
    """The manifest with other rules; ``required`` are the providers that a bundle is no use without."""
    named = [one.name for one in made.preflight.providers]
    needed = [NeededProvider(name=name, required=name in (required or named[-1:])) for name in named]
    parts = [EnginePart(file=file, provider=named[0], about=about) for file, about in (engines or {}).items()]
    part = made.preflight.model_copy(update={"providers": needed, "engines": parts, **rules})
    return made.model_copy(update={"preflight": part})


def of_fleet(*versions: str, **about: Any) -> Manifest:
    """The manifest of a bundle that was checked in these versions."""
    made = manifest(**about)
    fleet = made.target.model_copy(update={"versions": list(versions)})
    oldest = versions[0]
    return asking(made.model_copy(update={"target": fleet}), oldest=oldest, api=int(oldest.split(".")[1]))


def providers(*named: str, **options: dict[str, str]) -> dict[str, dict[str, str]]:
    """Providers with their options, the CPU last."""
    return {name: options.get(name, {}) for name in (*named, CPU)}


# --- runtimes that are there --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.17.3", "1.31.1"])
def test_a_bundle_fits_the_runtimes_that_it_was_checked_in(judged: Judged, version: str) -> None:
    found = judged(of_fleet("1.17.3", "1.31.1"), "--strict", "--python", interpreter(f"onnxruntime-{version}"))
    assert outcomes(found) == {"pass"}
    assert found["runtime"]["measured"] == version
    assert found["runtime"]["why"] == f"asked of {interpreter(f'onnxruntime-{version}')}"
    assert found[f"provider {CPU}"]["measured"] == "runs a node"


def test_an_older_runtime_and_a_newer_opset_do_not_fit(judged: Judged) -> None:
    old = interpreter("onnxruntime-1.17.3")
    found = judged(of_fleet("1.20.1", "1.31.1"), "--python", old, code=1)
    assert names(found, "fail") == ["runtime", "api"]
    found = judged(asking(of_fleet("1.17.3"), opset=21), "--python", old, code=1)
    assert names(found, "fail") == ["opset"]
    assert (found["opset"]["measured"], found["opset"]["limit"]) == ("20", ">= 21")
    found = judged(asking(of_fleet("1.17.3"), opset=20), "--python", old)
    assert outcomes(found) == {"pass"}


def test_a_newer_runtime_warns_and_fails_strictly(judged: Judged) -> None:
    new = interpreter("onnxruntime-1.31.1")
    found = judged(of_fleet("1.17.3", "1.20.1"), "--python", new)
    assert names(found, "warn") == ["runtime"]
    assert "newer than 1.20.1" in found["runtime"]["why"]
    found = judged(of_fleet("1.17.3", "1.20.1"), "--strict", "--python", new, code=1)
    assert names(found, "fail") == ["runtime"]


def test_another_architecture_does_not_fit(judged: Judged) -> None:
    found = judged(of_fleet("1.17.3", platform="linux/arm/v7"), "--python", interpreter("onnxruntime-1.17.3"), code=1)
    assert names(found, "fail") == ["platform"]
    assert found["platform"]["limit"] == "linux/arm/v7"


def test_a_provider_that_is_not_there_fails_where_it_is_required_and_else_warns(judged: Judged) -> None:
    python = interpreter("onnxruntime-1.31.1")
    made = of_fleet("1.31.1", providers=providers(CUDA))
    found = judged(made, "--python", python)
    assert names(found, "warn") == [f"provider {CUDA}"]
    assert f"its nodes fall to {CPU}" in found[f"provider {CUDA}"]["why"]
    found = judged(asking(made, CUDA, CPU), "--python", python, code=1)
    assert names(found, "fail") == [f"provider {CUDA}"]


def test_openvino_runs_a_node_by_python_and_by_the_c_api_and_a_missing_gpu_is_told(judged: Judged) -> None:
    made = of_fleet("1.24.1", package="onnxruntime-openvino", providers=providers(OPENVINO, **{OPENVINO: {"device_type": "CPU"}}))
    python = interpreter("onnxruntime-openvino-1.24.1")
    found = judged(made, "--strict", "--python", python)
    assert found[f"provider {OPENVINO}"]["measured"] == "runs a node"
    found = judged(made, "--strict", "--library", library("onnxruntime-openvino-1.24.1", "1.24.1"))
    assert found[f"provider {OPENVINO}"]["measured"] == "runs a node"
    assert "package" not in found
    gpu = of_fleet("1.24.1", package="onnxruntime-openvino", providers=providers(OPENVINO, **{OPENVINO: {"device_type": "GPU"}}))
    for words in (("--python", python), ("--library", library("onnxruntime-openvino-1.24.1", "1.24.1"))):
        found = judged(gpu, *words, code=1)
        assert names(found, "fail") == [f"provider {OPENVINO}"]
        assert "GPU" in found[f"provider {OPENVINO}"]["why"]


def test_qnn_runs_a_node_on_its_emulator_and_its_engine_is_for_one_snapdragon(judged: Judged) -> None:
    options = {QNN: {"backend_type": "htp", "htp_performance_mode": "burst"}}
    about = {"soc": "SM8650", "htp_arch": "75", "onnxruntime-qnn": "2.7.0"}
    made = asking(of_fleet("1.31.1", providers=providers(QNN, **options)), QNN, engines={"model_ctx.onnx": about})
    found = judged(made, "--python", interpreter("qnn"))
    assert found[f"provider {QNN}"]["measured"] == "runs a node"
    assert found["engine model_ctx.onnx"]["outcome"] == "not-run"
    assert found["engine model_ctx.onnx"]["why"].startswith("soc: neither getprop")
    assert found["engine model_ctx.onnx"]["limit"] == "onnxruntime-qnn 2.7.0, soc SM8650"
    assert names(judged(made, "--strict", "--python", interpreter("qnn"), code=1), "fail") == ["engine model_ctx.onnx"]
    newer = asking(made, QNN, engines={"model_ctx.onnx": about | {"onnxruntime-qnn": "3.0.0"}})
    found = judged(newer, "--python", interpreter("qnn"), code=1)
    assert "onnxruntime-qnn is 2.7.0, not 3.0.0" in found["engine model_ctx.onnx"]["why"]


def test_an_engine_of_another_tensorrt_rtx_does_not_fit(judged: Judged) -> None:
    """The library of the very release that builds engines here is asked; no GPU is here."""
    name, python = "engine model-sm86.engine or model-sm120.engine", interpreter("tensorrt-rtx")
    for version, outcome, said in (
        ("1.7.1.116", "not-run", "compute_capability: no nvidia-smi"),
        ("1.8.0.1", "fail", "tensorrt_rtx is 1.7.1.116, not 1.8.0.1"),
    ):
        about = {f"model-sm{sm}.engine": {"compute_capability": f"SM{sm}", "tensorrt_rtx": version} for sm in (86, 120)}
        made = asking(of_fleet("1.31.1", providers=providers(RTX)), engines=about)
        found = judged(made, "--python", python, code=1)  # that runtime has no onnxruntime
        assert found["runtime"]["outcome"] == "fail"
        assert found[name]["outcome"] == outcome
        assert said in found[name]["why"]
        assert found[name]["measured"] == "tensorrt_rtx 1.7.1.116"


def library(name: str, version: str) -> str:
    """The library in the wheel of a pinned runtime."""
    root = Path(interpreter(name)).parents[1]
    return str(next(root.glob(f"lib/python*/site-packages/onnxruntime/capi/libonnxruntime.so.{version}")))


def test_the_c_api_says_what_python_says(judged: Judged) -> None:
    made = of_fleet("1.31.1")
    by_library = judged(made, "--strict", "--library", library("onnxruntime-1.31.1", "1.31.1"))
    by_python = judged(made, "--strict", "--python", interpreter("onnxruntime-1.31.1"))
    same = {"platform", "api", "opset", f"provider {CPU}"}
    assert {key: by_library[key] for key in same} == {key: by_python[key] for key in same}
    assert names(judged(of_fleet("1.40.0"), "--library", library("onnxruntime-1.31.1", "1.31.1"), code=1), "fail") == [
        "runtime",
        "api",
    ]


@pytest.fixture(scope="module")
def gpu_without_cuda(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels of onnxruntime-gpu and numpy alone, as on a device whose CUDA is missing."""
    place = tmp_path_factory.mktemp("gpu")
    lock = runtime.find("onnxruntime-gpu-1.31.1", [ROOT / "runtimes"]).lock
    wanted = [text for text in entries(lock, "onnxruntime-gpu") if not text.startswith("nvidia-")]
    (place / "requirements.txt").write_text("\n".join(wanted))
    call = ["pip", "install", "--python", sys.executable, "--target", place / "site", "--no-deps", "--require-hashes", "-r"]
    uv([*map(str, call), str(place / "requirements.txt")], doing="onnxruntime-gpu")
    return place / "site"


@pytest.mark.slow
def test_cuda_that_is_listed_and_does_not_load_fails_with_the_library_that_lacks(judged: Judged, gpu_without_cuda: Path) -> None:
    made = of_fleet("1.31.1", package="onnxruntime-gpu", providers=providers(CUDA))
    for words in ((), ("--library", str(next(gpu_without_cuda.glob("onnxruntime/capi/libonnxruntime.so.*"))))):
        found = judged(made, *words, code=1, environment={"PYTHONPATH": str(gpu_without_cuda)})
        assert names(found, "fail") == [f"provider {CUDA}"]
        assert found[f"provider {CUDA}"]["measured"] == "listed, does not work"
        assert "cannot open shared object file" in found[f"provider {CUDA}"]["why"]
        assert found[f"provider {CPU}"]["outcome"] == "pass"


# --- runtimes that are broken -------------------------------------------------------------------------------------------


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_an_interpreter_that_hangs_is_told_and_ended_with_all_that_it_started(judged: Judged, tmp_path: Path) -> None:
    python = script(tmp_path / "python", f"sleep 600 & echo $! > {tmp_path}/pid; wait")
    found = judged(of_fleet("1.17.3"), "--python", python, "--timeout", "0.5", code=1)
    assert names(found, "fail") == ["runtime"]
    assert found["runtime"]["why"] == f"{python} gave no answer in 0.5 s"
    process = (tmp_path / "pid").read_text().strip()
    state = Path(f"/proc/{process}/stat")
    if not Path("/proc/self").exists():
        pytest.skip("processes are looked for in /proc")
    deadline = time.monotonic() + 10
    while state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.05)


BROKEN = {
    "import os; os.abort()": "crashed (SIGABRT)",
    "raise SystemExit(3)": "ended with code 3 and no answer",
    "raise ImportError('libstdc++.so.6: version GLIBCXX_3.4.32 not found')": "GLIBCXX_3.4.32",
    "import os; print('hello', flush=True); os._exit(0)": "ended with code 0 and no answer",
    "__version__ = '1.17.3'": "no onnxruntime",
}


@pytest.mark.parametrize("code", BROKEN, ids=["crashes", "exits", "does-not-load", "leaves", "is-empty"])
def test_an_onnxruntime_that_breaks_is_a_result(judged: Judged, tmp_path: Path, code: str) -> None:
    (tmp_path / "site" / "onnxruntime").mkdir(parents=True)
    (tmp_path / "site" / "onnxruntime" / "__init__.py").write_text(code)
    found = judged(of_fleet("1.17.3"), "--python", sys.executable, code=1, environment={"PYTHONPATH": str(tmp_path / "site")})
    assert names(found, "fail") == ["runtime"]
    assert BROKEN[code] in found["runtime"]["why"]
    assert outcomes(found, "runtime", "platform", "disk") == {"not-run"}


def test_interpreters_that_are_none_and_one_without_onnxruntime_are_told(judged: Judged, tmp_path: Path) -> None:
    bare = script(tmp_path / "bare", f'exec {sys.executable} -I -S "$@"')
    (tmp_path / "text").write_text("no program")
    (tmp_path / "text").chmod(0o755)
    liar = script(tmp_path / "liar", "echo '[]'")
    said = {bare: "No module named 'onnxruntime'", liar: "no answer"}
    for python in (bare, liar, str(tmp_path / "gone"), str(tmp_path / "text")):
        found = judged(of_fleet("1.17.3"), "--python", python, code=1)
        assert names(found, "fail") == ["runtime"]
        assert said.get(python, "does not start") in found["runtime"]["why"]


def test_libraries_that_are_none_are_told(judged: Judged, tmp_path: Path) -> None:
    (tmp_path / "libtext.so").write_text("no library")
    for name, said in (
        ("libc.so.6", "OrtGetApiBase"),
        (str(tmp_path / "libtext.so"), "libtext.so"),
        ("libgone.so", "libgone.so"),
    ):
        found = judged(of_fleet("1.17.3"), "--library", name, code=1)
        assert names(found, "fail") == ["runtime"]
        assert said in found["runtime"]["why"]


# --- the disk, the bundle, the server -----------------------------------------------------------------------------------


def test_a_disk_without_room_for_the_bundle_twice_does_not_fit(judged: Judged, small_disk: SmallDisk) -> None:
    python, disk = interpreter("onnxruntime-1.17.3"), small_disk("4m")
    for size, code in ((1_000_000, 0), (1_600_000, 1)):
        found = judged(asking(of_fleet("1.17.3"), size=size), "--python", python, "--folder", disk / "not" / "yet", code=code)
        assert found["disk"]["outcome"] == ("fail" if code else "pass")
        assert f"in {disk}" in found["disk"]["why"]


def test_a_device_describes_itself_and_a_server_judges_as_the_device_does(judged: Judged, tmp_path: Path) -> None:
    python = interpreter("onnxruntime-1.17.3")
    described = run(PREFLIGHT, "--describe", "--python", python)
    assert described.returncode == 0
    facts = json.loads(described.stdout)
    assert module(PREFLIGHT).facts_of(facts) == facts
    (tmp_path / "device.json").write_bytes(described.stdout)
    for made, code in ((of_fleet("1.17.3"), 0), (of_fleet("1.20.1", platform="linux/arm64"), 1)):
        asked: list[list[str | Path]] = [["--python", python], ["--device", tmp_path / "device.json"]]
        here, there = (judged(made, *words, code=code) for words in asked)
        for found in (here, there):
            del found["disk"]  # others write to it meanwhile
        assert here == there


@pytest.mark.slow
def test_a_build_holds_the_rules_and_the_program_that_reads_them(workspace: Workspace) -> None:
    (built,) = workspace.build("x86-cpu", "digits-mlp")
    assert built.folder
    rules = json.loads((built.folder / "manifest.json").read_text())["preflight"]
    rest = {"manifest.json", "measurements.json"}
    assert rules["size"] == sum(
        path.stat().st_size for path in built.folder.rglob("*") if path.is_file() and path.name not in rest
    )
    program = built.folder / "device" / "preflight.py"
    assert os.access(program, os.X_OK)
    python = interpreter("onnxruntime-1.17.3")
    done = subprocess.run([program, "--python", python], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "fits"), done.stderr
    flat = workspace.root / "release"
    flat.mkdir()
    for name in ("device/preflight.py", "manifest.json"):
        (flat / Path(name).name).write_bytes((built.folder / name).read_bytes())
    assert outcomes(checks(run(flat / "preflight.py", "--json", "--strict", "--python", python))) == {"pass"}
    assert {path.name for path in (built.folder / "device").iterdir()} == {"preflight.py", "selftest.py"}


def old_python() -> str:
    """The oldest Python that the programs promise to run in."""
    return pythons.find("3.8") or pytest.skip("there is no Python 3.8 here")


def test_the_oldest_python_describes_itself_and_judges(judged: Judged, tmp_path: Path) -> None:
    python, runtime = old_python(), interpreter("onnxruntime-1.17.3")
    (tmp_path / "manifest.json").write_bytes(of_fleet("1.17.3").to_bytes())
    found = checks(run(PREFLIGHT, "--manifest", tmp_path / "manifest.json", "--json", "--python", runtime, python=python))
    assert found == judged(of_fleet("1.17.3"), "--python", runtime) | {"disk": found["disk"]}
    done = run(SELFTEST, tmp_path, python=python)
    assert done.returncode == 2
    assert b"session.json" in done.stdout

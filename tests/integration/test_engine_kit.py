"""The engine kit: its scripts are run as a device runs them, as far as that goes without standard TensorRT.

Standard TensorRT cannot be had here. Its Python module is played by TensorRT-RTX's, which has the same API and really builds;
trtexec by ``tests/data/kit/trtexec.py``. What only a Jetson can show stays not run.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

import models
from conftest import ROOT, RunStage
from ortolan import runtime
from ortolan.cache import user_cache
from ortolan.stages import engine_device
from ortolan.stages.lib.kit import build_engine
from quantise_models import IMAGE, QUANTIZE, calibration, convolutions, images, npz

TAG = "convnet-5f3c9a1b2c4d-opset17-ort1.20.1"
PARAMS: dict[str, Any] = {
    "tag": TAG, "model_file": "model.onnx", "tensorrt": "10.3", "profiles": {"batch": {"min": 1, "opt": 2, "max": 8}},
    "workspace": 2**28, "tf32": True, "dla_core": None, "gpu_fallback": True, "timing_cache": True,
    "options": {"trt_builder_optimization_level": 3}, "library": "tensorrt", "compute_capability": None,
}  # fmt: skip
ORIN = build_engine.Device("Orin (nvgpu)", "8.7", 16, "12.6")
STAND_IN = ROOT / "tests" / "data" / "kit" / "trtexec.py"


@dataclass(frozen=True)
class Kit:
    """A kit in a folder, with its model, as a device gets it."""

    folder: Path
    facts: dict[str, Any]

    def run(self, command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a script of the kit in the kit's folder."""
        env = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), **environment}
        return subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True, check=False)

    def engines(self) -> list[str]:
        """The names of the engines, sorted."""
        return sorted(path.name for path in (self.folder / "engines").glob("*.engine"))


def kit(run_stage: RunStage, folder: Path, model: ModelProto | Path | None = None, **params: Any) -> Kit:
    source = model if isinstance(model, Path) else models.write(model or models.convnet(), folder / "source" / "m.onnx")
    done = run_stage("engine_kit", "tools", {"model": source}, PARAMS | params)
    assert done.facts, done.refused or done.log
    place = folder / "kit"
    shutil.copytree(done.out, place, dirs_exist_ok=True)
    shutil.copy(source, place / "model.onnx")
    return Kit(place, done.facts)


def refused(run_stage: RunStage, folder: Path, model: ModelProto | None = None, **params: Any) -> dict[str, str]:
    source = models.write(model or models.convnet(), folder / "m.onnx")
    done = run_stage("engine_kit", "tools", {"model": source}, PARAMS | params)
    assert done.refused, done.facts or done.log
    return done.refused


def rtx() -> Path:
    return runtime.ensure(runtime.find("tensorrt-rtx", [ROOT / "runtimes"]), user_cache().runtimes).interpreter


# --- the files ---------------------------------------------------------------------------------------------------


def test_a_kit_says_what_to_build_and_how_onnx_runtime_caches_it(run_stage: RunStage, tmp_path: Path) -> None:
    made = kit(run_stage, tmp_path)
    told = json.loads((made.folder / "engine.json").read_text())
    assert told["model"]["sha256"] == build_engine.sha256(made.folder / "model.onnx")
    assert told["settings"]["profiles"]["image"]["max"] == [8, 1, 8, 8]
    options = told["onnxruntime"]["options"]
    assert options["trt_profile_max_shapes"] == "image:8x1x8x8"
    assert options["trt_engine_cache_prefix"] == "{engine}"
    assert (options["trt_int8_enable"], options["trt_fp16_enable"]) == ("False", "False")
    assert made.facts["engine"]["outcome"] == "not-run"
    assert made.facts["typing"] == "strong"


def test_the_options_are_options_of_the_provider(run_stage: RunStage, tmp_path: Path) -> None:
    known = (ROOT / "src" / "ortolan" / "recipe" / "providers" / "tensorrt.toml").read_text()
    found = kit(run_stage, tmp_path).facts["onnxruntime"]["options"]
    found |= kit(run_stage, tmp_path, profiles={}, model=models.convnet(batch=1), dla_core=0).facts["onnxruntime"]["options"]
    assert len(found) > 14
    assert [name for name in found if f"\n{name} " not in known] == []


def test_equal_inputs_give_equal_kits(run_stage: RunStage, tmp_path: Path) -> None:
    first, second = (kit(run_stage, tmp_path / name).folder for name in ("a", "b"))
    for path in sorted(first.iterdir()):
        assert path.read_bytes() == (second / path.name).read_bytes()


def test_the_scripts_are_sound(run_stage: RunStage, tmp_path: Path) -> None:
    made = kit(run_stage, tmp_path)
    assert made.run(["bash", "-n", "build_engine.sh"]).stderr == ""
    assert "@" not in (made.folder / "build_engine.sh").read_text().replace("[@]", "")
    assert made.run([sys.executable, "-m", "py_compile", "build_engine.py"]).returncode == 0


# --- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("params", "what"), [
    ({"profiles": {}}, "no optimisation profile for axis batch of input image"),
    ({"profiles": {"batch": {"min": 2, "opt": 1, "max": 8}}}, "the profile of axis batch is impossible"),
    ({"dla_core": 0}, "the DLA takes no dynamic shapes"),
    ({"dla_core": 2}, "there is no DLA core 2"),
    ({"tensorrt": "8.6"}, "the kit does not suit the fleet's TensorRT"),
    ({"tensorrt": "ten"}, "TensorRT's version 'ten' is none"),
    ({"tag": "a b"}, "tag 'a b' cannot name a file everywhere"),
    ({"model_file": "../model.onnx"}, "model_file '../model.onnx' cannot name a file everywhere"),
])  # fmt: skip
def test_what_no_kit_can_do_is_refused(run_stage: RunStage, tmp_path: Path, params: dict[str, Any], what: str) -> None:
    assert refused(run_stage, tmp_path, **params)["what"] == what


def test_a_float32_model_has_no_use_for_the_dla_of_tensorrt_11(run_stage: RunStage, tmp_path: Path) -> None:
    said = refused(run_stage, tmp_path, models.convnet(batch=1), dla_core=0, tensorrt="11.4", profiles={})
    assert "nothing would run there" in said["why"]


def test_an_input_whose_name_no_profile_can_hold(run_stage: RunStage, tmp_path: Path) -> None:
    model = models.graph("(float[N,3] x) => (float[N,3] y) { y = Relu(x) }")
    model.graph.input[0].name = model.graph.node[0].input[0] = "a,b"
    said = refused(run_stage, tmp_path, model, profiles={"N": {"min": 1, "opt": 1, "max": 2}})
    assert said["what"] == "the input 'a,b' cannot have a profile"


def test_quantised_models(run_stage: RunStage, tmp_path: Path) -> None:
    model = convolutions(tmp_path / "m.onnx", batch=1)
    spec = npz(tmp_path / "data", image=images(8))
    ranges = run_stage("calibrate", "tools", {"model": model, "data": tmp_path / "data"}, calibration(spec, IMAGE)).out
    inputs = {"model": model, "ranges": ranges / "ranges.json"}
    signed = QUANTIZE | {"activations": "int8", "symmetric_activations": True}
    good, bad = (run_stage("quantise", "tools", inputs, params).out / "model.onnx" for params in (signed, QUANTIZE))
    made = kit(run_stage, tmp_path, good, profiles={})
    assert made.facts["quantised"]
    assert made.facts["doubtful"] == []
    assert made.facts["onnxruntime"]["options"]["trt_int8_enable"] == "True"
    for wrong, params in ((bad, {}), (good, {"dla_core": 0})):
        said = run_stage("engine_kit", "tools", {"model": wrong}, PARAMS | {"profiles": {}} | params).refused
        assert said
        assert "Q/DQ" in said["what"] or "uint8" in said["why"]


# --- the scripts on a machine without TensorRT ----------------------------------------------------------------------


def test_without_tensorrt_the_scripts_say_so(run_stage: RunStage, tmp_path: Path) -> None:
    made = kit(run_stage, tmp_path)
    for command, why in (
        (["bash", "build_engine.sh"], "trtexec is not here"),
        ([sys.executable, "-I", "build_engine.py"], "TensorRT's Python module is not here"),
    ):
        done = made.run(command)
        assert done.returncode == 1
        assert why in done.stderr
        assert done.stdout == ""
    assert not (made.folder / "engines").exists()


@pytest.mark.parametrize("command", [["bash", "build_engine.sh"], [sys.executable, "-I", "build_engine.py"]])
def test_another_model_is_refused_before_anything_else(run_stage: RunStage, tmp_path: Path, command: list[str]) -> None:
    made = kit(run_stage, tmp_path)
    models.write(models.convnet(seed=1), made.folder / "model.onnx")
    done = made.run(command)
    assert done.returncode == 1
    assert "model.onnx is another model" in done.stderr
    (made.folder / "model.onnx").unlink()
    assert "is not there" in made.run(command).stderr


# --- the Python script, with TensorRT-RTX's module in the place of TensorRT's ------------------------------------------

DRIVER = """
import json, sys
from pathlib import Path
sys.path[:0] = [sys.argv[1], "."]
from stages.lib import trt_load
rtx = trt_load.load()
import build_engine
class TensorRT:
    __version__ = sys.argv[2]
    def __getattr__(self, name):
        return getattr(rtx, name)
try:
    kit, device = build_engine.read_kit(Path(".")), build_engine.Device(*json.loads(sys.argv[3]))
    print(build_engine.build(TensorRT(), kit, device, Path("engines")))
except build_engine.BuildError as error:
    sys.exit(f"refused: {error}")
"""


def twin(made: Kit, version: str = "10.3.0", device: build_engine.Device = ORIN) -> subprocess.CompletedProcess[str]:
    told = json.dumps([device.gpu, device.compute_capability, device.multiprocessors, device.cuda])
    return made.run([str(rtx()), "-c", DRIVER, str(ROOT / "src" / "ortolan"), version, told])


def test_the_twin_builds_once_and_writes_down_what_it_did(run_stage: RunStage, tmp_path: Path) -> None:
    made = kit(run_stage, tmp_path)
    done = twin(made)
    assert done.returncode == 0, done.stderr
    engine = made.folder / done.stdout.strip()
    stem = f"{TAG}-{made.facts['model']['sha256'][:12]}-{made.facts['settings_digest']}-trt10.3.0-orin-nvgpu-sm87-16sms"
    assert engine.name == f"{stem}.engine"
    record = json.loads(engine.with_suffix(".json").read_text())
    assert record["engine"]["sha256"] == build_engine.sha256(engine)
    assert record["device"]["compute_capability"] == "8.7"
    assert record["onnxruntime"]["trt_engine_cache_prefix"] == stem
    assert "{" not in "".join(record["onnxruntime"].values())
    assert sorted(path.suffix for path in engine.parent.iterdir()) == [".cache", ".engine", ".json"]
    before = engine.stat().st_mtime_ns
    assert twin(made).stdout == done.stdout
    assert engine.stat().st_mtime_ns == before


def test_a_damaged_engine_is_built_again(run_stage: RunStage, tmp_path: Path) -> None:
    made = kit(run_stage, tmp_path)
    engine = made.folder / twin(made).stdout.strip()
    whole = engine.read_bytes()
    engine.write_bytes(whole[:-1])
    assert twin(made).returncode == 0
    assert len(engine.read_bytes()) == len(whole)


def test_a_change_of_anything_gives_another_name(run_stage: RunStage, tmp_path: Path) -> None:
    made = kit(run_stage, tmp_path)
    runs = [twin(made), twin(made, "10.7.0"), twin(made, device=build_engine.Device("Orin (nvgpu)", "8.7", 8, "12.6"))]
    runs.append(twin(kit(run_stage, tmp_path, workspace=2**27)))
    runs.append(twin(kit(run_stage, tmp_path, profiles={"batch": {"min": 1, "opt": 1, "max": 8}})))
    runs.append(twin(kit(run_stage, tmp_path, models.convnet(seed=2))))
    assert [run.returncode for run in runs] == [0] * 6
    assert len(made.engines()) == 6


@pytest.mark.parametrize(("version", "why"), [("8.6.1", "this kit knows 10 and 11"), ("12.0.0", "this kit knows 10 and 11")])
def test_a_tensorrt_that_the_kit_does_not_know(run_stage: RunStage, tmp_path: Path, version: str, why: str) -> None:
    done = twin(kit(run_stage, tmp_path), version)
    assert done.returncode == 1
    assert why in done.stderr


def test_a_model_that_tensorrt_does_not_take(run_stage: RunStage, tmp_path: Path) -> None:
    made = kit(run_stage, tmp_path, models.graph("(float[2] x) => (float[2] y) { y = other.Op(x) }", other=1), profiles={})
    done = twin(made)
    assert "TensorRT's parser refuses the model" in done.stderr
    assert made.engines() == []


def test_a_dla_that_is_not_there(run_stage: RunStage, tmp_path: Path) -> None:
    done = twin(kit(run_stage, tmp_path, models.convnet(batch=1), profiles={}, dla_core=1))
    assert "DLA core 1 was asked for, and this device has 0" in done.stderr


# --- the shell script, with a stand-in for trtexec ------------------------------------------------------------------


@pytest.fixture
def trtexec(tmp_path: Path) -> dict[str, str]:
    """A machine whose trtexec is ``tests/data/kit/trtexec.py``."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "trtexec").write_text(f'#!/bin/sh\nexec {rtx()} {STAND_IN} "$@"\n')
    (folder / "trtexec").chmod(0o755)
    return {
        "PATH": f"{folder}:/usr/bin:/bin", "STAGES": str(ROOT / "src" / "ortolan"), "TRT_CALLS": str(tmp_path / "calls"),
        "TRT_VERSION": "10.3.0", "GPU": "Orin (nvgpu),8.7,16",
    }  # fmt: skip


def shell(made: Kit, machine: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return made.run(["bash", "build_engine.sh", *arguments], **machine)


def flags(machine: dict[str, str]) -> str:
    return Path(machine["TRT_CALLS"]).read_text().splitlines()[-1]


def test_the_shell_script_finds_what_the_twin_built(run_stage: RunStage, tmp_path: Path, trtexec: dict[str, str]) -> None:
    """Both work out the same name, and one's record is good enough for the other."""
    made = kit(run_stage, tmp_path)
    built = twin(made).stdout
    assert shell(made, trtexec).stdout == built
    assert "--saveEngine" not in Path(trtexec["TRT_CALLS"]).read_text()
    (made.folder / built.strip()).write_bytes(b"damaged")
    done = shell(made, trtexec)
    assert done.stdout == built, done.stderr
    assert "--saveEngine" in Path(trtexec["TRT_CALLS"]).read_text()
    assert twin(made).stdout == built
    record = json.loads((made.folder / built.strip()).with_suffix(".json").read_text())
    assert record["built_by"] == "build_engine.sh"
    assert record["onnxruntime"]["trt_engine_cache_prefix"] == Path(built.strip()).stem
    assert "{" not in "".join(record["onnxruntime"].values())
    assert not list((made.folder / "engines").glob(".*"))


def test_the_stage_of_a_device_without_tensorrts_module_uses_trtexec(
    run_stage: RunStage, tmp_path: Path, trtexec: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same stage as over ssh, here with the stand-in on its PATH; timings of an earlier build go in and come back."""
    made, out = kit(run_stage, tmp_path), tmp_path / "out"
    (tmp_path / "work").mkdir()
    out.mkdir()
    timings = tmp_path / "timings"
    timings.write_bytes(b"of an earlier build")
    monkeypatch.chdir(tmp_path / "work")
    for name, value in trtexec.items():
        monkeypatch.setenv(name, value)
    names = {"model": "model.onnx", "kit": "engine.json", "script": "build_engine.sh"}
    inputs = {name: made.folder / file for name, file in names.items()} | {"timings": timings}
    facts = engine_device.run(inputs, {"file": "model-orin.engine"}, out)
    assert (facts["built_by"], facts["engine"]["file"]) == ("build_engine.sh", "model-orin.engine")
    assert facts["engine"]["sha256"] == build_engine.sha256(out / "model.engine")
    assert facts["device_text"] == "orin-nvgpu-sm87-16sms"
    assert (out / "timing.cache").read_bytes() == b"of an earlier build"
    assert json.loads((out / "engine.json").read_text()) == facts


def test_the_stage_says_what_trtexec_said(
    run_stage: RunStage, tmp_path: Path, trtexec: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = kit(run_stage, tmp_path)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for name, value in (trtexec | {"TRT_VERSION": "8.6.1"}).items():
        monkeypatch.setenv(name, value)
    names = {"model": "model.onnx", "kit": "engine.json", "script": "build_engine.sh"}
    with pytest.raises(
        build_engine.BuildError, match=r"TensorRT 8.6.1 is here; this kit knows 10 and 11; TensorRT's Python module"
    ):
        engine_device.run({name: made.folder / file for name, file in names.items()}, {"file": "model-orin.engine"}, tmp_path)


def test_trtexec_is_told_exactly(run_stage: RunStage, tmp_path: Path, trtexec: dict[str, str]) -> None:
    made = kit(run_stage, tmp_path, tf32=False)
    done = shell(made, trtexec, "other folder")
    assert done.returncode == 0, done.stderr
    told = flags(trtexec)
    shapes = "--minShapes=image:1x1x8x8 --optShapes=image:2x1x8x8 --maxShapes=image:8x1x8x8"
    assert f"--skipInference {shapes} --memPoolSize=workspace:268435456B --noTF32 --stronglyTyped" in told
    assert "--timingCacheFile=other folder/timing-trt10.3.0-orin-nvgpu-sm87-16sms.cache" in told
    assert len(list((made.folder / "other folder").glob("*.engine"))) == 1


def test_tensorrt_11_is_strongly_typed_without_a_flag(run_stage: RunStage, tmp_path: Path, trtexec: dict[str, str]) -> None:
    made = kit(run_stage, tmp_path)
    done = shell(made, trtexec | {"TRT_VERSION": "11.4.1"})
    assert done.returncode == 0, done.stderr
    assert "--stronglyTyped" not in flags(trtexec)
    assert "-trt11.4.1-" in made.engines()[0]


def test_the_dla(run_stage: RunStage, tmp_path: Path, trtexec: dict[str, str]) -> None:
    made = kit(run_stage, tmp_path, models.convnet(batch=1), profiles={}, dla_core=1, workspace=None)
    assert made.facts["typing"].startswith("weak")
    assert shell(made, trtexec).returncode == 0
    assert "--useDLACore=1 --allowGPUFallback --fp16" in flags(trtexec)
    assert "--stronglyTyped" not in flags(trtexec)
    assert "--memPoolSize" not in flags(trtexec)
    done = shell(made, trtexec | {"TRT_VERSION": "11.4.1"})
    assert "nothing would run there" in done.stderr
    assert done.returncode == 1
    weights = {"w": np.ones((3, 4), np.float16)}
    half = models.graph("(float16[2,3] x) => (float16[2,4] y) { y = MatMul(x, w) }", weights=weights)
    made = kit(run_stage, tmp_path, half, profiles={}, dla_core=0, gpu_fallback=False)
    assert shell(made, trtexec | {"TRT_VERSION": "11.4.1"}).returncode == 0
    assert flags(trtexec).rstrip().split(" ")[-2] == "--useDLACore=0"


def test_other_machines_are_refused(run_stage: RunStage, tmp_path: Path, trtexec: dict[str, str]) -> None:
    made = kit(run_stage, tmp_path)
    assert "this kit knows 10 and 11" in shell(made, trtexec | {"TRT_VERSION": "8.6.1"}).stderr
    silent = tmp_path / "silent"
    silent.mkdir()
    (silent / "trtexec").symlink_to("/bin/true")
    assert "tells no TensorRT version" in shell(made, trtexec | {"PATH": f"{silent}:/usr/bin:/bin"}).stderr
    assert made.engines() == []


def test_a_failed_build_leaves_nothing_that_looks_like_an_engine(
    run_stage: RunStage, tmp_path: Path, trtexec: dict[str, str]
) -> None:
    made = kit(run_stage, tmp_path, models.graph("(float[2] x) => (float[2] y) { y = other.Op(x) }", other=1), profiles={})
    done = shell(made, trtexec)
    assert done.returncode == 1
    assert "trtexec failed" in done.stderr
    assert [path.suffix for path in (made.folder / "engines").iterdir()] == [".log"]


def test_the_twin_stands_alone(tmp_path: Path) -> None:
    """Standard library only, and the syntax of Python 3.8, which is the oldest on a Jetson with JetPack 5."""
    source = Path(build_engine.__file__).read_text()
    ast.parse(source, feature_version=(3, 8))
    alone = tmp_path / "alone.py"
    alone.write_text(source)
    done = subprocess.run([sys.executable, "-I", "-S", alone, "--help"], capture_output=True, text=True, check=True)
    assert "--options" in done.stdout


# --- what NVIDIA documents ------------------------------------------------------------------------------------------

NAMES = json.loads((ROOT / "tests" / "data" / "kit" / "tensorrt-names.json").read_text())
TALKS = ("make_logger", "parse", "configure", "_use_dla", "_add_profile", "serialise", "_built", "_timings", "_make")
"""The functions of build_engine.py that talk to TensorRT."""
OWN = {
    "append", "data", "desc", "is_file", "items", "join", "lines", "log", "model", "name", "nbytes", "read_bytes", "rsplit",
    "submit", "folder", "__init__", "__version__",
}  # fmt: skip
"""What they ask of Python's own objects, of the kit, and of what every module has."""


@pytest.mark.parametrize("version", ["10.3", "11.1"])
def test_the_shell_script_knows_only_options_that_trtexec_documents(version: str) -> None:
    source = (Path(build_engine.__file__).parent / "build_engine.sh").read_text()
    used = set(re.findall(r"(?<=[\s(])--[A-Za-z0-9]{3,}", "".join(line for line in source.splitlines(True) if "command" in line)))
    assert len(used) >= 12
    removed = {"--fp16"} if version == "11.1" else set()  # the script asks for it where the major version is 10
    assert used - set(NAMES[version]["trtexec"]) == removed
    assert re.search(r'major" = 10 \]; then\s+command\+=\(--fp16\)', source)


@pytest.mark.parametrize("version", ["10.3", "11.1"])
def test_the_twin_asks_only_for_what_tensorrts_python_module_has(version: str) -> None:
    tree = ast.parse(Path(build_engine.__file__).read_text())
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in TALKS]
    assert {function.name for function in functions} == set(TALKS)
    used = {node.attr for function in functions for node in ast.walk(function) if isinstance(node, ast.Attribute)} - OWN
    assert len(used) > 25
    removed = {"FP16"} if version == "11.1" else set()  # asked for where types are not fixed: for the DLA of TensorRT 10
    assert used - set(NAMES[version]["python"]) == removed

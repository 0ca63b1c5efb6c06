"""A device for tests of engines: an interpreter with ONNX Runtime and TensorRT-RTX; what else a Jetson has is played."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT
from device_programs import interpreter
from ortolan.stages.lib.kit import build_engine

STAND_INS = ROOT / "tests" / "data" / "kit" / "device"
VERSION = "1.31.1"


def python(folder: Path, *, tensorrt: bool = False, gpu: bool = False) -> str:
    """An interpreter with the packages of two pinned runtimes; ``tensorrt`` and ``gpu``: with what plays a Jetson's."""
    subprocess.run([interpreter(f"onnxruntime-{VERSION}"), "-m", "venv", "--without-pip", str(folder)], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    lines = [str(next(Path(interpreter(name)).parents[1].glob("lib/python*/site-packages"))) for name in _RUNTIMES]
    if tensorrt:
        shutil.copyfile(STAND_INS / "tensorrt.py", packages / "tensorrt.py")
        shutil.copyfile(build_engine.__file__, packages / "build_engine_of_the_kit.py")
        (packages / "stall.py").write_text(f"PATH = {str(stall(folder))!r}\n")
    if gpu:
        lines.append(f"import ctypes; ctypes.CDLL({str(driver(folder))!r})")  # by its name it is found from then on
    (packages / "device.pth").write_text("\n".join(lines) + "\n")
    return str(folder / "bin" / "python")


_RUNTIMES = (f"onnxruntime-{VERSION}", "tensorrt-rtx")


def stall(folder: Path) -> Path:
    """While this file is there, TensorRT of the device in ``folder`` builds and builds."""
    return folder / "stall"


def builds(stalled: Path) -> bool:
    """Whether it has come so far that it waits for this file to go."""
    return stalled.with_suffix(".met").exists()


def driver(folder: Path) -> Path:
    """A library that answers as CUDA's driver."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler or sys.platform != "linux":
        pytest.skip("no C compiler here")
    library = folder / "libcuda.so.1"
    source = str(STAND_INS / "cuda.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", str(library), source], check=True)
    return library

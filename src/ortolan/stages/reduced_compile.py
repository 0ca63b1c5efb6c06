"""Compiles a model's C program for a target: what runs the samples as a library with a ``main``, what times as a program."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .lib.refused import Refused

INPUTS = ("program", "header")
PARAMS = ("platform", "compiler")
OUTPUTS = ("test_model.so", "bench_model")

PACKAGES = {"gcc": "gcc libc6-dev", "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu libc6-dev-arm64-cross"}
"""What Debian and Ubuntu call the compilers' packages."""
_SHARED = ("model.c", "golden.c")
_HOW = ("-std=c11", "-O2", "-Wall", "-DROUNDS=5")  # five rounds: a process for each of many turns, in place of one for long
_LIBRARIES = ("-ldl", "-lm", "-lpthread")
_LATE = 120.0  # seconds


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """``program`` is the folder of the C snippet, ``header`` ONNX Runtime's ``onnxruntime_c_api.h``.

    Raises ``Refused`` without a compiler, and with its words where it fails.
    """
    compiler = shutil.which(params["compiler"])
    if compiler is None:
        raise Refused(
            f"there is no {params['compiler']} here to compile the C program for {params['platform']}",
            hint=f"on Debian or Ubuntu: apt-get install {PACKAGES.get(params['compiler'], params['compiler'])}",
        )
    made = {"test_model.so": ("-shared", "-fPIC", "test_model.c", *_SHARED), "bench_model": ("bench_model.c", "golden.c")}
    for name, words in made.items():
        flags = [*_HOW, "-isystem", str(inputs["header"].parent.resolve())]
        _compile([compiler, *flags, *words, "-o", str((out / name).resolve()), *_LIBRARIES], inputs["program"])
    return {"compiler": params["compiler"]}


def _compile(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(  # noqa: S603  a compiler that the runtime names
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_LATE, check=False
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()[-1:]
        raise Refused("the C program does not compile", why="; ".join(lines[:3]))

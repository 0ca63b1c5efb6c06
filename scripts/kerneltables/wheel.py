"""Kernels that a wheel of ONNX Runtime has registered: asked of the wheel itself, in an environment made for that."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import stubs
from .table import REGISTERED, Form, Table, merged

SOURCE = Path(__file__).parents[2] / "src" / "ortolan"
_OPEN = 2**31 - 1
_INTERNAL = "com.ms.internal"  # domains of kernels that only ONNX Runtime's own transformations make
_NUMPY_2 = (1, 19)  # the first whose wheels work with numpy 2


def from_package(package: str, version: str, provider: str) -> Table:
    """The table of one provider in ``package==version``, taken from the package index; stubs for CUDA when it needs them."""
    with tempfile.TemporaryDirectory() as folder:
        interpreter = install(Path(folder) / "venv", package, version)
        environment = dict(os.environ)
        capi = next((Path(folder) / "venv").glob("lib/python*/site-packages/onnxruntime/capi"))
        if provider != "CPUExecutionProvider":
            libraries = Path(folder) / "stubs"
            libraries.mkdir()
            stubs.make(capi, libraries)
            environment = stubs.environment(libraries, environment)
        return table(dump(interpreter, environment), package, version, provider)


def install(folder: Path, package: str, version: str) -> Path:
    """Make a virtual environment with one package and what it needs; its interpreter."""
    uv = [sys.executable, "-m", "uv"]
    numpy = "numpy" if tuple(int(part) for part in version.split(".")[:2]) >= _NUMPY_2 else "numpy<2"
    find_links = ["--find-links", os.environ["PIP_FIND_LINKS"]] if "PIP_FIND_LINKS" in os.environ else []
    subprocess.run([*uv, "venv", "-q", "--python", "3.11", str(folder)], check=True)
    interpreter = folder / "bin" / "python"
    wanted = [f"{package}=={version}", numpy, "onnx"]
    subprocess.run([*uv, "pip", "install", "-q", *find_links, "--python", str(interpreter), *wanted], check=True)
    return interpreter


def dump(interpreter: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """What ``dump.py`` prints in an interpreter."""
    command = [str(interpreter), "-B", str(Path(__file__).parent / "dump.py")]
    told = subprocess.run(command, env={**environment, "PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(told.stdout)
    return found


def table(dumped: Mapping[str, Any], package: str, version: str, provider: str) -> Table:
    """The table of one provider out of what ``dump.py`` printed.

    A kernel without an end is for its own version of the operator only: ONNX Runtime takes it for no later definition
    (kernel_registry.cc, VerifyVersion).
    """
    operators: dict[str, list[Form]] = {}
    for owner, domain, op, since, until, types in dumped["kernels"]:
        if owner == provider and not domain.startswith(_INTERNAL):
            form = Form(since, since if until == _OPEN else until, {name: _short(kinds) for name, kinds in types.items()})
            operators.setdefault(f"{domain or 'ai.onnx'}:{op}", []).append(form)
    return Table(
        provider=provider,
        version=version,
        software=f"{package} {version}",
        level=REGISTERED,
        made=f"scripts/kernels.py wheel {package} {version} {provider}",
        sources=[f"measured: get_all_opkernel_def() of the wheel {package} {version}; opsets: its own refusals"],
        operators={"": {name: merged(forms) for name, forms in operators.items()}},
        opsets={domain: limit for domain, limit in dumped["opsets"].items() if limit is not None},
    )


def _short(kinds: list[str]) -> frozenset[str]:
    """``tensor(float)`` is ``float``, ``seq(tensor(float))`` is ``seq(float)``."""
    return frozenset(_bare(kind) for kind in kinds)


def _bare(kind: str) -> str:
    inner = kind.replace("tensor(", "(", 1) if kind.startswith(("seq(", "optional(")) else kind
    if inner.startswith("tensor("):
        return inner[len("tensor(") : -1]
    return inner.replace("((", "(").replace("))", ")") if inner != kind else kind

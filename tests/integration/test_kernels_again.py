"""Tables of kernels made once more from the runtimes that the repository pins: the same bytes as the files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import models
from conftest import ROOT
from ortolan import runtime
from ortolan.cache import user_cache

KERNELS = ROOT / "src" / "ortolan" / "kernels"
WHEEL = """
import os, sys
from pathlib import Path
from kerneltables import table, wheel
dumped = wheel.dump(Path(sys.argv[1]), os.environ)
sys.stdout.write(table.render(wheel.table(dumped, "onnxruntime", sys.argv[2], "CPUExecutionProvider")))
"""
MOBILE = """
import sys
from pathlib import Path
from kerneltables import mobile, table
sys.stdout.write(table.render(getattr(mobile, sys.argv[2])(mobile.tables(Path(sys.argv[1])), "1.31.1", sys.argv[3])))
"""


def made(script: str, name: str, *arguments: str) -> str:
    interpreter = runtime.ensure(runtime.find(name, [ROOT / "runtimes"]), user_cache().runtimes).interpreter
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    command = [sys.executable, "-B", "-c", script, str(interpreter), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("version", models.VERSIONS)
def test_the_cpu_tables_are_what_the_runtimes_register(version: str) -> None:
    assert made(WHEEL, f"onnxruntime-{version}", version) == (KERNELS / f"cpu-{version}.json").read_text()


@pytest.mark.parametrize(("kind", "version"), [("nnapi", "1.17.3"), ("coreml", "1.30.0")])
def test_the_mobile_tables_are_those_of_the_wheel(kind: str, version: str) -> None:
    assert made(MOBILE, "tools", kind, version) == Path(KERNELS / f"{kind}-{version}.json").read_text()

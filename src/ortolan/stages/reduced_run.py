"""Runs a model's C program with a reduced ONNX Runtime: on the golden samples, and on a model that it must refuse."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .lib import c_main

INPUTS = ("program", "model", "golden", "library", "outside?")
PARAMS = ()
OUTPUTS = ()
CPU = True

_LATE = 240.0  # seconds of one run


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:  # noqa: ARG001
    """Facts: ``golden`` and ``outside`` (None where nothing of the kind was given), each what ``_run`` says."""
    return {"golden": _run(inputs, inputs["model"]), "outside": _run(inputs, inputs["outside"]) if "outside" in inputs else None}


def _run(inputs: Mapping[str, Path], model: Path) -> dict[str, Any]:
    """``code`` (negative: the signal that ended it; None: it was still running), ``said`` and ``errors``, without our paths."""
    words = {"--library": inputs["library"], "--model": model, "--golden": inputs["golden"]}
    given = [text for word, path in words.items() for text in (word, str(path.resolve()))]
    program = str(inputs["program"].resolve())
    command = [sys.executable, "-I", str(Path(c_main.__file__).resolve()), program, *given]
    try:
        done = subprocess.run(  # noqa: S603  this very interpreter
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_LATE, check=False
        )
    except subprocess.TimeoutExpired:
        return {"code": None, "said": "", "errors": f"still running after {_LATE:g} s"}
    return {"code": done.returncode, "said": _plain(done.stdout), "errors": _plain(done.stderr)}


def _plain(text: str) -> str:
    """The text without the folders of this run, which are others each time."""
    return text.replace(f"{Path.cwd().resolve()}/", "").strip()

"""Plays TensorRT's Python module, which no index carries: TensorRT-RTX's, which has the same API and really builds engines.

It calls itself 10.3.0. While the file that ``STALL`` names is there, the builder waits, as a real one does for minutes.
"""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from typing import Any

import build_engine_of_the_kit  # type: ignore[import-not-found]  # beside this file, on the device

_RTX = build_engine_of_the_kit.load_library("tensorrt_rtx")
__version__ = "10.3.0"
STALL = Path(importlib.import_module("stall").PATH)


def __getattr__(name: str) -> Any:
    return getattr(_RTX, name)


def Builder(logger: Any) -> Any:  # noqa: N802  TensorRT's name
    """TensorRT's, as soon as nothing holds it up."""
    while STALL.exists():
        STALL.with_suffix(".met").touch()
        time.sleep(0.05)
    return _RTX.Builder(logger)

"""Times a reduced ONNX Runtime beside the stock library on the same ``.ort`` file: processes that take turns, in one run."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from .lib.refused import Refused

INPUTS = ("program", "model", "golden", "library")
PARAMS = ("max_session", "max_latency", "slack_us")
OUTPUTS = ()
CPU = True

_SAID = re.compile(r"session ([\d.]+) ms.*?bare Run ([\d.]+) us", re.DOTALL)
_PAIRS, _ENOUGH = 5, 4.0  # pairs at least, and seconds after which they are enough
_MOST, _LIMIT = 15, 60.0  # pairs at most, and seconds after which any number of them must do
_LATE = 120.0  # seconds of one process


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:  # noqa: ARG001
    """``max_session`` and ``max_latency`` are ratios to the stock library, by which a library is found too slow.

    ``slack_us``: so many microseconds more are none in a run, whose ratio is that of two overheads in models so small.

    Facts: ``stock`` (its version), ``session`` and ``latency`` (whether each is within its limit) and under ``noise`` the
    medians in ms and µs. A busy machine makes either slow at times: what is beyond a limit counts only where three quarters of
    the pairs say so, and the best of all processes of each library do.
    """
    import onnxruntime

    stock = _stock(Path(onnxruntime.__file__).parent / "capi", onnxruntime.__version__)
    inputs["program"].chmod(0o755)
    reduced, other = _pairs(inputs, stock)
    within: dict[str, bool] = {}
    noise: dict[str, float] = {"pairs": len(reduced)}
    for place, name in enumerate(("session", "latency")):
        ratios = sorted(ours[place] / theirs[place] for ours, theirs in zip(reduced, other, strict=True))
        best = [min(one[place] for one in several) for several in (reduced, other)]
        within[name] = min(ratios[len(ratios) // 4], best[0] / best[1]) <= params[f"max_{name}"]
        within[name] |= name == "latency" and best[0] - best[1] <= params["slack_us"]
        noise |= {name: median(ratios), f"{name}_reduced": median(one[place] for one in reduced)}
        noise |= {f"{name}_stock": median(one[place] for one in other)}
    return {"stock": onnxruntime.__version__, **within, "noise": noise}


def _stock(folder: Path, version: str) -> Path:
    found = sorted(folder.glob("libonnxruntime.so*"))
    if not found:
        raise Refused(f"the wheel of onnxruntime {version} holds no libonnxruntime.so", hint="wheels from 1.19 on hold one")
    return found[0]


def _pairs(inputs: Mapping[str, Path], stock: Path) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Milliseconds of a session's creation and microseconds of a run, of each library; they take turns at being first."""
    libraries = {"reduced": inputs["library"], "stock": stock}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in libraries}
    order, began = list(libraries), time.monotonic()
    _time(inputs, stock)
    while not _done(len(found["stock"]), time.monotonic() - began):
        order.reverse()
        for name in order:
            found[name].append(_time(inputs, libraries[name]))
    return found["reduced"], found["stock"]


def _done(pairs: int, seconds: float) -> bool:
    return pairs >= _MOST or (pairs >= _PAIRS and seconds > _ENOUGH) or (pairs > 0 and seconds > _LIMIT)


def _time(inputs: Mapping[str, Path], library: Path) -> tuple[float, float]:
    words = {"--library": library, "--model": inputs["model"], "--golden": inputs["golden"]}
    given = [text for word, path in words.items() for text in (word, str(path.resolve()))]
    done = subprocess.run(  # noqa: S603  a step before this one compiled it
        [str(inputs["program"].resolve()), *given], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        errors="replace", timeout=_LATE, check=False,
    )  # fmt: skip
    said = _SAID.search(done.stdout)
    if done.returncode or said is None:
        why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1].replace(f"{Path.cwd().resolve()}/", "")
        raise Refused("the C program cannot be timed", why=why)
    return float(said[1]), float(said[2])

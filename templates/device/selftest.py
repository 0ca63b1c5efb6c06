#!/usr/bin/env python3
"""Runs the golden samples of an unpacked bundle on this device and compares the outputs with those of the build.

Needs Python 3.8 or newer with the device's own onnxruntime and np. The model is opened as session.json says, on those of its
providers that this ONNX Runtime has. Exit codes: 0 the outputs are those of the build, 1 they are not or the model does not
run, 2 it could not be tried.

    python3 selftest.py                     the bundle that this file lies in
    python3 selftest.py FOLDER --json       another one, with a result for programs
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

MODELS = ("model.onnx", "model.ort")
_NUMBERS = re.compile(r"bool|u?int(8|16|32|64)|float(16|32|64)")


class CannotRun(Exception):
    """The test could not be made: nothing is known of the model."""


class Failed(Exception):
    """The model does not open or run as it did in the build."""


def main() -> int:
    """Print the result; return the exit code."""
    parser = argparse.ArgumentParser(description="Runs the golden samples of an unpacked bundle on this device.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    given = parser.parse_args()
    result: dict[str, Any] = {"passed": False, "runtime": "", "providers": [], "skipped": [], "outputs": [], "why": ""}
    code = _code(given.folder, result)
    print(json.dumps(result, indent=1, allow_nan=False) if given.json else _words(result, code))
    return code


def _code(folder: Path, result: dict[str, Any]) -> int:
    try:
        _test(folder, result)
    except Failed as error:
        result["why"] = str(error)
        return 1
    except CannotRun as error:
        result["why"] = str(error)
        return 2
    except Exception as error:  # noqa: BLE001  who asks gets an answer
        result["why"] = f"unexpected: {type(error).__name__}: {error}"
        return 2
    return 0 if result["passed"] else 1


def _words(result: dict[str, Any], code: int) -> str:
    lines = [f"self-test: {('passed', 'FAILED', 'could not run')[code]}"]
    if result["runtime"]:
        skipped = f", without {', '.join(result['skipped'])}" if result["skipped"] else ""
        lines.append(f"  onnxruntime {result['runtime']} on {', '.join(result['providers']) or 'nothing'}{skipped}")
    lines += ["  sample {sample}  {name}  {outcome}  {measured}".format(**one) for one in result["outputs"]]
    return "\n".join([*lines, *([f"  why: {result['why']}"] if result["why"] else [])])


def _test(folder: Path, result: dict[str, Any]) -> None:
    manifest, opening, golden = (_read(folder / name) for name in ("manifest.json", "session.json", "golden.json"))
    try:
        model = _model(folder, manifest)
        limits = {key: manifest["golden"][key] for key in ("rtol", "atol", "min_snr_db")}
        samples = _samples(folder, golden)
        wanted = [(one["name"], one["options"]) for one in opening["providers"]]
        options = dict(opening["session_options"]), dict(opening["config_entries"])
    except (KeyError, TypeError, ValueError, IndexError, OSError) as error:
        raise CannotRun(f"the bundle is damaged: {type(error).__name__}: {error}") from None
    session = _open(model, wanted, options, result)
    for number, (feeds, expected) in enumerate(samples):
        result["outputs"] += _compared(number, _ran(session, feeds, list(expected)), expected, limits)
    result["passed"] = all(one["outcome"] == "pass" for one in result["outputs"])


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CannotRun(f"{path}: {error}") from None


def _model(folder: Path, manifest: dict[str, Any]) -> Path:
    if manifest["target"]["platform"] == "web":
        raise CannotRun("this bundle runs in a browser: its page replays the golden samples")
    have = {one["name"] for one in manifest["artifacts"]}
    name = next((name for name in MODELS if name in have), None)
    if name is None:
        raise CannotRun("the bundle has no {}".format(" and no ".join(MODELS)))
    return folder / name


def _imported(name: str) -> Any:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when it is imported
    try:
        return importlib.import_module(name)
    except Exception as error:  # noqa: BLE001  a broken installation raises what it likes
        raise CannotRun(f"no {name} in {sys.executable}: {error}") from None


def _samples(folder: Path, golden: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    data = (folder / golden["file"]).read_bytes()
    samples = [
        tuple({n: _tensor(data, e) for n, e in one[kind].items()} for kind in ("inputs", "outputs")) for one in golden["samples"]
    ]
    if not samples:
        raise ValueError("there are no golden samples")
    return samples


def _tensor(data: bytes, entry: dict[str, Any]) -> Any:
    np = _imported("numpy")
    if "values" in entry:
        return np.array(entry["values"], dtype=object).reshape(entry["shape"])
    if not _NUMBERS.fullmatch(entry["dtype"]):
        raise CannotRun("golden samples of type {} cannot be read".format(entry["dtype"]))
    dtype = np.dtype(entry["dtype"])
    flat = np.frombuffer(data, dtype.newbyteorder("<"), entry["size"] // dtype.itemsize, entry["offset"])
    return flat.astype(dtype).reshape(entry["shape"])


def _open(
    model: Path, wanted: list[tuple[str, dict[str, str]]], options: tuple[dict[str, Any], dict[str, str]], result: dict[str, Any]
) -> Any:
    ort = _imported("onnxruntime")
    have = ort.get_available_providers()
    usable = [one for one in wanted if one[0] in have]
    result.update(runtime=ort.__version__, skipped=[name for name, _ in wanted if name not in have])

    class Strict(ort.InferenceSession):
        """Never tries again on another provider."""

        _enable_fallback = property(lambda _: False, lambda _, __: None)

    try:
        session = Strict(
            str(model),
            _options(ort, *options),
            providers=[name for name, _ in usable] or ["CPUExecutionProvider"],
            provider_options=[given for _, given in usable] or [{}],
        )
    except Exception as error:  # noqa: BLE001  ONNX Runtime's errors have no common type
        raise Failed(f"{model.name} does not open: {_first(error)}") from None
    result["providers"] = list(session.get_providers())
    dead = [name for name, _ in usable if name not in result["providers"]]
    if dead:
        raise Failed("{} is listed, but could not be started".format(", ".join(dead)))
    return session


def _options(ort: Any, given: dict[str, Any], entries: dict[str, str]) -> Any:
    options = ort.SessionOptions()
    for key, value in given.items():
        kinds = {"execution_mode": ort.ExecutionMode, "graph_optimization_level": ort.GraphOptimizationLevel}
        setattr(options, key, getattr(kinds[key], value) if key in kinds else value)
    for key, value in entries.items():
        options.add_session_config_entry(key, value)
    return options


def _ran(session: Any, feeds: dict[str, Any], names: list[str]) -> dict[str, Any]:
    try:
        return dict(zip(names, session.run(names, feeds)))
    except Exception as error:  # noqa: BLE001  the same
        raise Failed(f"the model does not run: {_first(error)}") from None


def _first(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _compared(
    number: int, found: dict[str, Any], wanted: dict[str, Any], limits: dict[str, float | None]
) -> list[dict[str, Any]]:
    told = [(name, _difference(_imported("numpy").asarray(found[name]), expected, limits)) for name, expected in wanted.items()]
    return [
        {
            "sample": number,
            "name": name,
            "outcome": "pass" if near else "fail",
            "measured": text,
            "max_error": error,
            "snr_db": snr,
        }
        for name, (near, text, error, snr) in told
    ]


def _difference(found: Any, wanted: Any, limits: dict[str, Any]) -> tuple[bool, str, float | None, float | None]:
    """Whether outputs are near, in words, the largest error and the signal-to-noise ratio in dB (None: no finite number).

    Near is ``|a - b| <= atol + rtol * |b|`` for all elements, rtol for floats alone; infinities must be met exactly, and NaN is
    never near. Of an INT8 model a signal-to-noise ratio of ``min_snr_db`` or more is near, too.
    """
    np = _imported("numpy")
    if found.shape != wanted.shape or wanted.dtype not in {found.dtype, np.dtype(object)}:
        return False, f"{found.dtype} {list(found.shape)} in place of {wanted.dtype} {list(wanted.shape)}", None, None
    if wanted.dtype == object:
        same = found.tolist() == wanted.tolist()
        return same, "the same texts" if same else "other texts", None, None
    floats = wanted.dtype.kind == "f"
    same, a, b = found == wanted, found.astype(np.float64), wanted.astype(np.float64)
    with np.errstate(all="ignore"):
        error = np.where(
            same, 0.0, np.maximum(np.abs(a - b), 0.0 if floats else 1.0)
        )  # 1: integers that float64 cannot tell apart
        within = error <= limits["atol"] + (limits["rtol"] if floats else 0.0) * np.abs(b)
        near = same | (within & np.isfinite(a) & np.isfinite(b))
        noise, power = float(np.sum(error**2)), float(np.sum(b**2))
        snr = _finite(10 * np.log10(power / noise)) if noise and power else None
    worst = _finite(error.max()) if error.size else None
    least = limits["min_snr_db"]
    good = bool(near.all()) or (least is not None and snr is not None and snr >= least)
    return good, _said(int((~near).sum()), near.size, worst, snr, least), worst, snr


def _said(far: int, count: int, worst: float | None, snr: float | None, least: float | None) -> str:
    error = "no finite error" if worst is None else f"max error {worst:.3g}"
    if not far:
        return error if count else "no values"
    ratio = "" if least is None else f", SNR {'unknown' if snr is None else f'{snr:.3g} dB'} (least {least:g} dB)"
    return f"{error}, {far} of {count} values beyond tolerance{ratio}"


def _finite(value: Any) -> float | None:
    return float(value) if value is not None and abs(float(value)) < float("inf") else None


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(main())

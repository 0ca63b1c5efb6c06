"""Opens ONNX Runtime sessions that do what they are told: no silent fallback, one thread unless told, deterministic."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnxruntime

CPU = "CPUExecutionProvider"
_PATH = re.compile(r"(?:[A-Za-z]:)?(?:/[^\s/:'\"]+){2,}/?")
_SOURCE = re.compile(r"\S+\.(?:cc|h):\d+ [^(]*onnxruntime::[^(]*\(.*[&*]\) ")  # file, line and signature inside ONNX Runtime
_LOADING = re.compile(r"Load model from .*? failed: ?")
_ERRORS_ONLY = 3  # severities of ONNX Runtime: 0 verbose, 1 info, 2 warning, 3 error, 4 fatal


def split_providers(providers: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], list[str]]:
    """The wanted providers that this ONNX Runtime has, and the names of those that it lacks."""
    import onnxruntime as ort

    have = ort.get_available_providers()
    return [p for p in providers if p["name"] in have], [p["name"] for p in providers if p["name"] not in have]


def open_session(
    path: Path | bytes, providers: Sequence[Mapping[str, Any]] = (), session: Mapping[str, Any] | None = None
) -> onnxruntime.InferenceSession:
    """Open a model (a path, or its bytes) in this runtime's ONNX Runtime, 1.17.3 to 1.31.1.

    ``providers`` are ``{"name", "options"}`` in priority order; those that this ONNX Runtime lacks are left out, and
    ``split_providers`` names them. ``session`` holds the recipe's session settings; 0 threads, which lets ONNX Runtime choose
    on the device, is 1 here, so that results do not depend on the machine's cores. Raises what ONNX Runtime raises: it never
    retries on another provider, neither when opening nor when running.
    """
    import onnxruntime as ort

    class Strict(ort.InferenceSession):  # type: ignore[misc,unused-ignore]
        # 1.17 to 1.20 set this to True themselves and know no argument for it
        _enable_fallback = property(lambda _: False, lambda _, __: None)

    usable = split_providers(providers)[0] or [{"name": CPU, "options": {}}]
    return Strict(
        path if isinstance(path, bytes) else str(path),
        session_options(session),
        providers=[provider["name"] for provider in usable],
        provider_options=[{key: _text(value) for key, value in (p.get("options") or {}).items()} for p in usable],
    )


def session_options(session: Mapping[str, Any] | None) -> onnxruntime.SessionOptions:
    """ONNX Runtime's options from the recipe's session settings; without any, its defaults on one thread."""
    import onnxruntime as ort

    given = session or {}
    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.use_deterministic_compute = True
    options.intra_op_num_threads = given.get("intra_op_num_threads") or 1
    options.inter_op_num_threads = given.get("inter_op_num_threads") or 1
    if session is not None:
        options.execution_mode = getattr(ort.ExecutionMode, "ORT_" + given["execution_mode"].upper())
        options.graph_optimization_level = optimization_level(given["graph_optimization_level"])
        options.enable_mem_pattern = given["enable_mem_pattern"]
        options.enable_cpu_mem_arena = given["enable_cpu_mem_arena"]
        for key, value in sorted(given["config"].items()):
            options.add_session_config_entry(key, value)
    return options


def optimization_level(name: str) -> onnxruntime.GraphOptimizationLevel:
    """``disable``, ``basic``, ``extended`` or ``all`` as ONNX Runtime's own value."""
    import onnxruntime as ort

    return getattr(ort.GraphOptimizationLevel, "ORT_DISABLE_ALL" if name == "disable" else f"ORT_ENABLE_{name.upper()}")


def first_line(error: BaseException) -> str:
    """The first line of an error of ONNX Runtime, without the folders that it names and its own source lines."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    text = _LOADING.sub("", _SOURCE.sub("", text))
    return _PATH.sub(lambda found: found[0].rstrip("/").rsplit("/", 1)[-1], text)


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def run(session: onnxruntime.InferenceSession, sample: Mapping[str, Any]) -> dict[str, Any]:
    """Feed one sample ``{input: array}``; ``{output: array}``. Raises ``TypeError`` for an output that is no tensor."""
    import numpy as np

    names = [output.name for output in session.get_outputs()]
    values = session.run(names, dict(sample))
    odd = next((name for name, value in zip(names, values) if not isinstance(value, np.ndarray)), None)
    if odd is not None:
        raise TypeError(f"output '{odd}' is a {type(values[names.index(odd)]).__name__}, not a tensor")
    return dict(zip(names, values))

"""Writes session.json: how a device opens the model, by ONNX Runtime's own names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lib import canon, trt_profiles

if TYPE_CHECKING:
    from onnx import ModelProto

INPUTS = ("model",)
PARAMS = ("tag", "providers", "session", "concurrent_run", "profiles")
OUTPUTS = ("session.json",)

FORMAT = 1
_PROFILED = {"TensorrtExecutionProvider": "trt", "NvTensorRTRTXExecutionProvider": "nv"}


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """``providers`` and ``session`` as in the recipe; ``concurrent_run``: whether threads may call Run at the same time.

    ``profiles`` is ``{axis: {"min", "opt", "max"}}``; providers that build engines get them as their options. A program opens one
    session and shares it: each further one costs its memory again. Facts: the document itself.
    """
    model = canon.parse(inputs["model"])
    described = canon.describe(model)
    session = params["session"]
    document = {
        "format": FORMAT,
        "tag": params["tag"],
        "inputs": described["inputs"],
        "outputs": described["outputs"],
        "providers": [
            {"name": p["name"], "options": _texts({**_profiled(model, p["name"], params["profiles"]), **p["options"]})}
            for p in params["providers"]
        ],
        "session_options": _options(session),
        "sharing": {"sessions": 1, "concurrent_run": params["concurrent_run"]},
        "config_entries": dict(sorted(session["config"].items())),
    }
    (out / "session.json").write_text(json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    return document


def _profiled(model: ModelProto, provider: str, axes: Mapping[str, trt_profiles.Sizes]) -> dict[str, str]:
    """The profile options of a provider that builds engines: without them it builds anew as shapes come."""
    prefix = _PROFILED.get(provider)
    profiles = trt_profiles.of_model(model, axes) if prefix and axes else {}
    if not profiles:
        return {}
    return {f"{prefix}_profile_{point}_shapes": trt_profiles.text(profiles, point) for point in trt_profiles.POINTS}


def _options(session: Mapping[str, Any]) -> dict[str, Any]:
    level = session["graph_optimization_level"]
    return {
        "intra_op_num_threads": session["intra_op_num_threads"],
        "inter_op_num_threads": session["inter_op_num_threads"],
        "execution_mode": f"ORT_{session['execution_mode'].upper()}",
        "graph_optimization_level": "ORT_DISABLE_ALL" if level == "disable" else f"ORT_ENABLE_{level.upper()}",
        "enable_mem_pattern": session["enable_mem_pattern"],
        "enable_cpu_mem_arena": session["enable_cpu_mem_arena"],
    }


def _texts(options: Mapping[str, Any]) -> dict[str, str]:
    """Provider options are text in ONNX Runtime; booleans are 1 and 0."""
    return {key: str(int(value)) if isinstance(value, bool) else str(value) for key, value in sorted(options.items())}

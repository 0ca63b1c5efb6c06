"""Writes session.json: how a device opens the model, by ONNX Runtime's own names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .lib import canon

INPUTS = ("model",)
PARAMS = ("tag", "providers", "session", "concurrent_run")
OUTPUTS = ("session.json",)

FORMAT = 1


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """``providers`` and ``session`` as in the recipe; ``concurrent_run``: whether threads may call Run at the same time.

    A program opens one session and shares it: each further one costs its memory again. Facts: the document itself.
    """
    described = canon.describe(canon.load(inputs["model"]))
    session = params["session"]
    document = {
        "format": FORMAT,
        "tag": params["tag"],
        "inputs": described["inputs"],
        "outputs": described["outputs"],
        "providers": [{"name": p["name"], "options": _texts(p["options"])} for p in params["providers"]],
        "session_options": _options(session),
        "sharing": {"sessions": 1, "concurrent_run": params["concurrent_run"]},
        "config_entries": dict(sorted(session["config"].items())),
    }
    (out / "session.json").write_text(json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    return document


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

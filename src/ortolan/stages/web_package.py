"""Makes a web page's package: the model as .onnx or .ort, and which files of onnxruntime-web it loads and with what options."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .lib import canon, ortformat, sessions, web, web_files, web_options, web_server
from .lib.refused import Refused
from .lib.transient import LEAST, reraise_if_transient

INPUTS = ("model",)
PARAMS = ("tag", "format", "bundle", "providers", "threads", "session")
OUTPUTS = ("model.web.onnx?", "model.web.ort?", "web.json")
CPU = True  # ONNX Runtime folds constants with this processor's kernels when it writes an .ort file

FORMAT = 1


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """``format``: ``onnx``, ``ort`` or ``both``; ``bundle``: the script of onnxruntime-web to load; ``threads`` of WebAssembly.

    Facts: the document ``web.json``. Raises ``Refused`` for a bundle that onnxruntime-web does not have, a provider that the
    bundle or a browser does not have, and a model that ONNX Runtime cannot load.
    """
    described = canon.describe(canon.load(inputs["model"]))
    files = web_files.needed(params["bundle"], [provider["name"] for provider in params["providers"]])
    if params["format"] in ("onnx", "both"):
        (out / "model.web.onnx").write_bytes(inputs["model"].read_bytes())
    if params["format"] in ("ort", "both"):
        (out / "model.web.ort").write_bytes(_ort(inputs["model"], out.parent / "model.ort"))
    models = sorted(out.glob("model.web.*"))
    document = {
        "format": FORMAT,
        "tag": params["tag"],
        "package": {"registry": "npm", "name": web.PACKAGE, "version": web.version()},
        "models": [web_files.about(path) for path in models],
        "files": files,
        "features": web_files.features(files),
        "inputs": described["inputs"],
        "outputs": described["outputs"],
        "session_options": web_options.session(params["providers"], params["session"]),
        "env": {"wasm": {"numThreads": params["threads"]}},
        "headers": web_server.ISOLATION if params["threads"] != 1 else {},
    }
    (out / "web.json").write_text(json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    return document


def _ort(model: Path, scratch: Path) -> bytes:
    """At level basic: what later levels do suits the processor that converts, and WebGPU does not take it."""
    import onnxruntime as ort

    options = sessions.session_options(None)
    options.graph_optimization_level = sessions.optimization_level("basic")
    options.optimized_model_filepath = str(scratch)
    options.add_session_config_entry("session.save_model_format", "ORT")
    try:
        ort.InferenceSession(str(model), options, providers=[sessions.CPU])
        return ortformat.canonical(scratch.read_bytes())
    except Refused:
        raise
    except Exception as error:  # ONNX Runtime's errors have no common type
        reraise_if_transient(error, LEAST + model.stat().st_size)
        raise Refused("ONNX Runtime cannot convert this model to .ort", why=sessions.first_line(error)) from error

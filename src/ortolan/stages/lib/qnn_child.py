"""One session of QNN's emulator in a process of its own: a crash there, or what a first compilation leaves, harms nobody."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import assignment, canon, sessions, tensors
from .transient import reraise_if_transient

if TYPE_CHECKING:
    import onnxruntime

PROVIDER = "QNNExecutionProvider"
COMPATIBILITY = f"ep_compatibility_info.{PROVIDER}"
"""Metadata of a compiled model, by which ONNX Runtime tells whether a device can load it."""

_VERBOSE = 0  # QNN says only here why it refuses a node


def main(folder: Path) -> None:
    """Do what ``ask.json`` in ``folder`` asks, and leave ``answer.json``."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    ask = json.loads((folder / "ask.json").read_text())
    task = {"probe": _probe, "compile": _compile, "run": _run}[ask["task"]]
    answer = task(folder, ask["options"])
    (folder / "answer.json").write_text(json.dumps(answer))


def _end_with_parent() -> None:
    sys.stdin.buffer.read(1)
    os._exit(1)


def _probe(folder: Path, options: Mapping[str, str]) -> dict[str, Any]:
    """``{"error", "placed": [[provider, node, operator]], "partitions", "ran", "run_error"}``."""
    try:
        session = _session((folder / "model.onnx").read_bytes(), options, assignment.RECORD)
    except Exception as error:  # noqa: BLE001  ONNX Runtime's errors have no common type; each is the verdict
        reraise_if_transient(error)
        return {"error": sessions.first_line(error)}
    parts = session.get_provider_graph_assignment_info()
    placed = [[part.ep_name, node.name, node.op_type] for part in parts for node in part.get_nodes()]
    count = sum(part.ep_name == PROVIDER for part in parts)
    return {"error": "", "placed": placed, "partitions": count, **_runs(session, folder)}


def _compile(folder: Path, options: Mapping[str, str]) -> dict[str, Any]:
    """``{"error"}``; ``made.onnx`` is the model with its context binaries, in canonical form."""
    import onnxruntime as ort

    data = (folder / "model.onnx").read_bytes()
    level = sessions.optimization_level("basic")  # what depends on the processor comes later
    try:
        compiler = ort.ModelCompiler(
            _options(options, {}), data, embed_compiled_data_into_model=True, graph_optimization_level=level
        )
        made = compiler.compile_to_bytes()
    except Exception as error:  # noqa: BLE001  as above
        reraise_if_transient(error)
        return {"error": sessions.first_line(error)}
    (folder / "compiled.onnx").write_bytes(made)
    model = canon.parse(folder / "compiled.onnx")
    metadata = {entry.key: entry.value for entry in (*canon.parse(folder / "model.onnx").metadata_props, *model.metadata_props)}
    kept = {key: value for key, value in metadata.items() if key.startswith(canon.KEPT) or key == COMPATIBILITY}
    canon.save(model, folder / "made.onnx", kept)
    return {"error": ""}


def _run(folder: Path, options: Mapping[str, str]) -> dict[str, Any]:
    """``{"error", "ran", "run_error"}``; ``outputs.npz`` is what the emulator gives."""
    model = folder / "model.onnx"
    rest = [node for node in canon.parse(model).graph.node if node.op_type != "EPContext"]
    strict = {} if rest else {"session.disable_cpu_ep_fallback": "1"}
    try:
        session = _session(model.read_bytes(), options, strict)
    except Exception as error:  # noqa: BLE001  as above
        reraise_if_transient(error)
        return {"error": sessions.first_line(error)}
    return {"error": "", **_runs(session, folder)}


def _runs(session: onnxruntime.InferenceSession, folder: Path) -> dict[str, Any]:
    samples = tensors.read_samples(folder / "samples.npz")
    try:
        tensors.write_samples(folder / "outputs.npz", [sessions.run(session, sample) for sample in samples])
    except Exception as error:  # noqa: BLE001  as above
        reraise_if_transient(error)
        return {"ran": False, "run_error": sessions.first_line(error)}
    return {"ran": bool(samples), "run_error": "" if samples else "there are no samples"}


def _session(model: bytes, options: Mapping[str, str], config: Mapping[str, str]) -> onnxruntime.InferenceSession:
    import onnxruntime as ort

    return ort.InferenceSession(model, _options(options, config), enable_fallback=0)


def _options(options: Mapping[str, str], config: Mapping[str, str]) -> onnxruntime.SessionOptions:
    """Session options with QNN first, then the CPU."""
    import onnxruntime as ort
    import onnxruntime_qnn  # type: ignore[import-not-found,unused-ignore]

    ort.register_execution_provider_library(PROVIDER, onnxruntime_qnn.get_library_path())
    made = sessions.session_options(None)
    made.log_severity_level = _VERBOSE
    made.graph_optimization_level = sessions.optimization_level("basic")
    for key, value in config.items():
        made.add_session_config_entry(key, value)
    devices = [device for device in ort.get_ep_devices() if device.ep_name == PROVIDER]
    made.add_provider_for_devices(devices[:1], dict(options))
    return made


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    sys.stdout.flush()
    os._exit(0)  # QNN's exit handlers have nothing left to save

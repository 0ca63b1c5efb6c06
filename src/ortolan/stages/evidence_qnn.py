"""Opens a session of Qualcomm's QNN provider on its x86 emulator, runs the samples, and says which nodes it took and why."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lib import assignment, canon, evidence, qnn, qnn_verdicts
from .lib.evidence import Evidence, Verdict
from .lib.qnn_child import PROVIDER
from .lib.refused import Refused

if TYPE_CHECKING:
    from onnx import ModelProto

    from .lib.qnn import Answer

INPUTS = ("model", "samples")
PARAMS = ("provider",)
OUTPUTS = ("evidence.json",)
CPU = True


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """``provider`` is ``{"name", "options"}``; ``soc_model`` and ``htp_arch`` say which HTP is emulated, the oldest where absent.

    Level ``runs``: QNN was given the node and the samples went through its emulator; ``built``: it compiled the graph with the
    node in it, which then did not run. Optimisation level ``basic``, as an engine is compiled: constants are folded, or each
    ``Shape`` of a fixed tensor would count as a fallback. Facts: those of ``evidence.write``, ``soc``, ``options`` as given to
    QNN, ``partitions``, ``ran`` and ``error``.
    """
    soc = qnn.asked_soc(params["provider"]["options"])
    options = qnn.options(params["provider"]["options"], soc)
    model = canon.load(inputs["model"])
    marked = assignment.marked(model)
    with tempfile.TemporaryDirectory() as folder:
        answer = qnn.ask("probe", marked.SerializeToString(), inputs["samples"], options, Path(folder) / "probe")
    if answer.no_start:
        raise Refused("QNN does not start", why=answer.no_start, hint="see soc_model and htp_arch of the provider's options")
    said = answer.said or {"error": f"its compiler ended with {answer.died}"}
    error = assignment.original(model, said["error"] or said["run_error"])
    found = Evidence(PROVIDER, _source(soc.name if soc else ""), _nodes(model, answer, error))
    facts = {"soc": soc.name if soc else None, "options": options, "ran": said.get("ran", False), "error": error}
    return {**evidence.write(out / "evidence.json", found), **facts, "partitions": said.get("partitions", 0)}


def _nodes(model: ModelProto, answer: Answer, error: str) -> list[Verdict]:
    said = answer.said
    if said is None:
        return qnn_verdicts.unopened(model, error)
    if said["error"]:
        return qnn_verdicts.unopened(model, f"no session opens: {error}")
    placed = [(provider, name, operator) for provider, name, operator in said["placed"]]
    return qnn_verdicts.Verdicts(model, placed, error=error, reasons=answer.reasons).all()


def _source(soc: str) -> str:
    from importlib.metadata import version

    packages = " and ".join(f"{name} {version(name)}" for name in ("onnxruntime-qnn", "onnxruntime"))
    return f"a session of {packages} on the HTP emulator{f' for {soc}' if soc else ''}"

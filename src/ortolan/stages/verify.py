"""Opens a model in one ONNX Runtime, runs the samples and compares; every refusal is a fact with the runtime's own words."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lib import compared, limits, onnx_head, sessions, tensors
from .lib.transient import reraise_if_transient

if TYPE_CHECKING:
    import onnxruntime

    Sample = Mapping[str, Any]

INPUTS = ("model+", "samples", "expected?", "ort?")
PARAMS = ("providers", "session", "rtol", "atol")
OUTPUTS = ()
CPU = True

_RECORD = {"session.record_ep_graph_assignment_info": "1"}  # from 1.24.1; before, nothing reads it


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:  # noqa: ARG001
    """Facts: ``runtime``, ``arch``, ``limits`` (why IR or opsets are too new), ``providers``, ``placed``, ``onnx`` and ``ort``.

    ``providers`` are those that the recipe wants, ``offered`` all that this build of ONNX Runtime has, ``registered`` those that
    the session really got.

    ``onnx`` and ``ort``: ``{"opens", "runs", "error", "outputs": {name: compare()}, "close"}``. ``onnx`` is compared with
    ``expected``, ``ort`` with what the ``.onnx`` gave in this runtime: ``against`` says whether as this processor computes it
    (``optimised``) or, where that differs, ``as written``. ``close`` is ``None`` where there is nothing to compare with, ``ort``
    itself without an ``.ort``. ``placed`` is ``{provider: nodes}``, ``None`` where the runtime cannot tell.
    """
    import onnxruntime as ort

    samples = tensors.read_samples(inputs["samples"])
    expected = tensors.read_samples(inputs["expected"]) if "expected" in inputs else None
    given, missing = sessions.split_providers(params["providers"])
    got, onnx = _try(inputs["model"], params, samples)
    other = _try(inputs["ort"].read_bytes(), params, samples)[1] if "ort" in inputs else None
    ort_facts = _judge_ort(inputs["model"], other, onnx.get("results"), params, samples) if other else None
    return {
        "runtime": ort.__version__,
        "arch": platform.machine(),
        "limits": limits.problems(*onnx_head.versions(inputs["model"]), ort.__version__),
        "providers": {"available": [provider["name"] for provider in given], "missing": missing},
        "offered": ort.get_available_providers(),
        **got,
        "onnx": _judge(onnx, expected, params),
        "ort": ort_facts,
    }


def _try(model: Path | bytes, params: Mapping[str, Any], samples: Sequence[Sample]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a model's session got, and how it opens and runs with its ``results``. The session's memory is given back."""
    session = {**params["session"], "config": {**_RECORD, **params["session"]["config"]}}
    opened = None
    try:
        opened = sessions.open_session(model, params["providers"], session)
        results = [sessions.run(opened, sample) for sample in samples]
    except Exception as error:  # noqa: BLE001  ONNX Runtime's errors have no common type; each is the verdict
        reraise_if_transient(error)
        return _got(opened), {"opens": opened is not None, "runs": False, "error": sessions.first_line(error)}
    return _got(opened), {"opens": True, "runs": True, "error": "", "results": results}


def _got(session: onnxruntime.InferenceSession | None) -> dict[str, Any]:
    return {"registered": session.get_providers(), "placed": _placed(session)} if session else {"registered": [], "placed": None}


def _judge_ort(
    model: Path, tried: dict[str, Any], reference: Sequence[Sample] | None, params: Mapping[str, Any], samples: Sequence[Sample]
) -> dict[str, Any]:
    """An .ort for ARM keeps int8 QDQ exact, while x86 kernels of the .onnx may saturate: then the .onnx as written decides."""
    found = {**_judge(dict(tried), reference, params), "against": "optimised"}
    if found["close"] or not tried["runs"]:
        return found
    plain = {**params, "session": {**params["session"], "graph_optimization_level": "disable"}}
    written = {**_judge(dict(tried), _try(model, plain, samples)[1].get("results"), params), "against": "as written"}
    return written if written["close"] else found


def _judge(tried: dict[str, Any], expected: Sequence[Sample] | None, params: Mapping[str, Any]) -> dict[str, Any]:
    results = tried.pop("results", None)
    if results is None:
        return {**tried, "outputs": {}, "close": False}
    if expected is None:
        return {**tried, "outputs": {}, "close": None}
    outputs = compared.outputs(expected, results, params["rtol"], params["atol"])
    return {**tried, "outputs": outputs, "close": bool(results) and all(output["close"] for output in outputs.values())}


def _placed(session: onnxruntime.InferenceSession) -> dict[str, int] | None:
    """How many nodes each provider took, counted before fusion (ONNX Runtime 1.24.1 and later)."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return None
    count: Counter[str] = Counter()
    for part in session.get_provider_graph_assignment_info():
        count[part.ep_name] += len(part.get_nodes())
    return dict(sorted(count.items()))

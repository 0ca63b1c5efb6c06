"""Runs a model with onnxruntime-web, in Chromium on WebGPU or in Node, and says of every node whether the provider ran it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lib import assignment, canon, evidence, graphs, tensors, web, web_options, web_placed, web_where
from .lib.evidence import REGISTERED, RUNS, UNSUPPORTED, Evidence, Verdict

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

INPUTS = ("model", "samples")
PARAMS = ("provider", "version", "session")
OUTPUTS = ("evidence.json",)
CPU = True

_BUNDLE = "ort.webgpu.min.js"
_INSIDE = re.compile(rf"{assignment.INSIDE}\.(\d+)\.")
_COPY = "Memcpy"
_ADAPTER = "WebGPU's software adapter"
_MARK = re.compile(rf"(?:{assignment.MAIN}|{assignment.INSIDE}|{assignment.FUNCTION})\.\d+\.")


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """``provider`` is ``{"name", "options"}``: ``WebGpuExecutionProvider``, or ``CPUExecutionProvider`` for WebAssembly.

    One session without graph optimisation, on the first sample. A node ``runs`` where the log of the session says that WebGPU
    was given it and the sample ran; WebAssembly runs all nodes of a model that runs. A session that opens but does not run
    leaves ``registered`` of what WebGPU was given. Without Chromium nothing is seen of WebGPU. Facts: those of
    ``evidence.write``, ``ran``, ``opens``, ``runs``, ``error``, ``versions``.
    """
    model, name = canon.load(inputs["model"]), params["provider"]["name"]
    where = web_where.PAGE_WEBGPU if name == web_options.WEBGPU else web_where.NODE
    lacking = web_where.missing(where) if name in web_options.NAMES else {"why": f"onnxruntime-web has no {name}", "hint": ""}
    if lacking:
        nothing = [Verdict(UNSUPPORTED, f"not seen: {lacking['why']}", lacking["hint"]) for _ in model.graph.node]
        found = Evidence(name, "nothing was run", nothing, lacking["why"])
        return evidence.write(out / "evidence.json", found) | {"ran": False, **lacking}
    answer = _answer(model, inputs["samples"], where, params)
    versions = web_where.versions(where)
    on = _ADAPTER if where == web_where.PAGE_WEBGPU else "WebAssembly"
    source = f"a session on {on}: {', '.join(f'{each} {version}' for each, version in versions.items())}"
    if web.version() != params["version"]:
        source += f" (the fleet's oldest is {params['version']})"
    told = evidence.write(out / "evidence.json", Evidence(name, source, _judge(model, name, answer)))
    error = assignment.original(model, answer.error)
    return told | {"ran": True, "opens": answer.opens, "runs": answer.runs, "error": error, "versions": versions}


def _answer(model: ModelProto, samples: Path, where: str, params: Mapping[str, Any]) -> web.Answer:
    session = {**params["session"], "graph_optimization_level": "disable"}
    bundle = _BUNDLE if where == web_where.PAGE_WEBGPU else web_where.NODE_BUNDLE
    request = web_where.Request(where, bundle, 1, params["provider"].get("options") or {}, session)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.onnx"
        path.write_bytes(assignment.marked(model).SerializeToString())
        return web_where.run(path, tensors.read_samples(samples)[:1], request)


def _judge(model: ModelProto, provider: str, answer: web.Answer) -> list[Verdict]:
    if not answer.opens:
        return [_refused(model, index, answer.error) for index in range(len(model.graph.node))]
    if provider == web_options.WASM:
        why = f"the session opens and does not run: {assignment.original(model, answer.error)}"
        return [Verdict(RUNS) if answer.runs else Verdict(REGISTERED, why) for _ in model.graph.node]
    placed = web_placed.read(answer.said)
    found = assignment.verdicts(model, provider, assignment.Seen(executed=_names(placed)))
    found = [_told(model.graph.node[index], verdict, index, provider, placed) for index, verdict in enumerate(found)]
    return found if answer.runs else [_not_run(model, verdict, answer.error) for verdict in found]


def _told(node: NodeProto, verdict: Verdict, index: int, provider: str, placed: web_placed.Placed) -> Verdict:
    if verdict.level == RUNS:
        holds = node.domain or next(graphs.subgraphs(node), None) is not None  # a function's body is put in its place
        return _whole(verdict, index, provider, placed) if holds else verdict
    if any(f"{assignment.MAIN}.{index}." in name for name in placed.nodes):
        return _explained(node, verdict, index, placed)
    return _replaced(node, verdict, provider, placed)


def _replaced(node: NodeProto, verdict: Verdict, provider: str, placed: web_placed.Placed) -> Verdict:
    """To apply WebGPU's layout, Q and DQ nodes are taken out and others of that operator put in, without a name of ours."""
    takers = {
        placed.nodes[name] for name, operator in placed.operators.items() if operator == node.op_type and not _MARK.search(name)
    }
    if not takers:
        return verdict
    return (
        Verdict(RUNS) if takers == {provider} else Verdict(UNSUPPORTED, "what ONNX Runtime put in its place went to WebAssembly")
    )


def _refused(model: ModelProto, index: int, error: str) -> Verdict:
    """The session does not open: nothing was seen of any node, and maybe the error names one."""
    named = re.search(rf"{assignment.MAIN}\.{index}\.(?!\d)", error)
    text = assignment.original(model, error)
    return Verdict(UNSUPPORTED, text if named else f"not seen: the session does not open: {text}")


def _names(placed: web_placed.Placed) -> dict[str, list[str]]:
    """``{provider: nodes}``; copies between devices are nobody's computation."""
    found: dict[str, list[str]] = {provider: [] for provider in placed.counts}
    for node, provider in placed.nodes.items():
        if not placed.operators[node].startswith(_COPY):
            found[provider].append(node)
    return {provider: nodes for provider, nodes in found.items() if nodes or len(found) == 1}


def _whole(verdict: Verdict, index: int, provider: str, placed: web_placed.Placed) -> Verdict:
    """A node with nested graphs runs where its inner nodes do too."""
    inside = {
        placed.operators[name]: taker
        for name, taker in placed.nodes.items()
        if (mark := _INSIDE.search(name)) and int(mark[1]) == index and taker != provider
    }
    if not inside:
        return verdict
    return Verdict(UNSUPPORTED, f"nodes inside it went to WebAssembly: {', '.join(sorted(inside))}")


def _explained(node: NodeProto, verdict: Verdict, index: int, placed: web_placed.Placed) -> Verdict:
    mark = f"{assignment.MAIN}.{index}."
    if verdict.level != UNSUPPORTED or not verdict.why.startswith("went to"):
        return verdict
    if mark in placed.moved:
        return Verdict(UNSUPPORTED, "went to WebAssembly on purpose: what it computes on, such as a shape, is not on the GPU")
    if mark not in placed.without_kernel:
        return replace(verdict, why=verdict.why.replace(web_options.WASM, "WebAssembly"))
    why = f"went to WebAssembly: WebGPU has no kernel for {graphs.label(node).partition(' ')[0]} of this opset and these types"
    return Verdict(UNSUPPORTED, why, "use float32 or int32 tensors, or another operator: WebGPU has next to nothing for int64")


def _not_run(model: ModelProto, verdict: Verdict, error: str) -> Verdict:
    why = f"the session opens and does not run: {assignment.original(model, error)}"
    return Verdict(REGISTERED, why) if verdict.level == RUNS else verdict

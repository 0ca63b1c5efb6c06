"""Runs a model with onnxruntime-web in Node or in Chromium, on WebAssembly or WebGPU, and compares what comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .lib import compared, tensors, web, web_options, web_placed, web_where

INPUTS = ("model", "samples", "expected?")
PARAMS = ("where", "bundle", "threads", "options", "session", "rtol", "atol")
OUTPUTS = ()
CPU = True


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:  # noqa: ARG001
    """``where``: ``node-wasm``, ``chromium-wasm`` or ``chromium-webgpu``; ``options``: those of the WebGPU provider.

    Facts: ``ran``, with ``why`` and ``hint`` when the browser is not installed, and then nothing else. Otherwise ``versions``,
    ``opens``, ``runs``, ``error``, ``inputs`` and ``results`` (the session's signature), ``outputs`` (``{name: compare()}``) and
    ``close`` (``None`` without ``expected``), ``threads``. In a browser also ``placed`` (``{provider: nodes}``, copies between
    devices among them), ``fetched`` (files of onnxruntime-web that were loaded) and ``isolated``; on WebGPU ``adapter`` and
    ``options`` (see ``web_options.arrived``).
    """
    lacking = web_where.missing(params["where"])
    if lacking:
        return {"ran": False, **lacking}
    asked = {name: params[name] for name in ("where", "bundle", "threads", "options", "session")}
    answer = web_where.run(inputs["model"], tensors.read_samples(inputs["samples"]), web_where.Request(**asked))
    expected = tensors.read_samples(inputs["expected"]) if "expected" in inputs else None
    facts = {
        "ran": True, "where": params["where"], "bundle": params["bundle"], "versions": web_where.versions(params["where"]),
        "opens": answer.opens, "runs": answer.runs, "error": answer.error, "inputs": answer.inputs, "results": answer.outputs,
        "threads": answer.threads,
    }  # fmt: skip
    return facts | _judge(answer, expected, params) | _page(answer, params)


def _judge(answer: web.Answer, expected: Sequence[web.Sample] | None, params: Mapping[str, Any]) -> dict[str, Any]:
    if not answer.runs or expected is None:
        return {"outputs": {}, "close": None if answer.runs else False}
    outputs = compared.outputs(expected, answer.results, params["rtol"], params["atol"])
    return {"outputs": outputs, "close": bool(answer.results) and all(output["close"] for output in outputs.values())}


def _page(answer: web.Answer, params: Mapping[str, Any]) -> dict[str, Any]:
    if params["where"] == web_where.NODE:
        return {}
    found = {
        "placed": dict(sorted(web_placed.read(answer.said).counts.items())) or None,
        "fetched": answer.about["fetched"], "isolated": answer.about["isolated"],
    }  # fmt: skip
    if params["where"] == web_where.PAGE_WEBGPU:
        found |= {"adapter": answer.about["adapter"], "options": web_options.arrived(params["options"], answer.said)}
    return found

"""How onnxruntime-web is told about providers and sessions, and which of the options that were asked for really arrived."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .refused import Refused

WEBGPU, WASM = "WebGpuExecutionProvider", "CPUExecutionProvider"
NAMES = {WEBGPU: "webgpu", WASM: "wasm"}
"""Providers by the names that JavaScript gives them. The CPU provider is there compiled to WebAssembly."""

_LINE = re.compile(r"WebGPU EP ([^:]+): (.*)$")
_READ_BACK: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "preferredLayout": ("preferred layout", {"NCHW": "0", "NHWC": "1"}),
    "enableGraphCapture": ("graph capture enable", {}),
    "enableInt64": ("enable int64", {}),
    "enablePIXCapture": ("pix capture enable", {}),
    "enableRobustness": ("enable robustness", {}),
    "multiRotaryCacheConcatOffset": ("multi rotary cache concat offset", {}),
    "sessionBufferPoolGenerations": ("session buffer pool generations", {}),
    "validationMode": ("ValidationMode", {}),
    "preserveDevice": ("PreserveDevice", {}),
    "maxStorageBufferBindingSize": ("max storage buffer binding size", {}),
    "maxNumPendingDispatches": ("max pending dispatches", {}),
    "storageBufferCacheMode": ("storage buffer cache mode", {}),
    "uniformBufferCacheMode": ("uniform buffer cache mode", {}),
    "queryResolveBufferCacheMode": ("query resolve buffer cache mode", {}),
    "defaultBufferCacheMode": ("default buffer cache mode", {}),
}
"""Option → what ONNX Runtime calls it when it logs what it runs with, and its values there where they are spelt otherwise.

Measured with onnxruntime-web 1.30.0 in Chromium: of these its JavaScript hands on the layout, the validation and the cache
modes, and graph capture when it is an option of the session. The others are dropped without a word.
"""


def providers(wanted: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """``[{"name", "options"}]`` of a recipe as JavaScript's ``executionProviders``. ``Refused`` for what a browser has not."""
    odd = [each["name"] for each in wanted if each["name"] not in NAMES]
    if odd:
        raise Refused(f"onnxruntime-web has no {odd[0]}", hint=f"use {' and '.join(NAMES)} in a target for the web")
    return [{"name": NAMES[each["name"]], **_options(each.get("options") or {})} for each in wanted]


def _options(options: Mapping[str, Any]) -> dict[str, Any]:
    texts = {key: str(int(value)) if isinstance(value, bool) else str(value) for key, value in sorted(options.items())}
    forced = texts.pop("forceCpuNodeNames", "")
    return {**texts, **({"forceCpuNodeNames": forced.split()} if forced else {})}


def session(wanted: Sequence[Mapping[str, Any]], given: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe's providers and session settings as the options of ``InferenceSession.create``.

    Threads are no option of a session there: ``ort.env.wasm.numThreads`` is for the whole page.
    Source: onnxruntime-common 1.30.0, ``inference-session.d.ts``.
    """
    level = given["graph_optimization_level"]
    capture = any((each.get("options") or {}).get("enableGraphCapture") in (True, 1, "1") for each in wanted)
    return {
        "executionProviders": providers(wanted),
        "executionMode": given["execution_mode"],
        "graphOptimizationLevel": "disabled" if level == "disable" else level,
        "enableMemPattern": given["enable_mem_pattern"],
        "enableCpuMemArena": given["enable_cpu_mem_arena"],
        "extra": dict(sorted(given["config"].items())),
        **({"enableGraphCapture": True} if capture else {}),
    }


def arrived(options: Mapping[str, Any], said: Sequence[str]) -> dict[str, list[str]]:
    """Which options WebGPU says that it runs with (``taken``), which it dropped (``ignored``), or never names (``unseen``)."""
    logged = {match[1]: match[2].strip() for line in said if (match := _LINE.search(line))}
    found: dict[str, list[str]] = {"taken": [], "ignored": [], "unseen": []}
    for name, value in sorted(options.items()):
        called, spelt = _READ_BACK.get(name, ("", {}))
        text = str(int(value)) if isinstance(value, bool) else str(value)
        state = "unseen" if called not in logged else "taken" if _same(spelt.get(text, text), logged[called]) else "ignored"
        found[state].append(name)
    return found


def _same(asked: str, logged: str) -> bool:
    return asked.casefold() == logged.casefold()

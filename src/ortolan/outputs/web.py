"""A package for web pages: the model, which files of onnxruntime-web it needs, and runs of it in Node and in a browser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ..artifact import Gate
from ..recipe.outputs import WebPackage
from .made import Facts, Made, Shipping, gate, rounded, unseen

RUNTIMES = ("web",)
PROVEN = "the package runs in Node and in headless Chromium, on WebAssembly and on WebGPU, and gives the model's outputs"
LEFT = "a real GPU: WebGPU runs on a software adapter here; other browsers, and speed"
_PAGE, _SEEN = "chromium-webgpu", "1.30.0"  # the version of the pinned runtime
_WEBGPU = "WebGpuExecutionProvider"
_BUNDLE = "ort.webgpu.min.js"  # of 1.30.0; ort.all.min.js gives wrong results for INT8 on WebGPU, and runs another provider
_NODE_BUNDLE = "ort.node.min.mjs"  # what Node itself loads of the same package


def plan(given: Shipping, table: WebPackage) -> Made:
    """The package, and one run for each place that its providers have."""
    job, opened = given.job, given.job.opened()
    package = job.step(
        "web_package",
        {"model": given.model},
        RUNTIMES[0],
        tag=given.tag,
        format=table.format,
        bundle=_BUNDLE,
        threads=table.threads,
        **opened,
    )
    kinds = ["onnx", "ort"] if table.format == "both" else [table.format]
    files = {f"model.web.{kind}": package[f"model.web.{kind}"] for kind in kinds}
    gpu = [one["options"] for one in opened["providers"] if one["name"] == _WEBGPU]
    places = ["node-wasm", "chromium-wasm", *(["chromium-webgpu"] if gpu else [])]
    read = {"model": files[f"model.web.{kinds[0]}"], **given.compared()}
    parity = job.model.recipe.parity
    judge = partial(_judge, fleet=job.target.recipe.runtime.versions)
    runs = {
        where: job.step(
            "web_run",
            read,
            RUNTIMES[0],
            note=where,
            where=where,
            bundle=_NODE_BUNDLE if where == "node-wasm" else _BUNDLE,
            threads=table.threads,
            options=gpu[0] if where == "chromium-webgpu" else {},
            session=opened["session"],
            rtol=parity.rtol,
            atol=parity.atol,
        )
        for where in places
    }
    return Made({**files, "web.json": package["web.json"]}, {"package": package, **runs}, judge=judge, about=_about)


def _judge(facts: Facts, fleet: Sequence[str] = (_SEEN,)) -> list[Gate]:
    package = facts["package"]
    return [_ran(where, told, package, fleet) for where, told in facts.items() if where != "package"]


def _ran(where: str, told: Mapping[str, Any], package: Mapping[str, Any], fleet: Sequence[str]) -> Gate:
    """It ran there, loaded the files that the package names, and gave the model's outputs."""
    name = f"web@{where}"
    if not told["ran"]:
        return unseen(name, f"{told['why']}: {told['hint']}")
    if where == _PAGE and told["runs"] and not (told["placed"] or {}).get(_WEBGPU):
        return unseen(name, "WebGPU was given no node: all of the model ran on WebAssembly")
    problems = [told["error"]] if told["error"] else [*_files(told, package), *_options(told), *_signature(told, package)]
    if package["package"]["version"] not in fleet:
        problems.append(f"was run with onnxruntime-web {package['package']['version']}, the fleet has {', '.join(fleet)}")
    near, seen, reasons = rounded(told["outputs"].values(), bool(told["close"]))
    on = f" on {told['adapter']['architecture']}" if told.get("adapter") else ""
    versions = ", ".join(f"{what} {_number(text)}" for what, text in sorted(told["versions"].items()))
    measured = f"{seen}{on}, {versions}"
    good = told["runs"] and near and not problems
    return gate(name, good, measured, "the model's outputs", "; ".join([*problems, *([] if near else reasons)]))


def _number(text: str) -> str:
    """The version in what a program says of itself."""
    return next((word for word in text.split() if word[:1].isdigit()), text)


def _files(told: Mapping[str, Any], package: Mapping[str, Any]) -> list[str]:
    """Another bundle computes otherwise, so the files that a page loads are part of the claim."""
    named = {one["name"] for one in package["files"]}
    other = sorted(set(told.get("fetched", ())) - named)
    return [f"loads {', '.join(other)}, which web.json does not name"] if other else []


def _options(told: Mapping[str, Any]) -> list[str]:
    ignored = told.get("options", {}).get("ignored", [])
    return [f"onnxruntime-web ignores the option {', '.join(ignored)}"] if ignored else []


def _signature(told: Mapping[str, Any], package: Mapping[str, Any]) -> list[str]:
    found = {
        kind: ([one["name"] for one in told[seen]], [one["name"] for one in package[kind]])
        for kind, seen in (("inputs", "inputs"), ("outputs", "results"))
    }
    return [f"{kind} are {', '.join(seen)}, the model's {', '.join(own)}" for kind, (seen, own) in found.items() if seen != own]


def _about(facts: Facts) -> Mapping[str, Mapping[str, str]]:
    package = facts["package"]
    return {"web.json": {package["package"]["name"]: package["package"]["version"]}}

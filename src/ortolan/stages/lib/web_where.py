"""Runs a model with onnxruntime-web where it was asked for: in Node, or in Chromium on WebAssembly or WebGPU."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from . import browser, web, web_options, web_server
from .transient import reraise_if_transient

NODE, PAGE_WASM, PAGE_WEBGPU = WHERE = ("node-wasm", "chromium-wasm", "chromium-webgpu")
NODE_BUNDLE = "ort.node.min.mjs"
_LIMIT = 240.0  # seconds; SwiftShader is slow, and a step has a limit of its own
_VERBOSE = 0


@dataclass(frozen=True)
class Request:
    """What to run and how: ``options`` are the WebGPU provider's, ``session`` the recipe's, ``threads`` of the WebAssembly."""

    where: str
    bundle: str
    threads: int
    options: Mapping[str, Any]
    session: Mapping[str, Any]


def missing(where: str) -> dict[str, str]:
    """Why nothing can be run there on this machine, and what to do about it; empty when it can."""
    if where == NODE or browser.installed():
        return {}
    return {"why": f"{browser.PROGRAM} is not installed", "hint": f"apt-get install {browser.PROGRAM}"}


def versions(where: str) -> dict[str, str]:
    """What it runs in."""
    if where != NODE:
        return {web.PACKAGE: web.version(), browser.PROGRAM: browser.version()}
    done = subprocess.run([web.node(), "--version"], capture_output=True, text=True, check=True)  # noqa: S603
    return {web.PACKAGE: web.version(), "node": done.stdout.strip().removeprefix("v")}


def run(model: Path, samples: Sequence[web.Sample], request: Request) -> web.Answer:
    """Run the samples. What ONNX Runtime refuses is in the answer; that nothing could be run at all is an exception."""
    if request.where not in WHERE:
        raise ValueError(f"where is one of {', '.join(WHERE)}, not {request.where}")
    with tempfile.TemporaryDirectory() as scratch:
        web.write_job(Path(scratch), samples, _job(request))
        answer = (_in_node if request.where == NODE else _in_page)(model, Path(scratch), request)
    if answer.error:
        reraise_if_transient(RuntimeError(answer.error))
    return answer


def _job(request: Request) -> dict[str, Any]:
    webgpu, page = request.where == PAGE_WEBGPU, request.where != NODE
    wanted = [{"name": web_options.WEBGPU, "options": request.options}] if webgpu else []
    wanted.append({"name": web_options.WASM, "options": {}})
    session = web_options.session(wanted, request.session)
    return {
        "bundle": request.bundle, "webgpu": webgpu, "verbose": page,
        "session": session | ({"logSeverityLevel": _VERBOSE} if page else {}),
        "wasm": {"numThreads": request.threads} | ({"wasmPaths": "/dist/"} if page else {}),
    }  # fmt: skip


def _in_node(model: Path, scratch: Path, request: Request) -> web.Answer:
    answer = scratch / "answer.bin"
    command = [web.node(), web.HERE / "web_node.mjs", web.dist() / request.bundle, scratch / "job.json", model,
               scratch / "samples.bin", answer]  # fmt: skip
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True, timeout=_LIMIT)  # noqa: S603
    return web.read_answer(answer.read_bytes(), {})


def _in_page(model: Path, scratch: Path, request: Request) -> web.Answer:
    files = {
        "/": web.HERE / "web_page.html", "/web_job.mjs": web.HERE / "web_job.mjs", "/model": model,
        "/job.json": scratch / "job.json", "/samples": scratch / "samples.bin",
    }  # fmt: skip
    webgpu = request.where == PAGE_WEBGPU
    headers = web_server.ISOLATION if request.threads != 1 else {}
    server = browser.show(files, web.dist(), headers, webgpu=webgpu, limit=_LIMIT)
    if server.answer is None:
        raise browser.BrowserFailed("the page posted no answer")
    if webgpu and not server.about.get("adapter"):
        raise browser.BrowserFailed(f"{browser.PROGRAM} has no WebGPU adapter here")
    return replace(web.read_answer(server.answer, server.about), about=server.about | {"fetched": sorted(server.fetched)})

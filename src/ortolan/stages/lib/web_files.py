"""Which files of onnxruntime-web a page loads, by the script that it starts with."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import web, web_options
from .refused import Refused

_LOADS = re.compile(rb"ort-wasm-simd-threaded[a-z.]*\.mjs")
_KNOWN = ("asyncify", "jsep", "jspi")
"""How the WebAssembly waits for the GPU. ``jsep``: the older WebGPU provider, in JavaScript; the others: the one in C++."""


def needed(bundle: str, providers: Sequence[str]) -> list[dict[str, Any]]:
    """The script and what it loads in turn: a module and a .wasm file. ``[{"name", "size", "digest"}]``, the script first.

    Raises ``Refused`` for a script that onnxruntime-web does not have, or that lacks one of the providers.
    """
    script = web.dist() / bundle
    if script.parent != web.dist() or not script.is_file() or not re.fullmatch(r"ort\.[a-z.]*\.?m?js", bundle):
        raise Refused(f"{web.PACKAGE} {web.version()} has no {bundle}", why=f"it has {', '.join(_bundles())}")
    modules = sorted({match.decode() for match in _LOADS.findall(script.read_bytes())})
    if web_options.WEBGPU in providers and not any(known in module for module in modules for known in _KNOWN):
        raise Refused(f"{bundle} has no WebGPU", hint='set bundle = "ort.webgpu.min.js"')
    names = [bundle, *modules, *(Path(module).with_suffix(".wasm").name for module in modules)]
    return [about(web.dist() / name) for name in names]


def about(path: Path) -> dict[str, Any]:
    """A file's name, size in bytes and sha256."""
    data = path.read_bytes()
    return {"name": path.name, "size": len(data), "digest": f"sha256:{hashlib.sha256(data).hexdigest()}"}


def features(files: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the WebAssembly asks of a browser: ``simd``, ``threads`` (it can do without), and how it waits for the GPU."""
    wasm = next((file["name"] for file in files if file["name"].endswith(".wasm")), "")
    return {"simd": "simd" in wasm, "threads": "threaded" in wasm, "waits": next((k for k in _KNOWN if k in wasm), "")}


def _bundles() -> list[str]:
    return sorted(path.name for path in web.dist().glob("ort*.min.js"))

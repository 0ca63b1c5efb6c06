"""What is asked of the image of a page: every file as it was built, the headers, and what a browser makes of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .. import digest
from ..artifact import Gate, Outcome
from ..manifest import GoldenPart
from . import ask, browser
from .parts import Container

_WANTED = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
_OUTSIDE = ("/../service.json", "/%2e%2e/service.json", "//etc/passwd", "/static.py")


def problems(container: Container, context: Path, kind: str, web: Mapping[str, Any]) -> Iterator[str]:
    """What is not as it should be; nothing when all is well."""
    served = {f"/{one['name']}": context / one["name"] for one in web["models"]}
    served |= {f"/{name}": context / name for name in ("web.json", "golden.bin", "golden.json")}
    served |= {f"/dist/{one['name']}": context / kind / "dist" / one["name"] for one in web["files"]}
    served |= {"/": context / kind / "index.html", "/page.mjs": context / kind / "page.mjs"}
    for path, file in served.items():
        yield from _served(container, path, file)
    for path in _OUTSIDE:
        status, _, _ = ask.get(container, path)
        if status != 404:
            yield f"{path}: status {status}, not 404"


def _served(container: Container, path: str, file: Path) -> Iterator[str]:
    status, headers, body = ask.get(container, path)
    if status != 200 or digest.of_bytes(body) != digest.of_file(file):
        yield f"{path}: status {status}, {'other' if status == 200 else 'no'} bytes"
    for name, value in _WANTED.items():
        if headers.get(name) != value:
            yield f"{path}: {name} is {headers.get(name, 'missing')}, not {value}"
    if path.endswith(".wasm") and headers.get("Content-Type") != "application/wasm":
        yield f"{path}: Content-Type is {headers.get('Content-Type', 'missing')}"


def in_browser(container: Container, about: GoldenPart) -> Gate:
    """The gate on what Chromium's WebAssembly computes from the golden samples."""
    name, limit = "image-page", f"atol {about.atol:g}, isolated"
    if not browser.installed():
        why = "there is no chromium: apt-get install chromium"
        return Gate(name, "image", Outcome.NOT_RUN, limit=limit, why=why)
    told = browser.report(container)
    if "failed" in told:
        return Gate(name, "image", Outcome.FAIL, "did not run", limit, str(told["failed"]))
    wrong = [one["name"] for one in told["outputs"] if not _near(one, about)]
    why = "; ".join([*(f"{one} differs" for one in wrong), *([] if told["isolated"] else ["the page is not isolated"])])
    worst = max((one["error"] or 0.0 for one in told["outputs"]), default=0.0)
    measured = f"max error {worst:.3g} on {told['samples']} samples, {told['threads']} threads"
    return Gate(name, "image", Outcome.FAIL if why else Outcome.PASS, measured, limit, why)


def _near(one: Mapping[str, Any], about: GoldenPart) -> bool:
    """The page knows largest errors only: an output whose values are far from 1 is judged by its signal-to-noise ratio too."""
    least = about.min_snr_db if about.min_snr_db is not None else _EXACT
    return bool(one["same"]) and (one["error"] <= about.atol or one["snr"] is None or one["snr"] >= least)


_EXACT = 60.0
"""dB: a thousandth of the signal, which is what rtol = 1e-3 allows."""

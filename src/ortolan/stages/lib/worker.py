"""Run one stage from ``request.json`` in the current folder and leave ``result.json``; standard library only."""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from .refused import Refused
from .transient import reraise_if_transient


def main(folder: Path) -> int:
    """Run the requested stage; 0 when it left a result, 1 when it raised something it did not mean to."""
    request = json.loads((folder / "request.json").read_text())
    out = folder / "out"
    out.mkdir()
    try:
        result = _verdict(folder, request, out)
    except Exception as error:  # noqa: BLE001  the process's last resort: whatever it was becomes the result
        traceback.print_exc()
        result = {"error": {"type": type(error).__name__, "message": str(error)}}
    _write(folder / "result.json", result)
    return 1 if "error" in result else 0


def _verdict(folder: Path, request: dict[str, Any], out: Path) -> dict[str, Any]:
    """Facts or a refusal; a refusal that came of what may go better next time is raised as that.

    Frameworks name files by their whole paths; of these a refusal keeps what stands in the step's folder, which has another name
    each time, and which is gone when the refusal is read.
    """
    try:
        return {"facts": _run(folder, request, out)}
    except Refused as verdict:
        reraise_if_transient(verdict)
        words = {"what": verdict.what, "why": verdict.why, "hint": verdict.hint}
        return {"refused": {key: text.replace(f"{folder}{os.sep}", "") for key, text in words.items()}}


def _run(folder: Path, request: dict[str, Any], out: Path) -> dict[str, Any]:
    stage = importlib.import_module(f"stages.{request['stage']}")
    inputs = {name: folder / path for name, path in request["inputs"].items()}
    facts: dict[str, Any] = stage.run(inputs, request["params"], out)
    json.dumps(facts, allow_nan=False)
    return facts


def _write(path: Path, value: dict[str, Any]) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(value, sort_keys=True, allow_nan=False))
    part.replace(path)


def _end_with(parent: int) -> None:
    """End this process when the other end of the pipe ``parent`` closes: nobody waits for the result any more."""

    def wait() -> None:
        os.read(parent, 1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _end_with(int(sys.argv[1]))
    code = main(Path.cwd())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # frameworks' exit handlers take up to seconds and have nothing left to save

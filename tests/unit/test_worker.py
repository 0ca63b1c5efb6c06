"""What the program that runs a stage makes of what the stage says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ortolan.stages.lib import worker
from ortolan.stages.lib.refused import Refused


def test_a_refusal_does_not_name_the_folder_of_its_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path, *_: Any) -> dict[str, Any]:
        raise Refused("it cannot be read", why=f"no checkpoint: {folder}/in/source/net", hint=f"look at {folder}/in")

    monkeypatch.setattr(worker, "_run", refuse)
    (tmp_path / "request.json").write_text("{}")
    assert worker.main(tmp_path) == 0
    refused = json.loads((tmp_path / "result.json").read_text())["refused"]
    assert refused == {"what": "it cannot be read", "why": "no checkpoint: in/source/net", "hint": "look at in"}

"""``waivers`` and ``waive``: which failed gates may ship all the same, and one more of them."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from .. import manifest
from ..artifact import Outcome
from ..build import record_at
from ..devices.limits import standing
from ..digest import short
from ..disk import write_bytes
from ..errors import OrtolanError
from ..recipe.waiver import FOLDER, Waiver, load_waivers
from .lists import listed

_HEADER = ("waiver", "gate", "of", "target", "model", "who", "expires", "today")


def waivers(root: Path, *, as_json: bool) -> None:
    """One line for each waiver."""
    found = load_waivers(root, _today())
    rows = [
        (one.name.removeprefix(f"{FOLDER}/"), w.gate, w.subject or "any", w.target, short(w.model_hash), w.who, str(w.expires),
         "expired" if w.expires < found.today else "counts")
        for one in found.every for w in [one.waiver]
    ]  # fmt: skip
    if rows or as_json:
        listed(_HEADER, rows, as_json=as_json)
    else:
        print(f"no waivers in {root / FOLDER}: nothing ships with a failed gate")


def waive(root: Path, gate: str, target: str, model: str, *, reason: str, who: str, expires: str) -> None:
    """Write ``waivers/<target>-<model>-<gate>.toml`` for a gate that failed in the last build; OrtolanError for any other."""
    record = _failed(root, gate, target, model)
    day = _day(expires)
    waiver = Waiver(gate=gate, target=target, model_hash=record["model_hash"], reason=reason, who=who, expires=day)
    path = root / FOLDER / f"{target}-{model}-{re.sub(r'[^A-Za-z0-9.]+', '-', gate)}.toml"
    if path.exists():
        raise OrtolanError("there is a waiver already", where=str(path), hint="edit it, or remove it first")
    write_bytes(path, _toml(waiver).encode())
    print(f"{path.relative_to(root)}: build again, and commit it: {model} for {target} may fail {gate} until {day}")


def _failed(root: Path, gate: str, target: str, model: str) -> dict[str, Any]:
    """The record of the last build, in which the gate failed."""
    path = record_at(root / "build", target, model)
    try:
        record: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        hint = f"./inv build --target {target} --model {model}"
        raise OrtolanError(f"no build of {model} for {target}", where=str(path), hint=hint) from error
    failed = [one["name"] for one in record["gates"] if one["outcome"] == "fail"]
    made = path.parent / str(record.get("tag")) / manifest.NAME
    failed += [one.name for one in standing(root, manifest.read(made)) if one.outcome is Outcome.FAIL] if made.is_file() else []
    if gate not in failed or not record.get("model_hash"):
        why = f"failed were: {', '.join(failed)}" if failed else "none failed"
        raise OrtolanError(f"{gate} did not fail in the last build of {model} for {target}", where=str(path), why=why)
    return record


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise OrtolanError(f"--expires wants a day like 2027-01-31, not '{text}'") from None
    if day < _today():
        raise OrtolanError(f"--expires {day} is in the past", hint="an expired waiver counts as none")
    return day


def _today() -> date:
    return datetime.now(UTC).date()


def _toml(waiver: Waiver) -> str:
    """TOML's basic strings are JSON's, but for the character DEL."""
    words = waiver.model_dump(mode="json", exclude_none=True)
    quoted = {key: json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f") for key, value in words.items()}
    return "".join(f"{key:10} = {text}\n" for key, text in (quoted | {"expires": words["expires"]}).items())

"""The last builds of jobs, for verbs that run them on devices; which devices these are not for; and names of files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..devices.fleet import Answer, Emulators, T, by_turns, side_by_side
from ..errors import OrtolanError
from ..place import Host
from ..recipe.fleet import NamedDevice
from ..sources import Job


def last_builds(root: Path, jobs: Sequence[Job], *, every: bool) -> list[tuple[Job, Path]]:
    """The folders of the last builds; OrtolanError where none is, or ``every`` one is wanted and one is not there."""
    found = []
    for job in jobs:
        record = root / "build" / job.target.name / f"{job.model.name}.json"
        tag = json.loads(record.read_text()).get("tag", "") if record.exists() else ""
        folder = root / "build" / job.target.name / tag
        if tag and (folder / "manifest.json").exists():
            found.append((job, folder))
        elif every:
            raise _unbuilt(job)
    if not found:
        raise _unbuilt(jobs[0])
    return found


def ask_each(
    devices: Sequence[NamedDevice], jobs: Sequence[Job], built: Sequence[Job], *, models: Sequence[str], emulators: Emulators,
    do: Callable[[NamedDevice, Host], T],
) -> Iterator[Answer[T]]:  # fmt: skip
    """``do`` something with each device side by side, with those of one host by turns.

    Those for which nothing is built, or meant, are failures with a reason.

    OrtolanError where it was the only device.
    """
    wrong = {one.name: why for one in devices if (why := _nothing(one, jobs, built, models))}
    for device in devices:
        if device.name in wrong:
            yield _alone(devices, Answer(device, error=wrong[device.name]))
    able = [one for one in devices if one.name not in wrong]
    for answer in side_by_side(able, emulators, by_turns(able, do)) if able else ():
        yield _alone(devices, answer)


def _alone(devices: Sequence[NamedDevice], answer: Answer[T]) -> Answer[T]:
    if len(devices) == 1 and answer.error:
        raise answer.error
    return answer


def _nothing(device: NamedDevice, jobs: Sequence[Job], built: Sequence[Job], models: Sequence[str]) -> OrtolanError | None:
    """Why there is nothing to run on a device; models that were named must all be there."""
    own = [one for one in jobs if device.target in {"", one.target.name}]
    if not own:
        meant = ", ".join(dict.fromkeys(one.target.name for one in jobs))
        return OrtolanError(f"is a {device.target}, not {meant}", where=device.name, hint=f"--target {device.target}")
    lacking = [one for one in own if one not in built]
    return _unbuilt(lacking[0]) if lacking and (models or len(lacking) == len(own)) else None


def failed(answer: Answer[Any]) -> dict[str, Any]:
    """The record of a device that failed."""
    error = answer.error
    told = {"what": error.what, "where": error.where, "why": error.why, "hint": error.hint} if error else {"what": "failed"}
    return {"device": {"name": answer.device.name}, "error": told}


def failed_line(record: dict[str, Any]) -> str:
    """The same as a line: what, why, and what to try."""
    told = record["error"]
    parts = (told["what"], told.get("why", ""), f"try {told['hint']}" if told.get("hint") else "")
    return f"{record['device']['name']}  failed  {': '.join(filter(None, parts[:2]))}" + (f" ({parts[2]})" if parts[2] else "")


def _unbuilt(job: Job) -> OrtolanError:
    return OrtolanError(f"{job.name} is not built", hint=f"./inv build --target {job.target.name} --model {job.model.name}")


def file_name(device: str) -> str:
    """What a device's file or folder is called; with a hash where it cannot be called like the device, so that none share it."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", device).strip(".-") or "device"
    return plain if plain == device else f"{plain}-{sha256(device.encode()).hexdigest()[:8]}"

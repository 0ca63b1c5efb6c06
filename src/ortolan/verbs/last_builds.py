"""The last builds of jobs, for verbs that look at what was built; and names of devices as names of files."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import OrtolanError
from ..sources import Job


def last_builds(root: Path, jobs: Sequence[Job], models: Sequence[str]) -> list[tuple[Job, Path]]:
    """The folders of the last builds; OrtolanError for a named model that is not built, or where none is."""
    found = []
    for job in jobs:
        record = root / "build" / job.target.name / f"{job.model.name}.json"
        tag = json.loads(record.read_text()).get("tag", "") if record.exists() else ""
        folder = root / "build" / job.target.name / tag
        if tag and (folder / "manifest.json").exists():
            found.append((job, folder))
        elif models:
            raise _unbuilt(job)
    if not found:
        raise _unbuilt(jobs[0])
    return found


def _unbuilt(job: Job) -> OrtolanError:
    return OrtolanError(f"{job.name} is not built", hint=f"./inv build --target {job.target.name} --model {job.model.name}")


def file_name(device: str) -> str:
    """What a device's file or folder is called."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", device).strip(".-") or "device"

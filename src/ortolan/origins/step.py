"""Steps on the files of a source, in the runtime of its kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..sources import Job
from ..step import Source, Step, Tree


def on_source(job: Job, stage: str, runtime: str, own: Mapping[str, Tree], read: Mapping[str, Source], **params: Any) -> Step:
    """A step that reads the model's ``own`` files beside what other steps left, within the recipe's time limit."""
    return job.step(stage, {**own, **read}, runtime, job.model.recipe.source.time_limit, **params)

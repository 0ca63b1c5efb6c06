"""The check of what ships on another machine than this one, over ssh or emulated: one step for both."""

from __future__ import annotations

from collections.abc import Mapping

from .sources import Job
from .step import Source, Step

_FILES = ("_path", "_cache_enable", "_dump_ep_context_model", "_dump_subgraphs")
"""What the names of a provider's options end in that let it write files: a check leaves none on a device."""


def check(job: Job, here: Step, name: str, limit: float) -> Step:
    """The step ``here``, which checks what ships in a version, in the runtime of this ``name`` for at most ``limit`` seconds.

    It compares with what the model gives here as it is written.
    """
    model, samples = here.inputs["model"], here.inputs["samples"]
    written = job.step("golden", {"model": model, "samples": samples}, job.runtime(job.oldest), note="as written", session=None)
    read: dict[str, Source] = {**here.inputs, "expected": written["golden.npz"]}
    params = {**here.params, "providers": [_leaving_no_files(one) for one in here.params["providers"]]}
    return job.step(here.stage, read, name, limit, note="shipped", **params)


def _leaving_no_files(provider: Mapping[str, object]) -> dict[str, object]:
    options = provider["options"]
    kept = {key: value for key, value in options.items() if not key.endswith(_FILES)} if isinstance(options, dict) else {}
    return {**provider, "options": kept}

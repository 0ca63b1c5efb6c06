"""The verbs that a CI system calls."""

from __future__ import annotations

from pathlib import Path

from invoke.context import Context

from ..root import find_root
from .verb import JSON, MODEL, TARGET, module, verb


@verb(
    name="ci-jobs",
    iterable=["target"],
    help={
        "since": "revision to compare with: only jobs that the change since then touches; default: all jobs",
        "target": f"{TARGET}; default: all",
        "image": "container image that the jobs run in; default: what the runner has",
        "out": "file to write the pipeline to; default: print it",
        "json": "print the jobs, and why each is there, as JSON instead of a table or of the pipeline",
    },
)
def ci_jobs(_: Context, target: list[str], since: str = "", image: str = "", out: str = "", json: bool = False) -> None:
    """Write GitLab's child pipeline: for each target × model a job that builds it, one that releases and one that promotes it.

    ./inv ci-jobs --since origin/main
    ./inv ci-jobs --since $CI_MERGE_REQUEST_DIFF_BASE_SHA --image $CI_JOB_IMAGE --out build/ci-jobs.yml
    """
    to = Path(out) if out else None
    module("ci_jobs").run(find_root(Path.cwd()), target, since=since, image=image, out=to, as_json=json)


@verb(
    iterable=["target", "model"],
    help={
        "target": f"{TARGET}; default: all that were built",
        "model": f"{MODEL.partition(' (')[0]}; may be given more than once; default: all that were built",
        "junit": "file to write a JUnit report to",
        "code-quality": "file to write a report in GitLab's Code Quality format to: failures, and what is waived",
        "strict": "exit with 3 when a gate failed or a build ended with an error",
        "json": JSON,
    },
)
def gates(
    _: Context,
    target: list[str],
    model: list[str],
    junit: str = "",
    code_quality: str = "",
    strict: bool = False,
    json: bool = False,
) -> None:
    """Report the gates of the last builds: as tables, as JUnit's XML, as GitLab's Code Quality.

    ./inv gates --target raspberry-pi-5
    ./inv gates --junit build/junit.xml --code-quality build/code-quality.json
    """
    reports = {"junit": junit, "code-quality": code_quality}
    wanted = {name: Path(path) for name, path in reports.items() if path}
    module("gates").run(find_root(Path.cwd()), target, model, wanted, strict=strict, as_json=json)

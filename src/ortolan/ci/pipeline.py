"""The pipelines for GitLab, rendered from ``templates/gitlab``: the user's own, and the one that jobs are written into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import __version__, digest, plan, runtime
from ..package import find_templates
from ..package.quote import Untrusted
from ..package.render import render
from ..sources import Job

KIND = "gitlab"
OWN, JOBS = ".gitlab-ci.yml", "jobs.yml"
LOCK = "requirements.lock"


def pipeline(jobs: Sequence[Job], root: Path, templates: Sequence[Path], runtimes: Sequence[Path], image: str) -> bytes:
    """The child pipeline: what builds, releases and promotes each job; one job that says so where there are none.

    ``image`` is the container image that its jobs run in, empty for a runner without containers.
    """
    own = _own_lock(root)
    given = [_job(one, own, runtimes) for one in jobs]
    return _rendered(templates, {"jobs": given, "image": Untrusted(image), "own": own, "program": _program(root)})[JOBS]


def starter(templates: Sequence[Path]) -> bytes:
    """The pipeline of a new project, which asks for the version of Ortolan that writes it."""
    return _rendered(templates, {"jobs": [], "image": Untrusted(""), "own": "", "program": "ortolan"})[OWN]


def _rendered(templates: Sequence[Path], given: Mapping[str, Any]) -> Mapping[str, bytes]:
    return render(KIND, find_templates(KIND, templates), {**given, "version": __version__}).files


def _program(root: Path) -> str:
    """How the project's verbs are started: a checkout of Ortolan brings its wrapper."""
    return "./inv" if (root / "inv").is_file() else "ortolan"


def _job(job: Job, own: str, runtimes: Sequence[Path]) -> dict[str, str]:
    """Names, and what the caches of runtimes and of results are called by: other locks, another cache."""
    locks = {name: runtime.find(name, runtimes).lock_digest for name in plan.runtimes(job)}
    return {
        "target": job.target.name,
        "model": job.model.name,
        "runtimes": digest.short(digest.of_json("locks", locks)),
        "store": digest.short(digest.of_json("locks", locks | {LOCK: own})),
    }


def _own_lock(root: Path) -> str:
    """What tells one set of Ortolan's own libraries from another."""
    lock = root / LOCK
    return digest.short(digest.of_file(lock)) if lock.is_file() else __version__

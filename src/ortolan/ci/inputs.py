"""The files that a job is built from, by every path under which a change could show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .. import plan
from ..emulation import MACHINE, PLATFORM
from ..package import image_locks
from ..sources import Job

PACKAGE = Path(__file__).parents[1]
_ALL = ("waivers", "templates/gitlab", ".gitlab-ci.yml", "requirements.lock", "inv", "tasks.py")
"""What decides about every job: which failed gates may ship, how jobs are run, and what Ortolan itself is made of."""
_HOPS = 40  # links on one path: as many as Linux follows


@dataclass(frozen=True)
class Inputs:
    """``files`` must be what they were; a change anywhere below one of ``folders`` may add or remove an input."""

    files: frozenset[Path]
    folders: frozenset[Path]


def inputs(job: Job, root: Path) -> Inputs:
    """What decides how this job is built, of all that could be part of its repository."""
    recipe = job.target.recipe
    kinds = recipe.outputs.templates()
    locked = {*plan.runtimes(job), *image_locks(recipe), *([MACHINE] if recipe.platform == PLATFORM else [])}
    folders = [root / "templates" / kind for kind in kinds] + [root / "runtimes" / name for name in sorted(locked)]
    own = {path for folder in [*folders, *(root / name for name in _ALL)] for path in trail(folder)}
    named = {path for folder in job.model.files.folders for path in trail(folder)}
    return Inputs(frozenset(_files(job)), frozenset({*own, *named, PACKAGE.resolve()}))


def _files(job: Job) -> Iterator[Path]:
    """The recipes and the model's own files, with every link on the way to them. Kernel tables are part of Ortolan."""
    recipe = job.model.folder / f"{job.model.name}.toml"
    own = [path for role, tree in job.trees.items() if not role.startswith("kernels:") for path in tree.paths.values()]
    for path in (job.target.path, recipe, *own):
        yield from trail(path)


def trail(path: Path) -> Iterator[Path]:
    """Every link that leads to a path, each in its own real folder, and last the path itself with all links followed.

    A link that leads back to itself ends the trail.
    """
    whole = Path.cwd() / path
    done, rest, hops = Path(whole.anchor), list(whole.parts[1:]), 0
    while rest:
        part = rest.pop(0)
        here = done.parent if part == ".." else done / part
        if here.is_symlink() and hops < _HOPS:
            yield here
            to, hops = here.readlink(), hops + 1
            done, rest = (Path(to.anchor), [*to.parts[1:], *rest]) if to.is_absolute() else (done, [*to.parts, *rest])
        else:
            done = here
    yield done

"""Judges a reduced runtime by its files: its size and needs, and whether it holds what each model of the target needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..artifact import Gate
from ..errors import OrtolanError
from ..gates.carried import GOLDEN, REFUSES, SPEED
from ..outputs.made import unseen
from ..outputs.reduced_library import fits, judged
from ..recipe.outputs import ReducedRuntime
from ..recipe.project import NamedTarget
from ..stages.reduced_library import facts
from .check import lacks
from .config import NAME, read
from .models import Need


def judge(folder: Path, target: NamedTarget, needs: Sequence[Need] = ()) -> list[Gate]:
    """The gates of the reduced runtime in ``folder`` that need no run; ``needs`` are those of the target's last builds.

    What a run shows is seen by the next build, whose C program the library is tried with. OrtolanError for a folder that holds
    no such runtime.
    """
    try:
        told: dict[str, Any] = facts(folder)
        within = read((folder / NAME).read_text("utf-8"), str(folder / NAME))
    except (OSError, ValueError) as error:
        raise OrtolanError("no reduced runtime", where=str(folder), why=str(error), hint="./inv runtime-build") from error
    table, recipe = target.recipe.outputs.reduced_runtime or ReducedRuntime(), target.recipe
    seen = judged(told, table, recipe.platform, recipe.runtime.versions[0])
    own = [replace(fits(lacks(one.config, within, one.ort)), subject=one.subject) for one in needs]
    later = f"./inv build --target {target.name} tries it with each model's C program"
    return [*seen, *own, *(unseen(name, later) for name in (GOLDEN, REFUSES, SPEED))]

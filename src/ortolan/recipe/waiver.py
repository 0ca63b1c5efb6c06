"""``waivers/*.toml``: failed gates that may ship all the same, each with who answers for it, why and until when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pydantic import Field

from .base import DIGEST, Strict
from .load import load

FOLDER = "waivers"


class Waiver(Strict):
    """One file: it counts for one gate of one model, to the byte, on one target, until the end of the day ``expires`` (UTC)."""

    gate: str = Field(min_length=1, description="the gate's name, as the table of gates prints it")
    subject: str | None = Field(default=None, description="the column `of`: fp32, int8 or shipped; default: whatever it judges")
    target: str = Field(min_length=1, description="name of the target")
    model_hash: str = Field(pattern=DIGEST, description="the model hash, whole: another model needs another waiver")
    reason: str = Field(min_length=1, description="why it may ship")
    who: str = Field(min_length=1, description="who answers for it")
    expires: date = Field(description="the last day on which it counts, like 2027-01-31")


@dataclass(frozen=True)
class NamedWaiver:
    """A waiver and the name of its file."""

    name: str
    waiver: Waiver


@dataclass(frozen=True)
class Waivers:
    """All waivers of a project, and the day by which they are judged."""

    every: Sequence[NamedWaiver] = ()
    today: date = date.max


NO_WAIVERS = Waivers()


def load_waivers(root: Path, today: date) -> Waivers:
    """The waivers of a project; RecipeError for a mistake in one."""
    paths = sorted((root / FOLDER).glob("*.toml"))
    return Waivers(tuple(NamedWaiver(f"{FOLDER}/{path.name}", load(path, Waiver)) for path in paths), today)

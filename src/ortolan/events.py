"""What a build tells while it runs; renderers turn it into progress, plain lines or JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["plan", "runtime", "start", "done", "recalled", "refused", "failed", "skipped", "note"]


@dataclass(frozen=True)
class Event:
    """One thing that happened. ``total`` is the number of steps (kind ``plan``); ``seconds`` how long a step took."""

    kind: Kind
    label: str = ""
    text: str = ""
    total: int = 0
    seconds: float = 0.0


Emit = Callable[[Event], None]

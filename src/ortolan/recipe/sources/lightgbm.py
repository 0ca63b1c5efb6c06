"""``[source] kind = "lightgbm"``: trees that LightGBM has saved."""

from __future__ import annotations

from typing import ClassVar, Literal

from .base import Look, Offer, SourceTable, TimeLimit


class LightGBMSource(SourceTable):
    """A booster as ``save_model`` writes it: text."""

    SUFFIXES: ClassVar[tuple[str, ...]] = (".txt",)
    SAMPLES: ClassVar[int] = 32

    kind: Literal["lightgbm"]
    file: str
    time_limit: TimeLimit = 600

    @classmethod
    def recognise(cls, look: Look) -> Offer | None:
        """By its first two lines. Nothing in such a file is run."""
        if not look.head.replace(b"\r\n", b"\n").startswith(b"tree\nversion=v"):
            return None
        return Offer("a LightGBM model", {"kind": "lightgbm", "file": look.path.name})

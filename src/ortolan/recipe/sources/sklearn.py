"""``[source] kind = "sklearn"``: a fitted scikit-learn estimator or pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ..rules import Mistake, check
from .base import Look, Missing, Offer, SourceTable, TimeLimit

PICKLES = (".pkl", ".pickle", ".joblib")
WHY = "a pickle is code: whoever loads it runs what its author put in"
_PROTOCOLS = (2, 3, 4, 5)  # of pickle, whose files open with 0x80 and the protocol's number


class SklearnSource(SourceTable):
    """A fitted estimator or pipeline in a ``.skops`` file, or in a pickle that is trusted."""

    SUFFIXES: ClassVar[tuple[str, ...]] = (".skops", *PICKLES)
    SAMPLES: ClassVar[int] = 32

    kind: Literal["sklearn"]
    file: str
    trust: bool = Field(default=False, description="run the code that a pickle is, confined: see docs/sources/sklearn.md")
    time_limit: TimeLimit = 600

    @model_validator(mode="after")
    def _trusted(self) -> Self:
        if self.file.lower().endswith(PICKLES):
            check(_untrusted(self.trust))
        return self

    @classmethod
    def recognise(cls, look: Look) -> Offer | None:
        """By what is in it: skops' archive, or the first bytes of a pickle; a compressed pickle by its suffix alone."""
        table: dict[str, Any] = {"kind": "sklearn", "file": look.path.name}
        if "schema.json" in look.members and not look.folder:
            return Offer("a scikit-learn model (skops)", table)
        pickled = look.head[:1] == b"\x80" and look.head[1:2] and look.head[1] in _PROTOCOLS
        named = look.suffix in PICKLES and not look.folder and (look.compressed or not look.amiss[0])
        if named or (pickled and look.suffix not in {".pt", ".pth"}):
            return Offer("a pickle", table, (Missing("[source]\ntrust = true", WHY),))
        return None


def _untrusted(trust: bool) -> Iterator[Mistake]:
    if not trust:
        hint = "Save it with skops.io.dump(model, 'model.skops'); or, if you trust its author, say trust = true."
        yield Mistake(("file",), f"{WHY}, so it is not loaded", hint)

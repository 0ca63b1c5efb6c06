"""``[source] kind = "xgboost"``: trees that XGBoost has saved."""

from __future__ import annotations

import re
from typing import ClassVar, Literal

from .base import Look, Offer, SourceTable, TimeLimit

_JSON = re.compile(rb'\A\s*\{\s*"(?:learner|version|Config)"\s*:')
_UBJ = re.compile(rb"\A\{[iUlL][\x00-\xff]{0,8}?(?:learner|version)", re.DOTALL)


class XGBoostSource(SourceTable):
    """A booster as ``save_model`` writes it: JSON, or UBJSON."""

    SUFFIXES: ClassVar[tuple[str, ...]] = (".json", ".ubj")
    SAMPLES: ClassVar[int] = 32

    kind: Literal["xgboost"]
    file: str
    time_limit: TimeLimit = 600

    @classmethod
    def recognise(cls, look: Look) -> Offer | None:
        """By its first key, in either form. Nothing in such a file is run."""
        if b"learner" not in look.head or not (_JSON.match(look.head) or _UBJ.match(look.head)):
            return None
        return Offer("an XGBoost model", {"kind": "xgboost", "file": look.path.name})

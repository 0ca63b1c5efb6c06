"""How a stage says that its input, not its code, is at fault."""

from __future__ import annotations


class Refused(Exception):
    """A deliberate verdict: ``what`` happened, ``why``, and a ``hint`` for the user. Equal inputs are refused equally."""

    def __init__(self, what: str, *, why: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what, self.why, self.hint = what, why, hint

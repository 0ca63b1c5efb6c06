"""Did you mean …? The nearest of some names, if one is near at all."""

from __future__ import annotations

from collections.abc import Iterable

CUTOFF = 0.62  # difflib's ratio: one slip in a word of three letters, two in one of six


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that ``name`` is most likely a slip of, else an empty text. Case, ``-`` and ``_`` do not count.

    Of equally near ones it is the first.
    """
    from difflib import SequenceMatcher  # noqa: PLC0415 - recipes without mistakes need not pay for it

    matcher = SequenceMatcher(None, b=_plain(name))
    best, near = CUTOFF, ""
    for word in known:
        matcher.set_seq1(_plain(word))
        if (ratio := matcher.ratio()) > best:
            best, near = ratio, word
    return near


def did_you_mean(name: str, known: Iterable[str], *, quote: str = "") -> str:
    """The question for an error's line, or nothing."""
    near = nearest(name, known)
    return f"Did you mean {quote}{near}{quote}?" if near else ""


def _plain(name: str) -> str:
    return name.casefold().replace("-", "_").replace(" ", "_")

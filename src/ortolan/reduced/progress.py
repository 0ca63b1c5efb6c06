"""How far a compilation is, from ninja's own lines, with an estimate of the time that it still takes."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from typing import TextIO

_AT = re.compile(r"^\[(\d+)/(\d+)\]")
_EVERY = 30.0  # seconds between two lines where nobody watches


class Progress:
    """Told each line of ninja's, it shows one line that changes; where the stream is no terminal, one now and then."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream or sys.stderr, clock
        self._begun, self._shown = 0.0, 0.0
        self._first = -1

    def __call__(self, line: str) -> None:
        """Show it, if it tells how far ninja is."""
        found = _AT.match(line)
        if not found or found[1] == "0":  # which is not a number of files yet
            return
        done, total, now = int(found[1]), int(found[2]), self._clock()
        if self._first < 0:
            self._first, self._begun = done, now
        live = self._stream.isatty()
        if live or now - self._shown >= _EVERY or done == total:
            self._shown = now
            text = f"  compiled {done} of {total}{left(done - self._first, total - done, now - self._begun)}"
            print(f"\r{text:<60}" if live else text, file=self._stream, end="" if live and done < total else "\n", flush=True)


def left(done: int, more: int, seconds: float) -> str:
    """In words how long ``more`` files take when ``done`` took ``seconds``; nothing where that cannot be told."""
    if done < 5 or not more:
        return ""
    rest = seconds / done * more
    return f", about {rest / 60:.0f} min more" if rest >= 90 else f", about {rest:.0f} s more"

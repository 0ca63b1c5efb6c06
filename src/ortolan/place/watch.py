"""A watch over a process at the other end of pipes: it is ended when nothing comes from it or goes to it for too long."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable


class Watch:
    """Calls ``end`` once when it is on and there was no ``sign`` for ``patience`` seconds; ``close`` it."""

    def __init__(self, patience: float, end: Callable[[], object]) -> None:
        self.patience, self.expired = patience, False
        self._end, self._due, self._over = end, math.inf, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def on(self, more: float = 0.0) -> None:
        """From now on signs are expected, the first of them within ``more`` seconds beyond the patience."""
        self._due = time.monotonic() + self.patience + more

    def off(self) -> None:
        """From now on somebody else keeps the time."""
        self._due = math.inf

    def sign(self) -> None:
        """Something came or went."""
        if self._due < math.inf:
            self.on()

    def close(self) -> None:
        """There is nothing to watch any more."""
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(min(max(self._due - time.monotonic(), 0.0), self.patience)):
            if time.monotonic() >= self._due:
                self.expired = True
                self._end()
                return

"""How often something that failed for the moment is tried again, and how long to wait in between."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ...errors import OrtolanError

Result = TypeVar("Result")


class Transient(Exception):
    """What another try may cure: ``why`` in words, and the ``wait`` in seconds that the other side asks for, if it does."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.why, self.wait = why, wait


@dataclass(frozen=True)
class Patience:
    """Exponential back-off with jitter: ``first`` seconds, then twice as long each time, never more than ``longest``."""

    tries: int = 6
    first: float = 0.5
    longest: float = 30.0

    def pause(self, failed: int, asked: float | None) -> float:
        """Seconds to wait after ``failed`` tries: at least what the other side asks for, within bounds."""
        backoff: float = min(self.first * 2 ** (failed - 1), self.longest) * random.uniform(0.5, 1)  # noqa: S311 - no secret
        return min(max(backoff, asked or 0), self.longest)


PATIENCE = Patience()


def insist(
    patience: Patience, what: str, attempt: Callable[[], Result], *, progress: Callable[[], int] = int, hint: str = ""
) -> Result:
    """The result of ``attempt``, which is called again when it raises Transient. OrtolanError when it never succeeds.

    Tries count anew whenever ``progress`` has grown beyond all that it was before, so that a long transfer over a poor line ends.
    """
    failed, best = 0, progress()
    while True:
        try:
            return attempt()
        except Transient as error:
            failed, best = (1, progress()) if progress() > best else (failed + 1, best)
            if failed >= patience.tries:
                why = f"{error.why}; tried {failed} times"
                raise OrtolanError(f"{what} failed", why=why, hint=hint or "the same command goes on from here") from error
            time.sleep(patience.pause(failed, error.wait))

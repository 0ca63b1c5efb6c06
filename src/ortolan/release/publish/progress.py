"""Tells how far a transfer is: each file that begins and ends, and large ones now and then in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from ...events import Emit, Event

_TENTHS = 10
_TOLD = 1_000_000  # bytes: smaller files are through before anyone asks
_LARGE = 32 << 20
_MEGA = 1_000_000


def planned(sizes: Iterable[int]) -> Event:
    """How many files there will be to tell about."""
    return Event("plan", total=sum(size >= _TOLD for size in sizes))


@contextmanager
def moving(emit: Emit, name: str, size: int) -> Iterator[Callable[[int], None]]:
    """Around the transfer of one file; call what it gives with the number of bytes that are there. Small files are silent."""
    if size < _TOLD:
        yield lambda _: None
        return
    emit(Event("start", name))
    began, told = time.monotonic(), 0

    def tell(there: int) -> None:
        nonlocal told
        if size >= _LARGE and there * _TENTHS // size > told:
            told = there * _TENTHS // size
            emit(Event("note", name, f"{there / _MEGA:.0f} of {size / _MEGA:.0f} MB"))

    try:
        yield tell
    except BaseException:
        emit(Event("failed", name))
        raise
    emit(Event("done", name, seconds=time.monotonic() - began))

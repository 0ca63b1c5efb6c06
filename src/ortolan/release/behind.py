"""Work on a stream beside its reader: hashing and compression overlap, and what waits in memory is bounded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from queue import Queue
from threading import Thread
from types import TracebackType
from typing import Generic, Self, TypeVar

from .tarball import Contents

Item = TypeVar("Item")
AHEAD = 4
"""So many items wait at most: with pieces of 1 MiB, 4 MiB for each worker."""


class Behind(Generic[Item]):
    """Calls ``work`` with each item in a thread of its own, in order, a few items behind whoever hands them over.

    Leaving the ``with`` block waits for the last item. What ``work`` raises is raised to whoever hands over the next item, or
    at the end of the block.
    """

    def __init__(self, work: Callable[[Item], object]) -> None:
        self._work = work
        self._queue: Queue[tuple[Item] | None] = Queue(AHEAD)
        self._thread = Thread(target=self._run, daemon=True)
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __call__(self, item: Item) -> None:
        """Hand over an item; waits while too many are ahead of it."""
        if self._error:
            raise self._error
        self._queue.put((item,))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._error = self._error or error  # what still waits need not be done
        self._queue.put(None)
        self._thread.join()
        if self._error and not error:
            raise self._error

    def _run(self) -> None:
        while item := self._queue.get():
            if not self._error:
                self._do(item[0])

    def _do(self, item: Item) -> None:
        try:
            self._work(item)
        except BaseException as error:  # noqa: BLE001  it is raised in the thread that hands over
            self._error = error


class Sum:
    """The sha256 and the size of a stream that comes in pieces."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.size = 0

    def add(self, piece: bytes) -> None:
        """The next piece."""
        self._hash.update(piece)
        self.size += len(piece)

    @property
    def digest(self) -> str:
        """``sha256:...`` of all pieces so far."""
        return "sha256:" + self._hash.hexdigest()


class Told:
    """A stream that tells each piece which is read from it."""

    def __init__(self, stream: Contents, tell: Callable[[bytes], object]) -> None:
        self._stream, self._tell = stream, tell

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes, none at the end."""
        piece = self._stream.read(size)
        self._tell(piece)
        return piece

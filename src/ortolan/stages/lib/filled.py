"""Fills a file at several places at a time, and hashes it from its start as it grows. A few pieces are in memory."""

from __future__ import annotations

import errno
import hashlib
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from .external import Range, shorter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Write = Callable[[int, int], None]
"""Writes some bytes to a file that is open under a number, from an offset on."""

_THREADS = min(4, os.cpu_count() or 1)
_HASHED = 2**20  # bytes at a time
_NOT_HERE = frozenset({errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM})
"""Why the system would not copy by itself: other disks, an old kernel, a file system that cannot, a container that forbids it."""


class Filled:
    """A new file, which is filled by ``at``, from its start to its end; what lies between two writes is zeros.

    Use it in a ``with`` block. OSError as the writes raise it.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b", buffering=0)
        self._pool = ThreadPoolExecutor(_THREADS)
        self._running: deque[tuple[int, Future[None]]] = deque()
        self._sha, self._end = hashlib.sha256(), 0

    def at(self, offset: int, length: int, write: Write) -> None:
        """Have ``write`` fill ``length`` bytes from ``offset`` on, in a thread. Offsets grow from call to call."""
        if len(self._running) >= 2 * _THREADS:
            self._take()
        self._running.append((offset + length, self._pool.submit(write, self._file.fileno(), offset)))

    def digest(self) -> str:
        """Wait for all writes; the digest of the file's bytes, read back from it."""
        while self._running:
            self._take()
        return "sha256:" + self._sha.hexdigest()

    def _take(self) -> None:
        """Wait for the first write, and hash up to its end."""
        end, done = self._running.popleft()
        done.result()
        while self._end < end:
            piece = os.pread(self._file.fileno(), min(_HASHED, end - self._end), self._end)
            self._sha.update(piece)
            self._end += len(piece)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._file.close()


def put(data: bytes | memoryview) -> Write:
    """Writes these bytes."""
    return partial(_put, data)


def copy(where: Range) -> Write:
    """Copies a range of another file; the system does it where it can, without a way through this process."""
    return partial(_copy, where)


def convert(where: Range, old: np.dtype[Any], new: np.dtype[Any]) -> Write:
    """Writes the values of a range of another file in another type."""
    return partial(_convert, where, old, new)


def turned(values: NDArray[Any], kind: np.dtype[Any]) -> NDArray[Any]:
    """Values in another type, infinite where they are too large for it."""
    import numpy as np

    with np.errstate(over="ignore"):
        return values.astype(kind)


def _put(data: bytes | memoryview, file: int, offset: int) -> None:
    left = memoryview(data)
    while left:
        done = os.pwrite(file, left, offset)
        left, offset = left[done:], offset + done


def _convert(where: Range, old: np.dtype[Any], new: np.dtype[Any], file: int, offset: int) -> None:
    import numpy as np

    _put(turned(np.frombuffer(where.read(), old), new).tobytes(), file, offset)


def _copy(where: Range, file: int, offset: int) -> None:
    with where.path.open("rb", buffering=0) as stream:
        done = 0
        while done < where.length:
            copied = _by_system(stream.fileno(), file, where.length - done, where.offset + done, offset + done)
            if copied is None:
                _put(where.read(), file, offset)
                return
            if not copied:
                raise shorter(where.path)
            done += copied


def _by_system(source: int, file: int, length: int, at: int, offset: int) -> int | None:
    """How many bytes the system copied; None where it does not do such things."""
    try:
        return os.copy_file_range(source, file, length, at, offset)
    except AttributeError:
        return None
    except OSError as error:
        if error.errno in _NOT_HERE:
            return None
        raise

"""Tells what is wrong with the machine (no memory, no disk) from what is wrong with the input: only the latter is a verdict."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Iterator

_CODES = {
    getattr(errno, name)
    for name in (
        "ENOSPC", "EDQUOT", "EIO", "ENOMEM", "EMFILE", "ENFILE", "EAGAIN", "EINTR", "EBUSY", "EROFS", "ESTALE", "ENOBUFS",
    )
    if hasattr(errno, name)
}  # fmt: skip
_KINDS = (MemoryError, ConnectionError, TimeoutError)
# what C++ libraries put into errors of their own: std::bad_alloc, strerror, ONNX Runtime's and PyTorch's allocators
_WORDS = re.compile(
    r"bad_alloc|allocate memory|out of memory|not enough memory|no space left|disk quota exceeded|too many open files"
    r"|input/output error|resource temporarily unavailable",
    re.IGNORECASE,
)
LEAST = 2**20


def reraise_if_transient(error: BaseException, room: int = LEAST) -> None:
    """Raise what may go better next time, so that it ends the step as a crash, which is not stored; else return.

    Call it first wherever an error of any type becomes a ``Refused`` or a fact. Raised is ``error``, or the transient one that
    it came from; or an ``OSError`` where the current folder has less than ``room`` bytes free, since C++ libraries drop the
    reason: give what a tool needs that has removed its own files by now.
    """
    for each in _chain(error):
        if _is_transient(each):
            raise each
    disk = shutil.disk_usage(".")
    if disk.total and disk.free < room:
        why = f"No space left where the step runs: {disk.free:,} bytes, and {room:,} may be needed; first seen as {error!r}"
        raise OSError(errno.ENOSPC, why) from error


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and all that it came from, ``from None`` or not."""
    waiting = [error]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop(0)
        if id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += [other for other in (each.__cause__, each.__context__) if other is not None]


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, _KINDS) or (isinstance(error, OSError) and error.errno in _CODES) or bool(_WORDS.search(str(error)))

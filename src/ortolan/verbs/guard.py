"""Run a verb so that whatever goes wrong is a message and an exit code, never a traceback."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from invoke.exceptions import Exit

from ..errors import OrtolanError

_INTERRUPTED, _NOBODY_READS = 130, 141  # 128 and the signal, as shells say it: SIGINT, SIGPIPE


@contextmanager
def guard() -> Iterator[None]:
    """Exit with the error's own code, 130 after Ctrl-C, 141 when the output's reader has gone, 1 for the system's errors."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without × or ≤ shows a question mark
    try:
        yield
        sys.stdout.flush()
    except OrtolanError as error:
        raise _ended(str(error), error.exit_code) from error
    except KeyboardInterrupt:
        print("stopped: nothing half-made was left; the next build goes on from here", file=sys.stderr)
        raise Exit(code=_INTERRUPTED) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still in the buffer goes nowhere
        raise Exit(code=_NOBODY_READS) from None
    except OSError as error:
        raise _ended(": ".join(str(part) for part in (error.filename, error.strerror) if part) or str(error), 1) from error


def _ended(message: str, code: int) -> Exit:
    print(f"error: {message}", file=sys.stderr)
    return Exit(code=code)


def count(option: str, text: str) -> int:
    """A number of 1 or more from the command line; 0 where it is not given. OrtolanError for anything else."""
    if text and not (text.isdecimal() and int(text)):
        raise OrtolanError(f"{option} wants a number, 1 or more, not '{text}'", hint=f"{option} 2")
    return int(text or 0)

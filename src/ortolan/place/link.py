"""One worker on a host: frames to it and from it. The worker is sent when the host has none of this digest."""

from __future__ import annotations

import binascii
import errno
import hashlib
import json
import shlex
import struct
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import IO, Any

from .connection import LOST, HostError, Line, last_line
from .watch import Watch

_WORKER = Path(__file__).parent / "remote" / "worker.py"
_CHUNK = 1 << 18
_NOISE = 1 << 16
"""Bytes that a host's shell may print of its own before the worker speaks."""
_MARK = b"\0ortolan\0"
_BOOT = """
import hashlib, os, struct, sys
def take(size):
    data = b""
    while len(data) < size:
        piece = os.read(0, size - len(data))
        if not piece:
            raise SystemExit(1)
        data += piece
    return data
cache = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "ortolan-worker")
path, source, pending = os.path.join(cache, "worker-" + WANTED[:16] + ".py"), b"", b""
try:
    os.makedirs(cache, 0o700, exist_ok=True)
    if os.path.exists(path):
        with open(path, "rb") as stream:
            source = stream.read()
    if hashlib.sha256(source).hexdigest() == WANTED:
        os.write(1, MARK + b"!")
    else:
        os.write(1, MARK + b"?")
        head = take(4)
        pending, source = head + take(struct.unpack(">I", head)[0]), take(SIZE)
        with open(path + "." + str(os.getpid()), "wb") as stream:
            stream.write(source)
        os.replace(path + "." + str(os.getpid()), path)
except OSError as error:
    sys.exit("ortolan: cannot write %s: %s" % (cache, error.strerror))
exec(compile(source, path, "exec"), {"__name__": "__main__", "PENDING": pending, "CACHE": cache})
"""
"""Runs the worker that the host has, or the one that follows the request."""
_OLD = "ortolan: Python %s is too old, 3.8 or newer is needed"
_START = "import sys,binascii;sys.version_info<(3,8)and sys.exit({old!r}%sys.version[:6]);exec(binascii.unhexlify({packed!r}))"
"""Also a program for the Python that is too old."""
FULL = (errno.ENOSPC, errno.EDQUOT)
_FREE = "free some space on the device: ~/.cache/ortolan-worker may be removed at any time"
_MAY = "its user must be able to write there: look at the owner and the rights of ~/.cache and what is in it"
_HINTS = {
    **dict.fromkeys(FULL, _FREE),
    **dict.fromkeys((errno.EACCES, errno.EPERM), _MAY),
    errno.EROFS: "its disk is read-only: mount it for writing; a device does that by itself when its disk fails (dmesg)",
}
"""What to do about what a worker could not write, by the number of the error."""


class Link:
    """A worker that was started with ``request``; ``end`` it.

    Without a sign of it for ``patience`` seconds its ``watch`` ends it, and what waits for it raises HostError.
    """

    def __init__(self, connection: Line, python: str, patience: float) -> None:
        self._connection, self._program = connection, ""
        self.process, self._errors = connection.start(_command(python))
        self._to, self._from = _pipes(self.process)
        self.watch = Watch(patience, self.process.kill)

    def open(self, request: Mapping[str, Any]) -> None:
        """Send the request, and before it is answered the worker where there is none. HostError."""
        self._program = request["command"][0]
        self.watch.on()
        self.send(request)
        if self._greeted() == b"?":
            self._write(_source())

    def send(self, header: Mapping[str, Any], pieces: Iterable[bytes] = ()) -> None:
        """A frame. What a worker that has ended does not read is dropped: what it said last is still to be received."""
        data = json.dumps(header).encode()
        if self._write(struct.pack(">I", len(data)) + data):
            for piece in pieces:
                if not self._write(piece):
                    return

    def _write(self, data: bytes) -> bool:
        try:
            self._to.write(data)
            self._to.flush()
        except (BrokenPipeError, ValueError):
            return False
        self.watch.sign()
        return True

    def receive(self) -> dict[str, Any]:
        """The next header. HostError when the worker has ended, or says what failed there."""
        (length,) = struct.unpack(">I", b"".join(self.pieces(4)))
        header: dict[str, Any] = json.loads(b"".join(self.pieces(length)))
        if "error" in header:
            raise self._told(header)
        return header

    def pieces(self, size: int) -> Iterator[bytes]:
        """The bytes that follow a header."""
        while size:
            piece = self._from.read(min(size, _CHUNK))
            if not piece:
                raise self._failed()
            self.watch.sign()
            size -= len(piece)
            yield piece

    def end(self) -> None:
        """End ssh, and by its closed pipe the worker and what it runs."""
        self.watch.close()
        self.process.kill()
        for pipe in (self._to, self._from):
            try:
                pipe.close()
            except OSError:
                continue
        self.process.wait()
        self._errors.unlink(missing_ok=True)

    def _greeted(self) -> bytes:
        """The worker's first byte, after whatever the host's shell prints."""
        seen = b""
        while not seen.endswith((_MARK + b"?", _MARK + b"!")):
            byte = self._from.read(1)
            if not byte:
                raise self._failed(seen.decode(errors="replace"))
            self.watch.sign()
            seen = (seen + byte)[-_NOISE:]
        return seen[-1:]

    def _failed(self, printed: str = "") -> HostError:
        """Of a worker that ended; without errors of its own, what the host's shell ``printed`` in its place says why."""
        try:
            code = self.process.wait(10)
        except subprocess.TimeoutExpired:
            code = LOST
        said = (self._errors.read_text(errors="replace") if self._errors.exists() else "").strip() or printed
        return self._hung(said) if self.watch.expired else self._connection.failed(code, said)

    def _hung(self, said: str) -> HostError:
        """Of a host that takes the connection and then does nothing more."""
        address = self._connection.address
        return HostError(
            f"nothing came from it for {self.watch.patience:g} s, and the link was ended", where=address, why=last_line(said),
            hint=f"does ssh {address} true end at once? A disk that hangs there does this, and a start-up file that waits",
        )  # fmt: skip

    def _told(self, header: Mapping[str, Any]) -> HostError:
        """The error of a worker that could not go on."""
        error, where, number = str(header["error"]), str(header["where"]), header["number"]
        what, hint = f"cannot write {where}: {error}", _HINTS.get(number, "")
        if where == self._program and number:
            what, hint = f"cannot start {where}: {error}", "is it there, and may it be executed? --python names another one"
        elif not number:  # what arrived is not what was sent
            what, hint = error, "run it again: it is sent anew. If that goes on, the device's memory or disk is damaged"
        elif not hint:
            what, hint = f"{where}: {error}", "see what the device's system says of it: dmesg, df"
        why = f"{header['free'] / 1_000_000:.1f} MB are free there" if number in FULL else ""
        return HostError(what, where=self._connection.address, why=why, hint=hint)


@cache
def _source() -> bytes:
    return _WORKER.read_bytes()


@cache
def _command(python: str) -> str:
    """A line that every usual shell takes: a home folder is left to it, all else is quoted."""
    home, rest = ("~/", python[2:]) if python.startswith("~/") else ("", python)
    constants = f"WANTED={hashlib.sha256(_source()).hexdigest()!r};SIZE={len(_source())};MARK={_MARK!r}\n"
    packed = binascii.hexlify((constants + _BOOT).encode()).decode()
    program = _START.format(old=_OLD, packed=packed).replace("'", '"')
    return f"exec {home}{shlex.quote(rest)} -E -s -S -c '{program}'"


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    if process.stdin is None or process.stdout is None:
        raise ValueError
    return process.stdin, process.stdout

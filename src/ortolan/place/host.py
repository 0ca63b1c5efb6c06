"""A host, most often over ssh: commands with files by digest, their outputs, and an end to all of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self

from .. import digest
from ..errors import StepError
from .connection import Connection, HostError, Line
from .link import Link

PYTHON = "{python}"
"""Stands in a command for the interpreter that the host was named with."""
LIFELINE = "{lifeline}"
"""Stands in a command for the number of a pipe that closes when the worker ends."""
FOLDER = "{folder}"
"""Stands in the environment for the folder that the command runs in."""
_SILENCE = 60.0
"""Seconds without a sign of life from here after which the host ends what it runs."""
_GRACE = 60.0
"""Seconds beyond a time limit in which the host should have said so."""
_PATIENCE = 60.0
"""Seconds without a sign of the host, outside of a command's own time, after which it counts as hanging."""
_READS = 5_000_000
"""Bytes that the slowest disk of a device reads in a second: it looks whether what it has is whole before it answers."""
_CHUNK = 1 << 18


@dataclass(frozen=True)
class Errand:
    """A command for a host: ``files`` by their paths there, the names of what comes back.

    ``stdout`` is the file of its standard output, ``log.txt`` has its errors. Without ``environment`` it gets the user's there.
    """

    command: Sequence[str]
    files: Mapping[str, Path]
    limit: float
    outputs: Sequence[str] = ("log.txt",)
    folders: Sequence[str] = ()
    environment: Mapping[str, str] | None = None
    stdout: str = "log.txt"


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (negative: the signal), and whether it was ended by its time limit."""

    code: int
    late: bool


class Host:
    """A host by its address; ``python`` is any interpreter there from 3.8 on, by name or path. Close it, or use ``with``.

    Without another ``connection`` it is reached by ssh. ``emulates`` is what it is an emulation of, in words: then how long
    something takes there says nothing.
    """

    def __init__(
        self, address: str, python: str = "python3", *, silence: float = _SILENCE, patience: float = _PATIENCE,
        sessions: int = 4, connection: Line | None = None, emulates: str = "",
    ) -> None:  # fmt: skip
        self.connection: Line = connection or Connection(address)
        self.address, self.emulates, self._python = address, emulates, python
        self._silence, self._patience = silence, patience
        self._links: set[Link] = set()
        self._guard = threading.Lock()
        self._room = threading.Semaphore(sessions)  # sshd takes ten for each connection, and a device has few processors
        self._stopped = False
        self._interpreter = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def run(self, errand: Errand, to: Path) -> Ended:
        """Run a command there; its outputs are written below ``to``. HostError; StepError when ``stop`` ended it."""
        try:
            with self._room, ExitStack() as stack:
                with self.connection.turn():
                    link = stack.enter_context(self._link())
                    paths = self._opened(link, errand)
                return self._carried_out(link, errand, paths, to)
        except HostError:
            if self._stopped:
                raise StepError("was stopped") from None
            raise

    def interpreter(self) -> Path:
        """The host's interpreter by its whole path. HostError."""
        if not self._interpreter:
            self.run(Errand((PYTHON, "-c", ""), {}, 60.0, ()), Path())
        return Path(self._interpreter)

    def stopped(self) -> bool:
        """Whether ``stop`` was called."""
        return self._stopped

    def stop(self) -> None:
        """End every running command, and refuse to start others."""
        with self._guard:
            self._stopped = True
            for link in self._links:
                link.process.kill()

    def close(self) -> None:
        """End the connection."""
        self.stop()
        self.connection.close()

    @contextmanager
    def _link(self) -> Iterator[Link]:
        with self._guard:
            if self._stopped:
                raise StepError("was stopped")
            link = Link(self.connection, self._python, self._patience)
            self._links.add(link)
        try:
            yield link
        finally:
            with self._guard:
                self._links.discard(link)
            link.end()

    def _opened(self, link: Link, errand: Errand) -> dict[str, Path]:
        """Ask for a command while ssh connects; the files by digest."""
        digests = {name: digest.of_file(path).partition(":")[2] for name, path in errand.files.items()}
        link.open(
            {
                "files": {name: [digests[name], path.stat().st_size] for name, path in errand.files.items()},
                "command": [str(word) for word in errand.command],
                "limit": errand.limit,
                "outputs": list(errand.outputs),
                "folders": list(errand.folders),
                "environment": errand.environment,
                "stdout": errand.stdout,
                "silence": self._silence,
            }
        )
        return {digests[name]: path for name, path in errand.files.items()}

    def _carried_out(self, link: Link, errand: Errand, paths: Mapping[str, Path], to: Path) -> Ended:
        link.watch.on(sum(path.stat().st_size for path in paths.values()) / _READS)
        answer = link.receive()
        self._interpreter = str(answer["python"])
        _send(link, answer["missing"], paths)
        link.watch.off()
        header = self._waited(link, errand.limit)
        link.watch.on()
        if header.get("full") and header["ended"]:
            raise HostError("the disk is full there", where=self.address, hint="free some space on the device")
        _take(link, errand.outputs, to)
        return Ended(int(header["ended"]), bool(header["late"]))

    def _waited(self, link: Link, limit: float) -> dict[str, Any]:
        """The header that says how the command ended; meanwhile the worker is told that somebody waits."""
        over, overdue = threading.Event(), threading.Event()

        def tell() -> None:
            waited = 0.0
            while not over.wait(self._silence / 4):
                waited += self._silence / 4
                link.send({"alive": True})
                if waited > limit + _GRACE:
                    overdue.set()
                    link.process.kill()

        teller = threading.Thread(target=tell, daemon=True)
        teller.start()
        try:
            return link.receive()
        except HostError:
            if overdue.is_set():
                raise HostError("it gave no answer within the time limit", where=self.address) from None
            raise
        finally:
            over.set()
            teller.join()


def _send(link: Link, missing: Mapping[str, int], paths: Mapping[str, Path]) -> None:
    """The files that are missing there, each from the byte on that it lacks."""
    for name, have in missing.items():
        path = paths[name]
        link.send({"digest": name, "size": path.stat().st_size - have}, _pieces(path, have))


def _pieces(path: Path, start: int) -> Iterator[bytes]:
    with path.open("rb") as stream:
        stream.seek(start)
        yield from iter(lambda: stream.read(_CHUNK), b"")


def _take(link: Link, wanted: Sequence[str], to: Path) -> None:
    """Write what comes below ``to``. HostError for a path that was not asked for: the device is not trusted with others."""
    while not (header := link.receive()).get("done"):
        path = PurePosixPath(header["path"])
        if path.is_absolute() or ".." in path.parts or not {str(path), *map(str, path.parents)} & set(wanted):
            raise HostError(f"the host sends {str(path)!r}, which was not asked for", where=str(to))
        (to / path).parent.mkdir(parents=True, exist_ok=True)
        with (to / path).open("wb") as stream:
            for piece in link.pieces(header["size"]):
                stream.write(piece)

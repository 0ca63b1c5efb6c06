"""The far end of an ssh place: takes files by digest, runs one command on them, sends back what it left. Needs Python 3.8 alone.

It speaks on standard input and output in frames: the length of a header (4 bytes), the header (JSON), and as many bytes as the
header's ``size`` says. The client sends a request; this answers with the digests that it lacks; the client sends those; the
command runs; its outputs go back. Whoever closes standard input, or says nothing for ``silence`` seconds, ends the command.

``<cache>/ortolan-worker/objects/<sha256>`` holds each file once, checked when it came and again when its time or size changed;
``jobs/`` holds a folder for each running command, named by where it runs and the process that made it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import select
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence

CHUNK = 1 << 18
UNUSED = 14 * 86400.0
"""Seconds after which an object that no command wanted is removed, and a job's folder of which nobody here can know more."""
ROOM = 500_000
"""Bytes: less is a full disk."""


class Gone(Exception):
    """Nobody is at the other end any more."""


class Wire:
    """Frames on two file descriptors."""

    def __init__(self, source: int, sink: int, silence: float) -> None:
        self.source, self.sink, self.silence, self.pending = source, sink, silence, b""

    def pieces(self, size: int) -> Iterator[bytes]:
        """The next ``size`` bytes, in pieces. Gone."""
        while size:
            piece = self._piece(min(size, CHUNK))
            size -= len(piece)
            yield piece

    def _piece(self, most: int) -> bytes:
        if self.pending:
            piece, self.pending = self.pending[:most], self.pending[most:]
            return piece
        if not select.select([self.source], [], [], self.silence)[0]:
            raise Gone
        piece = os.read(self.source, most)
        if not piece:
            raise Gone
        return piece

    def receive(self) -> dict[str, Any]:
        """The next header."""
        (length,) = struct.unpack(">I", b"".join(self.pieces(4)))
        header: dict[str, Any] = json.loads(b"".join(self.pieces(length)).decode())
        return header

    def send(self, header: Mapping[str, Any]) -> None:
        """A header; the bytes that it speaks of follow by ``write``."""
        data = json.dumps(header).encode()
        self.write(struct.pack(">I", len(data)) + data)

    def write(self, data: bytes) -> None:
        """All of it. Gone."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self.sink, view) :]
        except BrokenPipeError:
            raise Gone from None


# --- files by digest ------------------------------------------------------------------------------------------------


class Objects:
    """A folder of files named by their sha256; beside each its size and time as they were when it was checked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def has(self, digest: str) -> bool:
        """Whether the object is here and whole; a damaged one is removed."""
        path, note = self.folder / digest, self.folder / (digest + ".json")
        try:
            same = json.loads(note.read_text()) == _stamp(path)
        except (OSError, ValueError):
            same = False
        if not same and not self._checked(path, digest):
            return False
        if not same:
            note.write_text(json.dumps(_stamp(path)))
        os.utime(str(note))
        return True

    def _checked(self, path: Path, digest: str) -> bool:
        try:
            with path.open("rb") as stream:
                found = _hashed(stream)
        except OSError:
            return False
        if found.hexdigest() != digest:
            path.unlink()
        return bool(found.hexdigest() == digest)

    def keep(self, part: Path, digest: str) -> None:
        """Take over a file whose digest was just seen."""
        part.rename(self.folder / digest)
        (self.folder / (digest + ".json")).write_text(json.dumps(_stamp(self.folder / digest)))

    def prune(self) -> None:
        """Remove what nobody wanted for long, and what a killed transfer left."""
        for path in list(self.folder.iterdir()):
            note = self.folder / (path.name.split(".")[0] + ".json")
            last = note if note.exists() else path
            try:
                if _old(last):
                    path.unlink()
            except OSError:
                continue  # another worker was faster


def _stamp(path: Path) -> list[int]:
    about = path.stat()
    return [about.st_size, about.st_mtime_ns]


def _hashed(stream: Any) -> Any:
    found = hashlib.sha256()
    for piece in iter(lambda: stream.read(CHUNK), b""):
        found.update(piece)
    return found


class Incoming:
    """One file on its way: ``have`` bytes of it came before the link was cut, and need not come again."""

    def __init__(self, objects: Objects, digest: str, size: int) -> None:
        self.objects, self.digest, self.size = objects, digest, size
        self.part = objects.folder / (digest + ".part")
        self.stream = self.part.open("a+b")
        try:
            fcntl.flock(self.stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # another worker receives the same file: this one goes to a name of its own
            self.stream.close()
            self.part = objects.folder / f"{digest}.{os.getpid()}.part"
            self.stream = self.part.open("w+b")
        self.stream.seek(0)
        self.hash = _hashed(self.stream)
        self.have = self.stream.tell()
        if self.have > size:
            self._again()

    def _again(self) -> None:
        self.stream.seek(0)
        self.stream.truncate()
        self.hash, self.have = hashlib.sha256(), 0

    def take(self, pieces: Iterator[bytes]) -> None:
        """Write the rest, and keep the file if it is what it says. ValueError; OSError when the disk is full."""
        try:
            for piece in pieces:
                self.hash.update(piece)
                self.stream.write(piece)
            self.stream.flush()
        except OSError:
            self.part.unlink()  # a full disk is no place for half a file
            raise
        if self.hash.hexdigest() != self.digest:
            self.part.unlink()
            raise ValueError(f"what arrived as {self.digest} has the digest {self.hash.hexdigest()}")
        self.objects.keep(self.part, self.digest)
        self.stream.close()


def receive(wire: Wire, objects: Objects, files: Mapping[str, Sequence[Any]]) -> None:
    """Say which of the files are missing, and take them; ``files`` is ``{path: [digest, size]}``."""
    sizes = {digest: int(size) for digest, size in files.values()}
    coming = {digest: Incoming(objects, digest, size) for digest, size in sizes.items() if not objects.has(digest)}
    wire.send({"python": sys.executable, "missing": {digest: one.have for digest, one in coming.items()}})
    for _ in coming:
        header = wire.receive()
        coming[header["digest"]].take(wire.pieces(header["size"]))


# --- one command ----------------------------------------------------------------------------------------------------


def fill(job: Path, objects: Objects, files: Mapping[str, Sequence[Any]]) -> None:
    """Make the files of the job; they share their bytes with the objects where the file system can do that."""
    for name, (digest, _) in files.items():
        path = job / name
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(str(objects.folder / digest), str(path))
        except OSError:
            shutil.copyfile(str(objects.folder / digest), str(path))


def start(job: Path, request: Mapping[str, Any], lifeline: int) -> subprocess.Popen[bytes]:
    """The command in a process group of its own. It gets the number of a pipe that closes when this process ends."""
    given: Mapping[str, str] | None = request["environment"]
    environment = {key: value.replace("{folder}", str(job)) for key, value in given.items()} if given is not None else None
    command = [sys.executable if one == "{python}" else one.replace("{lifeline}", str(lifeline)) for one in request["command"]]
    for name in request["folders"]:
        (job / name).mkdir(parents=True, exist_ok=True)
    with (job / "log.txt").open("wb") as log, (job / request["stdout"]).open("ab") as out:
        return subprocess.Popen(
            command, cwd=str(job), env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=log,
            start_new_session=True, pass_fds=(lifeline,),
        )  # fmt: skip


def watch(process: subprocess.Popen[bytes], wire: Wire, limit: float) -> bool:
    """Wait for the command; whether it went over its limit. Gone when the client did."""
    ended, tell = os.pipe()
    threading.Thread(target=lambda: (process.wait(), os.write(tell, b"x")), daemon=True).start()
    late, heard = time.monotonic() + limit, time.monotonic()
    while True:
        patience = min(late, heard + wire.silence) - time.monotonic()
        ready = select.select([ended, wire.source], [], [], max(0.0, patience))[0]
        if ended in ready:
            return False
        if wire.source in ready:
            wire.receive()  # a sign of life
            heard = time.monotonic()
        elif time.monotonic() >= late:
            return True
        elif time.monotonic() >= heard + wire.silence:
            raise Gone


def kill(process: subprocess.Popen[bytes]) -> int:
    """End the command and all that it started; its exit code."""
    with contextlib.suppress(OSError):  # it has ended already
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def outputs(job: Path, wanted: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """The wanted files, and the files in wanted folders; links are left out."""
    for name in wanted:
        top = job / name
        found = sorted(top.rglob("*")) if top.is_dir() and not top.is_symlink() else [top]
        for path in found:
            if path.is_file() and not path.is_symlink():
                yield path.relative_to(job).as_posix(), path


def send(wire: Wire, job: Path, wanted: Sequence[str]) -> None:
    """Each file as a frame."""
    for name, path in outputs(job, wanted):
        with path.open("rb") as stream:
            left = os.fstat(stream.fileno()).st_size
            wire.send({"path": name, "size": left})
            while left:
                piece = stream.read(min(left, CHUNK))
                if not piece:
                    raise Gone  # it shrank: what was promised cannot be sent
                wire.write(piece)
                left -= len(piece)


def run(wire: Wire, cache: Path, request: Mapping[str, Any]) -> None:
    """Everything from a request to its outputs; the job's folder is gone afterwards."""
    objects = Objects(cache / "objects")
    receive(wire, objects, request["files"])
    (cache / "jobs").mkdir(exist_ok=True)
    sweep(cache / "jobs", here())
    job = cache / "jobs" / f"{here()}-{os.getpid()}-{os.urandom(4).hex()}"
    job.mkdir(mode=0o700)
    try:
        fill(job, objects, request["files"])
        code, late = carry_out(wire, job, request)
        wire.send({"ended": code, "late": late, "full": shutil.disk_usage(str(job)).free < ROOM})
        send(wire, job, request["outputs"])
    finally:
        shutil.rmtree(str(job), ignore_errors=True)
    objects.prune()
    wire.send({"done": True})


def carry_out(wire: Wire, job: Path, request: Mapping[str, Any]) -> tuple[int, bool]:
    """Run the command: its exit code, and whether it went over its limit."""
    lifeline, ours = os.pipe()
    process = start(job, request, lifeline)
    try:
        late = watch(process, wire, float(request["limit"]))
    finally:
        code = kill(process)
        os.close(lifeline)
        os.close(ours)
    return code, late


def here() -> str:
    """Where a process number means something: this boot of this machine, and the container; devices may share a home folder."""
    told = [platform.node()]
    with contextlib.suppress(OSError):  # other systems than Linux
        told += [Path("/proc/sys/kernel/random/boot_id").read_text(), os.readlink("/proc/self/ns/pid")]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:12]


def sweep(jobs: Path, mine: str) -> None:
    """Remove the folders of workers that were killed here, and those from elsewhere that are old: of earlier boots, too."""
    for folder in list(jobs.iterdir()):
        where, owner = (*folder.name.split("-"), "", "")[:2]
        try:
            ended = not _alive(int(owner)) if where == mine and owner.isdigit() else _old(folder)
        except OSError:
            continue  # another worker was faster
        if ended:
            shutil.rmtree(str(folder), ignore_errors=True)


def _old(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > UNUSED


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def main(pending: bytes, cache: Path) -> int:
    """Serve one request, of which ``pending`` has been read already; what fails is told, unless nobody listens."""
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(1))  # by way of all that cleans up
    wire = Wire(0, 1, 60.0)
    wire.pending = pending
    try:
        request = wire.receive()
        wire.silence = float(request["silence"])
        run(wire, cache, request)
    except Gone:
        return 1
    except (OSError, ValueError) as error:
        return _told(wire, cache, error)
    return 0


def _told(wire: Wire, cache: Path, error: Exception) -> int:
    why = str(getattr(error, "strerror", None) or error)
    where = str(getattr(error, "filename", None) or cache)
    try:
        wire.send(
            {
                "error": why,
                "where": where,
                "number": getattr(error, "errno", None) or 0,
                "free": shutil.disk_usage(str(cache)).free,
            }
        )
    except (Gone, OSError):
        return 1
    return 1


if __name__ == "__main__":
    sys.exit(main(globals()["PENDING"], Path(globals()["CACHE"])))

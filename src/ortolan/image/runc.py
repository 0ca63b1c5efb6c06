"""Starts the files of an image with runc: read-only root, no capabilities, and a network that has nothing but loopback."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from .parts import STRANGE, CannotStart, Wanted, last_lines, strange

PROGRAM = "runc"
_STOP, _BEGIN = 10.0, 30.0  # seconds to end after SIGTERM, and to begin
_NEWNET = 0x40000000  # CLONE_NEWNET of sched.h
_DEVICES = {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755"]}
_MOUNTS = [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    _DEVICES,
    {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777"]},  # noqa: S108
    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
]
_SPACES = ("pid", "ipc", "uts", "mount", "network")


def check(wanted: Wanted) -> None:
    """CannotStart where no start could say anything about the image."""
    if wanted.nvidia:
        raise CannotStart("GPUs are started through Docker only", hint="use a Docker engine with the NVIDIA container toolkit")
    if os.geteuid():
        raise CannotStart("starting a container beside buildah needs root", hint="sudo, or a Docker engine")
    if not shutil.which(PROGRAM):
        raise CannotStart("there is no runc to start it with", hint="apt-get install runc")


@contextmanager
def start(root: Path, config: Mapping[str, Any], wanted: Wanted) -> Iterator[Running]:
    """Run the image's entry point on ``root``, its files."""
    with tempfile.TemporaryDirectory(prefix="ortolan-") as scratch:
        bundle = Path(scratch)
        (bundle / "config.json").write_text(json.dumps(_specification(root, config)))
        log = bundle / "log.txt"
        with log.open("wb") as stream:
            process = subprocess.Popen(  # noqa: S603  the system's runc
                _command(bundle, "run", "--bundle", str(bundle)), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
            )
        running = Running(bundle, process, log, wanted.port)
        try:
            running.await_begin(wanted)
            yield running
            if STRANGE in running.log().lower():
                raise strange(wanted.platform)
        finally:
            _call(bundle, "delete", "--force")
            process.wait()


class Running:
    """A container of runc's; its name is that of its bundle's folder."""

    how = "runc: read-only root, no capabilities, no network"

    def __init__(self, bundle: Path, process: subprocess.Popen[bytes], log: Path, port: int) -> None:
        self._bundle, self._process, self._log, self._port = bundle, process, log, port
        self._first = 0

    @property
    def enter(self) -> Sequence[str]:
        """Nothing but a process in its network can reach it."""
        return ("nsenter", "--net", "--target", str(self._first), "--")

    def await_begin(self, wanted: Wanted) -> None:
        """Wait until runc has started it."""
        until = time.monotonic() + _BEGIN
        while time.monotonic() < until and self._process.poll() is None:
            state = _call(self._bundle, "state")
            told = json.loads(state.stdout) if not state.returncode else {}
            if told.get("status") == "running":
                self._first = int(told["pid"])
                return
            time.sleep(0.05)
        said = self.log()
        if STRANGE in said.lower():
            raise strange(wanted.platform)
        if not self._first and "runc run failed" in said:
            raise CannotStart("runc cannot start containers here", why=last_lines(said, 3))

    def connect(self, limit: float) -> HTTPConnection:
        """A connection over a socket that was made in the container's network."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=limit)
        with ThreadPoolExecutor(1) as there:  # a thread that has changed its network is of no more use
            connection.sock = there.submit(self._socket, limit).result()
        return connection

    def _socket(self, limit: float) -> socket.socket:
        try:
            with Path(f"/proc/{self._first}/ns/net").open("rb") as network:
                if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), _NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
        except FileNotFoundError as error:
            raise ConnectionRefusedError("the container has ended") from error
        return socket.create_connection(("127.0.0.1", self._port), limit)

    def address(self) -> str:
        """Host and port in its own network."""
        return f"127.0.0.1:{self._port}"

    def execute(self, command: Sequence[str]) -> tuple[int, str]:
        """Run a command in it."""
        done = _call(self._bundle, "exec", after=command)
        return done.returncode, done.stdout + done.stderr

    def running(self) -> bool:
        """Whether its first process lives."""
        return self._process.poll() is None

    def log(self) -> str:
        """What it, or runc, has said."""
        return self._log.read_text(errors="replace")

    def stop(self) -> int | None:
        """SIGTERM, and SIGKILL later."""
        _call(self._bundle, "kill", after=["TERM"])
        try:
            return self._process.wait(_STOP)
        except subprocess.TimeoutExpired:
            _call(self._bundle, "kill", after=["KILL"])
            return None


def _command(bundle: Path, verb: str, *options: str, after: Sequence[str] = ()) -> list[str]:
    return [PROGRAM, "--root", str(bundle / "state"), verb, *options, bundle.name, *after]


def _call(bundle: Path, verb: str, *options: str, after: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    command = _command(bundle, verb, *options, after=after)
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)  # noqa: S603


def _specification(root: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """What the OCI runtime specification (version 1.0.2) asks for."""
    user, _, group = str(config["User"]).partition(":")
    nothing: dict[str, list[str]] = {kind: [] for kind in ("bounding", "effective", "inheritable", "permitted", "ambient")}
    return {
        "ociVersion": "1.0.2",
        "root": {"path": str(root), "readonly": True},
        "hostname": "ortolan",
        "mounts": _MOUNTS,
        "process": {
            "user": {"uid": int(user), "gid": int(group or user)},
            "args": [*(config.get("Entrypoint") or []), *(config.get("Cmd") or [])],
            "env": list(config.get("Env") or []),
            "cwd": config.get("WorkingDir") or "/",
            "capabilities": nothing,
            "noNewPrivileges": True,
        },
        "linux": {
            "namespaces": [{"type": space} for space in _SPACES],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    }

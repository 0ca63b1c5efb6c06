"""A device for tests: a real sshd on loopback with throw-away keys, and a folder of its own for what is sent to it."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin") or ""
_CONFIG = """\
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile {folder}/pid
StrictModes no
PasswordAuthentication no
PermitRootLogin yes
UsePAM no
Subsystem sftp /usr/lib/openssh/sftp-server
SetEnv XDG_CACHE_HOME={folder}/cache HOME={home} {more}
"""
_CLIENT = """\
Host device
    HostName 127.0.0.1
    Port {port}
    IdentityFile {folder}/user_key
    IdentitiesOnly yes
    UserKnownHostsFile {folder}/known_hosts
    GlobalKnownHostsFile /dev/null
    HostKeyAlias device
"""


@dataclass
class SshDevice:
    """``device`` is its name for ``ssh -F folder/config``, which ``variables`` make Ortolan's ssh."""

    folder: Path
    port: int
    server: subprocess.Popen[bytes]

    @property
    def variables(self) -> dict[str, str]:
        """What a program needs that calls it."""
        return {"ORTOLAN_SSH": shlex.join(["ssh", "-F", str(self.folder / "config")])}

    @property
    def worker(self) -> Path:
        """The folder that Ortolan makes on it."""
        return self.folder / "cache" / "ortolan-worker"

    @property
    def objects(self) -> set[str]:
        """The names of what it keeps whole."""
        return {path.name for path in self.worker.glob("objects/*") if "." not in path.name}

    def jobs(self) -> list[Path]:
        """Folders of commands that run, or that left something."""
        return list(self.worker.glob("jobs/*"))

    def servers(self) -> list[int]:
        """The processes of sshd that serve a connection."""
        return [one for one in descendants(self.server.pid) if _name(one).startswith("sshd")]

    def cut(self) -> None:
        """Kill them: what a pulled plug looks like, less the waiting."""
        for process in self.servers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def processes(self) -> list[str]:
        """The commands of all processes that work in one of its folders, whoever their parent is."""
        return [command for path in Path("/proc").glob("[0-9]*") if (command := self._inside(path))]

    def _inside(self, process: Path) -> str:
        try:
            if (process / "cwd").readlink().is_relative_to(self.worker):
                return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            return ""  # it has ended
        return ""


def _name(process: int) -> str:
    try:
        return Path(f"/proc/{process}/comm").read_text()
    except OSError:
        return ""


def descendants(process: int) -> list[int]:
    """All processes below one."""
    try:
        children = [int(one) for one in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []
    return [one for child in children for one in (child, *descendants(child))]


@contextmanager
def running(folder: Path, more: str = "") -> Iterator[SshDevice]:
    """An sshd until the end of the block. Skips where there is none."""
    if not SSHD or not shutil.which("ssh"):
        pytest.skip("no sshd here")
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("host_key", "user_key"):
        key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
        subprocess.run(key, check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "sshd_config").write_text(_CONFIG.format(folder=folder, port=port, home=Path.home(), more=more))
    (folder / "config").write_text(_CLIENT.format(folder=folder, port=port))
    (folder / "known_hosts").write_text("device " + (folder / "host_key.pub").read_text())
    with serving(folder, port) as device:
        yield device


@contextmanager
def serving(folder: Path, port: int) -> Iterator[SshDevice]:
    """The sshd of a folder that ``running`` has made."""
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    with (folder / "sshd.log").open("ab") as log:
        server = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log, stdin=subprocess.DEVNULL)
    device = SshDevice(folder, port, server)
    try:
        _wait(device)
        yield device
    finally:
        device.cut()
        server.kill()
        server.wait()


def _wait(device: SshDevice) -> None:
    for _ in range(100):
        with socket.socket() as client:
            client.settimeout(1)
            if client.connect_ex(("127.0.0.1", device.port)) == 0:
                return
        assert device.server.poll() is None, (device.folder / "sshd.log").read_text()
        time.sleep(0.05)
    raise AssertionError((device.folder / "sshd.log").read_text())

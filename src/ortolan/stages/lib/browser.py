"""Starts the system's Chromium without a screen, shows it one page, and ends it with all its processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from .web_server import Server

PROGRAM = "chromium"
_PATIENCE = 0.2  # seconds between two looks at whether the browser still lives
_TOLD = 40  # lines of the browser's own log that go into the step's when it fails

_FLAGS = (
    "--headless", "--no-sandbox", "--no-first-run", "--disable-quic", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-default-apps", "--disable-extensions", "--disable-breakpad",
    "--disable-dev-shm-usage", "--password-store=basic", "--use-mock-keychain",
)  # fmt: skip
_CPU = ("--disable-gpu",)
_WEBGPU = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")
"""WebGPU on SwiftShader, the software adapter that Chromium brings along: the same on every machine."""


class BrowserFailed(RuntimeError):
    """The browser, or the page in it, ended before there was an answer."""


def installed() -> bool:
    """Whether there is a Chromium."""
    return shutil.which(PROGRAM) is not None


def version() -> str:
    """What it says of itself."""
    done = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True)  # noqa: S603
    return done.stdout.strip()


def show(files: Mapping[str, Path], dist: Path, headers: Mapping[str, str], *, webgpu: bool, limit: float) -> Server:
    """Open the page ``files["/"]`` and wait for what it posts, at most ``limit`` seconds; the server holds what came.

    Raises ``BrowserFailed`` when the browser ends before, or the page's script fails, ``TimeoutError`` when nothing comes.
    """
    server = Server(files, dist, headers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with _chromium(server.url, _WEBGPU if webgpu else _CPU) as process:
            _wait(server, process, limit)
    finally:
        server.shutdown()
        server.server_close()
    return server


def _wait(server: Server, process: subprocess.Popen[bytes], limit: float) -> None:
    for _ in range(int(limit / _PATIENCE)):
        if server.done.wait(_PATIENCE):
            break
        if process.poll() is not None:
            raise BrowserFailed(f"{PROGRAM} ended with exit code {process.returncode} before the page answered")
    else:
        raise TimeoutError(f"the page did not answer within {limit:g} s")
    if server.failure:
        raise BrowserFailed(f"the page failed: {server.failure}")


@contextmanager
def _chromium(url: str, flags: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """It stays in this step's process group, so that it ends with the step; where it can be, also when this process is killed."""
    guard = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, _short_name(profile) as scratch:
        command = [*guard, PROGRAM, *_FLAGS, *flags, f"--user-data-dir={profile}", url]
        env = {**os.environ, "TMPDIR": scratch}
        with (Path(profile) / "log.txt").open("wb") as log:  # it complains about a missing desktop at length
            process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # noqa: S603
        try:
            yield process
        except BrowserFailed:
            print("\n".join((Path(profile) / "log.txt").read_text(errors="replace").splitlines()[-_TOLD:]))  # noqa: T201
            raise
        finally:
            _end(process, profile)


@contextmanager
def _short_name(folder: str) -> Iterator[str]:
    """Another name of a folder: Chromium makes a socket below TMPDIR, whose path may have 107 bytes; a step's may have more."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        short = f"/proc/{os.getpid()}/fd/{opened}"
        yield short if Path(short).is_dir() else folder
    finally:
        os.close(opened)


def _end(process: subprocess.Popen[bytes], profile: str) -> None:
    process.kill()
    process.wait()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"--user-data-dir={profile}" in (folder / "cmdline").read_text(errors="replace"):
                os.kill(int(folder.name), 9)
        except OSError:
            continue  # it has ended meanwhile, or is somebody else's

"""Opens a page in the system's Chromium without a screen, and waits for what the page says of itself in the container's log."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from .parts import Container

PROGRAM = "chromium"
_LIMIT = 90.0  # seconds; a page takes two
_FLAGS = (
    "--headless", "--no-sandbox", "--no-first-run", "--disable-gpu", "--disable-quic", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-default-apps", "--disable-extensions", "--disable-breakpad",
    "--disable-dev-shm-usage", "--password-store=basic", "--use-mock-keychain",
)  # fmt: skip
_REPORT = "report "


def installed() -> bool:
    """Whether there is a Chromium."""
    return shutil.which(PROGRAM) is not None


def report(container: Container) -> Mapping[str, Any]:
    """What the page tells after it has run the golden samples; ``{"failed": why}`` when it tells nothing."""
    with _opened(container) as process:
        until = time.monotonic() + _LIMIT
        while time.monotonic() < until:
            said = [line for line in container.log().splitlines() if line.startswith(_REPORT)]
            if said:
                return dict(json.loads(said[-1].removeprefix(_REPORT)))
            if process.poll() is not None:
                return {"failed": f"{PROGRAM} ended with exit code {process.returncode}"}
            time.sleep(0.2)
    return {"failed": f"the page said nothing within {_LIMIT:g} s"}


@contextmanager
def _opened(container: Container) -> Iterator[subprocess.Popen[bytes]]:
    """In a session of its own, so that all its processes end with it."""
    with tempfile.TemporaryDirectory(prefix="ortolan-", ignore_cleanup_errors=True) as profile:
        command = [*container.enter, PROGRAM, *_FLAGS, f"--user-data-dir={profile}", f"http://{container.address()}/#report"]
        process = subprocess.Popen(  # noqa: S603  the system's browser
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

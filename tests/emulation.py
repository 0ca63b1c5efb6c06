"""The emulated ARM for tests: its runtimes are made once, in the user's cache, like all others."""

from __future__ import annotations

import shutil

import pytest

from conftest import ROOT
from ortolan.cache import user_cache
from ortolan.errors import RuntimeSetupError
from ortolan.runtime import apt, emulated
from ortolan.runtime.emulated import Emulated

CACHE = user_cache().runtimes


def need() -> None:
    """Skip where there is no emulator, or no apt to fetch Debian's packages with."""
    lacking = [*apt.missing(), *([] if shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64") else ["qemu"])]
    if lacking:
        pytest.skip(f"no emulated ARM here: there is no {', '.join(lacking)}")


def arm(name: str = "onnxruntime-1.20.1") -> Emulated:
    """A runtime on the emulated ARM; the test skips where Debian's archive is not in reach either."""
    need()
    try:
        return emulated.ensure(f"{name}@arm64", [ROOT / "runtimes"], CACHE)
    except RuntimeSetupError as error:
        if error.what == "apt-get failed":
            pytest.skip(f"no emulated ARM here: {error.why}")
        raise

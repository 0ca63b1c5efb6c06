"""Platforms as Docker spells them."""

from __future__ import annotations

import platform
import sys

_MACHINES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64", "armv7l": "arm/v7"}


def host_platform() -> str:
    """This machine, like ``linux/amd64``."""
    return f"{sys.platform}/{_MACHINES.get(platform.machine(), platform.machine())}"

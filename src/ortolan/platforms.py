"""What this machine is: its platform as Docker spells it, and the processor features on which numbers depend."""

from __future__ import annotations

import os
import re
import sys
from functools import lru_cache
from pathlib import Path

_MACHINES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64", "armv7l": "arm/v7"}
_MATTERS = re.compile(r"^(avx.*|fma|f16c|amx.*|vnni|asimd.*|fphp|i8mm|bf16|sve.*)$")


def machine() -> str:
    """The kernel's name for the processor's architecture."""
    return os.uname().machine


def host_platform() -> str:
    """This machine, like ``linux/amd64``."""
    return f"{sys.platform}/{_MACHINES.get(machine(), machine())}"


@lru_cache
def cpu_features() -> tuple[str, ...]:
    """The architecture and its vector extensions, sorted; on systems without ``/proc/cpuinfo`` the architecture alone."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return (machine(),)
    line = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    flags = line[1].split() if line else []
    return (machine(), *sorted({flag for flag in flags if _MATTERS.match(flag)}))

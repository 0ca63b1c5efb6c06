"""Processor features on which the numbers of a session depend; they enter the keys of stages that say so."""

from __future__ import annotations

import platform
import re
from functools import lru_cache
from pathlib import Path

_MATTERS = re.compile(r"^(avx.*|fma|f16c|amx.*|vnni|asimd.*|fphp|i8mm|bf16|sve.*|svei8mm|svebf16)$")


@lru_cache
def features() -> tuple[str, ...]:
    """The machine and its vector extensions, sorted; on systems without ``/proc/cpuinfo`` the machine alone."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return (platform.machine(),)
    line = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    flags = line[1].split() if line else []
    return (platform.machine(), *sorted({flag for flag in flags if _MATTERS.match(flag)}))

"""What a person looks at: progress, the table of gates, manifests in words."""

from __future__ import annotations

import os
import sys


def coloured() -> bool:
    """Whether stdout takes colours: a terminal does, unless NO_COLOR is set (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")

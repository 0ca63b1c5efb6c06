"""Container images: built from a build's folder, started, asked the golden samples, and judged by gates."""

from __future__ import annotations

from .make import Imaged, image
from .pick import pick

__all__ = ["Imaged", "image", "pick"]

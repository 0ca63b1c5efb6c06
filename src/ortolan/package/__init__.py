"""From a manifest to what a device team drops in: templates rendered into snippets and build contexts."""

from __future__ import annotations

from .docker import image_locks
from .pack import Packed, pack
from .render import find_templates

__all__ = ["Packed", "find_templates", "image_locks", "pack"]

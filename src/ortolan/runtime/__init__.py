"""Pinned environments: hash-locked, made by uv on first use, checked on later ones."""

from .make import Runtime, ensure, problems, state
from .repair import broken
from .spec import RuntimeSpec, find, known

__all__ = ["Runtime", "RuntimeSpec", "broken", "ensure", "find", "known", "problems", "state"]

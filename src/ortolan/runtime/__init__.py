"""Pinned environments: hash-locked, made by uv on first use, checked on later ones."""

from .make import Runtime, broken, ensure, problems, state
from .spec import RuntimeSpec, find, known

__all__ = ["Runtime", "RuntimeSpec", "broken", "ensure", "find", "known", "problems", "state"]

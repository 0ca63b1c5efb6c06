"""Steps of a build on devices over ssh: which devices answer, what is checked there, and the engines that they build."""

from .devices import Device, reached
from .engines import Engine, engines
from .there import There

__all__ = ["Device", "Engine", "There", "engines", "reached"]

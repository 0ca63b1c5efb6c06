"""The verbs, shared by tasks.py and the ``ortolan`` console program. Each parses and hands over to its module in ``verbs``.

Every module in this folder adds its verbs to the namespace. Only the verb that was asked for is imported from ``verbs``
(docs/decisions/0003): listing the verbs, and a build with nothing to do, cost little more than Invoke itself.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from .verb import namespace, program

for _found in iter_modules(__path__):
    import_module(f"{__name__}.{_found.name}")


def main() -> None:
    """The console program."""
    program.run()


__all__ = ["main", "namespace"]

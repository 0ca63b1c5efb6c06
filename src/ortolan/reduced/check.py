"""Whether a library was built for what a model needs, in words that name operators, types and nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from . import ort_file
from .config import Config, lacking, read
from .config_nodes import concerned

_MOST = 3  # nodes that are named of many


def misfits(ort: bytes, needed: str, within: str) -> list[str]:
    """What of a model's configuration a library's does not hold: operator, types, nodes. ``ort`` is the model's file.

    OrtolanError for a text that is no configuration.
    """
    return lacks(read(needed, "the model's configuration"), read(within, "the library's configuration"), lambda: ort)


def lacks(needed: Config, within: Config, ort: Callable[[], bytes]) -> list[str]:
    """The same of configurations that have been read; ``ort`` reads the model's file, where its nodes are wanted."""
    missing = lacking(needed, within)
    nodes = ort_file.nodes(ort(), "model.ort") if missing else []
    found = [(lack, concerned(lack, nodes)) for lack in missing]
    return [f"{lack}: {_some(names)}" if names else str(lack) for lack, names in found]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more

"""Judges a reduced runtime by its files: its size and needs, and whether it holds what each model of the target needs."""

from __future__ import annotations

from collections.abc import Sequence

from . import ort_file
from .config import lacking, read
from .config_nodes import concerned

_MOST = 3  # nodes that are named of many


def misfits(ort: bytes, needed: str, within: str) -> list[str]:
    """What of a model's configuration a library's does not hold: operator, types, nodes. ``ort`` is the model's file.

    OrtolanError for a text that is no configuration.
    """
    lacks = lacking(read(needed, "the model's configuration"), read(within, "the library's configuration"))
    nodes = ort_file.nodes(ort, "model.ort") if lacks else []
    found = [(lack, concerned(lack, nodes)) for lack in lacks]
    return [f"{lack}: {_some(names)}" if names else str(lack) for lack, names in found]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more

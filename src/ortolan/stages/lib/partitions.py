"""Which provider gets which node, and into how many connected parts a model falls."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import graphs
from .evidence import UNSUPPORTED, Evidence

if TYPE_CHECKING:
    from onnx import GraphProto

NOBODY = ""
"""The provider of a node that none takes."""


def assign(given: Sequence[Evidence], index: int) -> str:
    """The provider of a node: the first in the target's order that takes it, as ONNX Runtime asks them."""
    return next((one.provider for one in given if one.nodes[index].level != UNSUPPORTED), NOBODY)


def parts(graph: GraphProto, owners: Sequence[str | None]) -> list[str]:
    """The providers in the order of execution, one entry for each connected part; nodes owned by None stand in no part.

    Greedy: the part goes on as long as a node of its provider can run next, as ONNX Runtime groups nodes for providers that
    compile (onnxruntime/core/providers/partitioning_utils.cc, CreateSupportedPartitionNodeGroups).
    """
    needed = graphs.needs(graph)
    after = graphs.users(needed)
    waiting = [len(need) for need in needed]
    ready: dict[str | None, list[int]] = {}
    for index, need in enumerate(needed):
        if not need:
            heapq.heappush(ready.setdefault(owners[index], []), index)
    found: list[str] = []
    while any(ready.values()):
        owner = _next(ready, found[-1] if found else None)
        if owner is not None and (not found or found[-1] != owner):
            found.append(owner)
        for user in after.get(heapq.heappop(ready[owner]), ()):
            waiting[user] -= 1
            if not waiting[user]:
                heapq.heappush(ready.setdefault(owners[user], []), user)
    return found


def _next(ready: dict[str | None, list[int]], current: str | None) -> str | None:
    """Whose node runs next: constants at once, then the current provider's, then that of the node that stands first."""
    for owner in (None, current):
        if ready.get(owner):
            return owner
    return min((waiting[0], owner) for owner, waiting in ready.items() if waiting and owner is not None)[1]

"""Reads from ONNX Runtime's log which provider was given which node."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

_ALL = re.compile(r"All nodes placed on \[(\w+)\]\. Number of nodes: (\d+)")
_SOME = re.compile(r"Node\(s\) placed on \[(\w+)\]\. Number of nodes: (\d+)")
_NODE = re.compile(r"VerifyEachNodeIsAssignedToAnEp\]\s+(\S+) \((.*)\)\s*$")
_NO_KERNEL = re.compile(r"kernel not found in registries for Op type: \S+ node name: (\S+)")
_MOVED = re.compile(r"Force fallback to CPU execution for node: (\S+)")


@dataclass(frozen=True)
class Placed:
    """``counts``: ``{provider: nodes}``, Memcpy nodes among them. ``nodes``: ``{node: provider}``, empty when one has them all.

    ``without_kernel`` are nodes for which the provider has no kernel, ``moved`` those that it left to the CPU on purpose.
    """

    counts: dict[str, int] = field(default_factory=dict)
    nodes: dict[str, str] = field(default_factory=dict)
    operators: dict[str, str] = field(default_factory=dict)
    without_kernel: frozenset[str] = frozenset()
    moved: frozenset[str] = frozenset()


def read(said: Sequence[str]) -> Placed:
    """What the lines of a verbose log say. Seen with onnxruntime-web 1.30.0."""
    counts: dict[str, int] = {}
    nodes: dict[str, str] = {}
    operators: dict[str, str] = {}
    provider = ""
    for line in said:
        if head := _ALL.search(line) or _SOME.search(line):
            provider = head[1]
            counts[provider] = counts.get(provider, 0) + int(head[2])
        elif provider and (node := _NODE.search(line)):
            nodes[node[2]], operators[node[2]] = provider, node[1]
    return Placed(counts, nodes, operators, _named(_NO_KERNEL, said), _named(_MOVED, said))


def _named(pattern: re.Pattern[str], said: Sequence[str]) -> frozenset[str]:
    return frozenset(match[1] for line in said if (match := pattern.search(line)))

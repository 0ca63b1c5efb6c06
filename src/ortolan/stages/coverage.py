"""Says which provider gets which node of a model, how strong the evidence is, and what falls back and why."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lib import canon, evidence, graphs, macs, partitions

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

    from .lib.evidence import Evidence

INPUTS = ("model", "evidence*")
PARAMS = ("providers", "left_in_float")
OUTPUTS = ("coverage.json",)

_VALUES = frozenset({"Constant"})  # a value that sessions turn into an initializer: nothing is computed
_QUOTED = re.compile(r"'[^']*'")
Row = dict[str, Any]


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """``providers`` are names in priority order, each with its evidence as the input ``evidence:<name>``.

    ``coverage.json`` has the same as the facts, and ``nodes``, ``{"node", "op", "domain", "macs", "provider", "level",
    "verdicts"}`` for each node. Facts: ``providers``, each with ``source``, ``unseen`` (why it could not be asked), ``levels``
    (``{level: nodes}`` of what it got), ``nodes``, ``macs`` and the shares of both (``mac_share`` is None for a model without
    any), ``partitions``; ``partitions`` and ``switches`` in all; ``fallbacks``, what a provider did not take; ``nowhere``, what
    none takes; ``uncounted``; ``left_in_float``, the nodes to which a search gave back their accuracy, where it did.
    """
    model = canon.parse(inputs["model"])
    given = [evidence.read(inputs[f"evidence:{name}"]) for name in params["providers"]]
    rows = _rows(model, given)
    graph_parts = partitions.parts(model.graph, [row["provider"] if row else None for row in rows])
    counted = [row for row in rows if row]
    facts = {
        "providers": _providers(given, counted, Counter(graph_parts)),
        "partitions": len(graph_parts),
        "switches": max(len(graph_parts) - 1, 0),
        "fallbacks": _fallbacks(given, counted),
        "nowhere": [_named(row) for row in counted if row["provider"] == partitions.NOBODY],
        "uncounted": [row["node"] for row in counted if row["macs"] is None],
    }
    if params["left_in_float"]:
        facts["left_in_float"] = params["left_in_float"]
    (out / "coverage.json").write_text(json.dumps({**facts, "nodes": counted}, indent=1, sort_keys=True) + "\n")
    return facts


def _rows(model: ModelProto, given: Sequence[Evidence]) -> list[Row | None]:
    """One for each node of the main graph; None for what is only a value."""
    for one in given:
        if len(one.nodes) != len(model.graph.node):
            raise ValueError(f"{one.provider}: evidence of {len(one.nodes)} nodes, the model has {len(model.graph.node)}")
    counts = macs.per_node(model)
    return [
        None if node.op_type in _VALUES else _row(node, index, counts[index], given)
        for index, node in enumerate(model.graph.node)
    ]


def _row(node: NodeProto, index: int, count: int | None, given: Sequence[Evidence]) -> Row:
    owner = partitions.assign(given, index)
    verdicts = {one.provider: one.nodes[index] for one in given}
    return {
        "node": graphs.label(node),
        "op": node.op_type,
        "domain": node.domain,
        "macs": count,
        "provider": owner,
        "level": verdicts[owner].level if owner else evidence.UNSUPPORTED,
        "verdicts": {name: {"level": v.level, "why": v.why, "fix": v.fix} for name, v in verdicts.items()},
    }


def _named(row: Row) -> Row:
    whys = {f"{verdict['why']}" for verdict in row["verdicts"].values() if verdict["why"]}
    return {"node": row["node"], "op": row["op"], "domain": row["domain"], "why": "; ".join(sorted(whys))}


def _providers(given: Sequence[Evidence], rows: Sequence[Row], parts: Mapping[str, int]) -> list[dict[str, Any]]:
    all_macs = sum(row["macs"] or 0 for row in rows)
    found = []
    for one in given:
        own = [row for row in rows if row["provider"] == one.provider]
        count = sum(row["macs"] or 0 for row in own)
        found.append(
            {
                "name": one.provider,
                "source": one.source,
                "unseen": one.unseen,
                "levels": dict(sorted(Counter(row["level"] for row in own).items())),
                "nodes": len(own),
                "node_share": len(own) / len(rows) if rows else 0.0,
                "macs": count,
                "mac_share": count / all_macs if all_macs else None,
                "partitions": parts.get(one.provider, 0),
            }
        )
    return found


def _fallback(provider: str, alike: Sequence[Row]) -> dict[str, Any]:
    first = alike[0]
    return {
        "provider": provider,
        "op": first["op"],
        "domain": first["domain"],
        "goes_to": first["provider"],
        "why": first["verdicts"][provider]["why"],
        "fix": first["verdicts"][provider]["fix"],
        "nodes": len(alike),
        "macs": sum(row["macs"] or 0 for row in alike),
        "example": first["node"],
    }


def _fallbacks(given: Sequence[Evidence], rows: Sequence[Row]) -> list[dict[str, Any]]:
    """What each provider but the last was asked for and did not take, alike nodes together, the costliest first."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for place, one in enumerate(given[:-1]):
        earlier = {before.provider for before in given[:place]}
        for row in rows:
            verdict = row["verdicts"][one.provider]
            if verdict["level"] == evidence.UNSUPPORTED and row["provider"] not in earlier:
                reason = _QUOTED.sub("'…'", verdict["why"] + verdict["fix"])  # names of tensors make no other reason
                groups.setdefault((one.provider, row["op"], row["domain"], row["provider"], reason), []).append(row)
    found = [_fallback(provider, alike) for (provider, *_), alike in groups.items()]
    return sorted(found, key=lambda one: (-one["macs"], -one["nodes"], one["provider"], one["op"], one["why"]))

"""Holds every node of a model against a table of the kernels or operators that a provider takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .lib import canon, evidence, kernel_table, qdq_units
from .lib.kernel_table import KernelTable
from .lib.table_judge import Judge
from .lib.tensor_facts import Facts

INPUTS = ("model", "table")
PARAMS = ("provider", "version")
OUTPUTS = ("evidence.json",)


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Facts: those of ``evidence.write``. ``provider``: ``{"name", "options"}``; ``version``: the fleet's oldest ONNX Runtime.

    A node is at the table's level when its operator, the version of its definition and its types are in the table, its shapes
    are of a kind that the provider takes and the table's rules hold; one with nested graphs, when all their nodes are, too.
    What is not known of a node counts against it.
    """
    provider = params["provider"]
    table = kernel_table.read(inputs["table"], provider["options"])
    judge = Judge(table, Facts(canon.load(inputs["model"])))
    nodes = qdq_units.judge(judge, list(judge.facts.model.graph.node))
    found = evidence.Evidence(provider["name"], _source(table, params["version"]), nodes)
    return evidence.write(out / "evidence.json", found)


def _source(table: KernelTable, version: str) -> str:
    """What was asked; and where it is of another version than the fleet's, which."""
    if table.level == evidence.LISTED or table.version == version:
        return table.software
    return f"{table.software}, the nearest on file to {version}"

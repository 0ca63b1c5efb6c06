"""Holds every node of a model against a table of the kernels or operators that a provider takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
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
    judge = Judge(table, Facts(canon.parse(inputs["model"])))
    nodes = qdq_units.judge(judge, list(judge.facts.model.graph.node))
    if _numbers(table.version)[:2] > _numbers(params["version"])[:2]:  # a newer minor version may have more kernels
        nodes = [replace(one, level=evidence.LISTED) if one.level == evidence.REGISTERED else one for one in nodes]
    found = evidence.Evidence(provider["name"], _source(table, params["version"]), nodes)
    return evidence.write(out / "evidence.json", found)


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]


def _source(table: KernelTable, version: str) -> str:
    """What was asked; and where it is of another version than the fleet's, which."""
    if table.version == version:
        return table.software
    if table.level == evidence.LISTED:
        return f"{table.software} (file of {table.version})"
    return f"{table.software}, the nearest on file to {version}"

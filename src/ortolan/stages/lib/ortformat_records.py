"""Optimisations that an .ort file leaves to the device, and the one that ONNX Runtime records without saying what it makes."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

_SCHEMA = "onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs"
_UNSAID = b"MatMul"
_RECORDS = 6
"""The place of its records in the vtable of RuntimeOptimizationRecordContainerEntry."""
_OFFSET = 4  # bytes


def count(data: bytes) -> int:
    """How many quantised matrix products are recorded without the operator that stands for them.

    Seen in 1.17.3 to 1.31.1. Of these 1.17.3, 1.20.1 and 1.24.4 then refuse the file ("Not enough produced nodes in the runtime
    optimization record"), the version that wrote it included; 1.31.1 opens it.
    """
    return sum(_is_unsaid(record) for entry in _entries(data) for record in _records(entry))


def without(data: bytes) -> bytes:
    """The file without these records, in as many bytes: their products stay as they are written, with Q/DQ about them."""
    changed = bytearray(data)
    for entry in _entries(data):
        kept = [record._tab.Pos for record in _records(entry) if not _is_unsaid(record)]  # noqa: SLF001  no public positions
        start = entry._tab.Vector(entry._tab.Offset(_RECORDS))  # noqa: SLF001
        changed[start - _OFFSET : start] = len(kept).to_bytes(_OFFSET, "little")
        for index, position in enumerate(kept):
            at = start + index * _OFFSET
            changed[at : at + _OFFSET] = (position - at).to_bytes(_OFFSET, "little")
    return bytes(changed)


def _is_unsaid(record: Any) -> bool:
    return bool(record.ActionId() == _UNSAID and not record.ProducedOpIdsLength())


def _records(entry: Any) -> list[Any]:
    return [entry.RuntimeOptimizationRecords(index) for index in range(entry.RuntimeOptimizationRecordsLength())]


def _entries(data: bytes) -> Iterator[Any]:
    """The records of each optimiser, of the main graph and of those in nodes."""
    session = importlib.import_module(f"{_SCHEMA}.InferenceSession").InferenceSession.GetRootAsInferenceSession(data, 0)
    graphs = [session.Model().Graph()]
    while graphs:
        graph = graphs.pop()
        optimised = graph.RuntimeOptimizations()
        yield from map(optimised.Records, range(optimised.RecordsLength())) if optimised else ()
        for node in map(graph.Nodes, range(graph.NodesLength())):
            attributes = map(node.Attributes, range(node.AttributesLength()))
            graphs += [attribute.G() for attribute in attributes if attribute.G()]

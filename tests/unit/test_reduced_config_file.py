"""An ``.ort`` file that was made to mislead: its reader ends soon, and has one error."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import reduce

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ortolan.errors import OrtolanError
from ortolan.reduced.config import Operator
from ortolan.reduced.ort_file import nodes

SESSION_MODEL, MODEL_GRAPH, GRAPH_NODES, NODE_OPERATOR, NODE_ATTRIBUTES, ATTRIBUTE_GRAPHS = 6, 18, 8, 14, 24, 28
"""Places in tables, as in the reader."""
_LAST = 28


class Flat:
    """Writes a flatbuffer from its end: what is written first lies last, so that each offset leads onwards.

    A place is told by its distance from the end.
    """

    def __init__(self) -> None:
        self.data = b""

    def _put(self, data: bytes) -> int:
        self.data = data + self.data
        return len(self.data)

    def text(self, text: str) -> int:
        data = text.encode() + b"\0"
        return self._put(struct.pack("<I", len(text)) + data + bytes(-len(data) % 4))

    def vector(self, entries: Sequence[int]) -> int:
        whole = len(self.data) + 4 * len(entries)
        offsets = (whole - 4 * index - entry for index, entry in enumerate(entries))
        return self._put(struct.pack(f"<{len(entries) + 1}I", len(entries), *offsets))

    def table(self, fields: Mapping[int, int]) -> int:
        whole = len(self.data) + 4 * len(fields)
        offsets = b"".join(struct.pack("<I", whole - 4 * index - entry) for index, entry in enumerate(fields.values()))
        at = {place: 4 + 4 * index for index, place in enumerate(fields)}
        size = _LAST + 2 + 2  # its own head, places up to the last, and two bytes to make it whole
        places = b"".join(struct.pack("<H", at.get(place, 0)) for place in range(4, size, 2))
        made = self._put(struct.pack("<i", size) + offsets)
        self._put(struct.pack("<HH", size, 4 + 4 * len(fields)) + places)
        return made

    def graph(self, inner: Sequence[int] = ()) -> int:
        """A graph of one node, which holds others."""
        attribute = [self.table({ATTRIBUTE_GRAPHS: self.vector(inner)})] if inner else []
        node = {NODE_OPERATOR: self.text("If"), NODE_ATTRIBUTES: self.vector(attribute)}
        return self.table({GRAPH_NODES: self.vector([self.table(node)])})

    def file(self, graph: int) -> bytes:
        root = self.table({SESSION_MODEL: self.table({MODEL_GRAPH: graph})})
        return struct.pack("<I4s", len(self.data) + 8 - root, b"ORTM") + self.data


def nested(depth: int, times: int = 1) -> bytes:
    """Graphs one in another; each holds the next so many times, though it is written once."""
    flat = Flat()
    return flat.file(reduce(lambda graph, _: flat.graph([graph] * times), range(depth - 1), flat.graph()))


def test_nested_graphs_are_read() -> None:
    found = nodes(nested(64), "model.ort")
    assert [one.operator for one in found] == [Operator("ai.onnx", 0, "If")] * 64


def test_more_than_any_model_nests_are_refused() -> None:
    with pytest.raises(OrtolanError) as caught:
        nodes(nested(65), "model.ort")
    assert caught.value.why == "more than 64 graphs lie one in another"


def test_graphs_that_lie_in_several_are_refused() -> None:
    """Forty graphs, each twice in the next, are a file of a few KB with 2 to the 40th nodes."""
    assert len(nested(40, 2)) < 10_000
    with pytest.raises(OrtolanError) as caught:
        nodes(nested(40, 2), "model.ort")
    assert caught.value.why.startswith("it has more tables than it has room for")


@settings(max_examples=300)
@given(st.integers(0, len(nested(4)) - 1), st.integers(0, 255))
def test_a_damaged_byte_is_read_or_refused(at: int, byte: int) -> None:
    data = nested(4)
    try:
        nodes(data[:at] + bytes([byte]) + data[at + 1 :], "model.ort")
    except OrtolanError:
        return

"""Weights that stand in files beside the model: find them, refuse what leads outside, take them in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from . import graphs
from .refused import Refused

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

LIMIT = 2**31 - 1  # bytes that one protobuf message can hold
_RECIPE = "list the file in the recipe: [source] external_data = [...]"


def tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Every tensor of a model that may hold data: initializers, sparse ones and tensor attributes, nested graphs included."""
    for graph in graphs.graphs(model.graph):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in graphs.nodes(model):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def stored_outside(model: ModelProto) -> list[TensorProto]:
    """The tensors whose data stand in another file."""
    from onnx import TensorProto

    return [tensor for tensor in tensors(model) if tensor.data_location == TensorProto.EXTERNAL]


def inline(model: ModelProto, folder: Path) -> list[str]:
    """Take the data of every external tensor into the model; the names of the files they came from, sorted.

    Raises ``Refused`` when a file is missing, too short or outside ``folder``, and when the whole would pass 2 GB.
    """
    outside = stored_outside(model)
    if not outside:
        return []
    spans = [_span(tensor, folder) for tensor in outside]
    total = model.ByteSize() + sum(length for _, _, length in spans)
    if total > LIMIT:
        raise Refused(
            f"the model with its weights has {total:,} bytes",
            why="an ONNX file without external data holds at most 2 GB",
            hint="export it in float16, or split it",
        )
    for tensor, (path, offset, length) in zip(outside, spans, strict=True):
        _take(tensor, path, offset, length)
    return sorted({str(path.relative_to(folder.resolve())) for path, _, _ in spans})


def _span(tensor: TensorProto, folder: Path) -> tuple[Path, int, int]:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    path = _resolve(tensor.name, location, folder)
    try:
        offset, length = int(entries.get("offset") or 0), int(entries.get("length") or 0)
    except ValueError:
        offset = length = -1
    size = path.stat().st_size
    length = length or size - offset
    if offset < 0 or length < 0 or offset + length > size:
        raise Refused(
            f"external data file {location!r} has {size:,} bytes, too few for tensor '{tensor.name}'",
            why=f"the tensor is said to stand at offset {entries.get('offset', 0)}, {entries.get('length', 'all')} bytes",
            hint="the file is truncated or belongs to another model: copy it again from where the model came",
        )
    return path, offset, length


def _resolve(name: str, location: str, folder: Path) -> Path:
    root = folder.resolve()
    path = (root / location).resolve()
    if not location or not path.is_relative_to(root):
        raise Refused(
            f"tensor '{name}' keeps its data at {location!r}, outside the model's folder",
            why="external data must stand in the model's folder or below it",
            hint="save the model again with a plain file name as its external data location",
        )
    if not path.is_file():
        raise Refused(f"external data file {location!r} is missing", why=f"tensor '{name}' keeps its data there", hint=_RECIPE)
    return path


def _take(tensor: TensorProto, path: Path, offset: int, length: int) -> None:
    from onnx import TensorProto

    with path.open("rb") as stream:
        stream.seek(offset)
        tensor.raw_data = stream.read(length)
    del tensor.external_data[:]
    tensor.data_location = TensorProto.DEFAULT

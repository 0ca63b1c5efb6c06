"""Weights in one file beside their model, ``model.onnx.data``: written and read piece by piece, never whole."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import canon, external, filled, graphs, signature
from .external import Range
from .filled import Write
from .signature import WEIGHTS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnx import ModelProto, TensorProto

ALIGNED = 4096  # bytes: pages, so that a runtime may map the tensors instead of reading them
PIECE, _COPIED = 2**20, 2**24
"""Bytes at a time, multiples of every element's size: few where they pass through this process, whose caches then hold them."""
_LEAST, _LEAST_INDEX = 2**16, 2**20
"""Bytes of a tensor that stands apart. What shape inference may follow, axes, sizes and indices, stays in the model."""


def keep(model: ModelProto, folder: Path, path: Path) -> ModelProto:
    """Write the canonical form of ``model``: its weights apart where they are so far, and in it where they are in it."""
    return save(model, folder, path) if external.stored_outside(model) else canon.save(model, path)


def save(model: ModelProto, folder: Path, path: Path) -> ModelProto:
    """Write the canonical form of ``model`` to ``path`` and its large initializers to the file beside it; return it.

    ``folder`` is where the external data of ``model`` are. Tensors stand in order of name, graph by graph, at multiples of 4096,
    zeros between them; those that shared a range still do; what was turned to another type is converted. Memory: a few pieces.
    The model says its weights' digest in its metadata, so that its own digest stands for both files.
    Raises ``Refused`` as ``external.ranges`` does, and where what remains in the model passes 2 GB.
    """
    written = canon.canonical(model)
    external.ranges(written, folder)
    parts = list(_parts(written, folder))
    for tensor in _staying(written):
        if external.is_outside(tensor):
            _take_in(tensor, external.range_of(tensor, folder))
    if not parts:
        return canon.write(written, path)
    data = path.with_name(path.name + external.DATA)
    return canon.write(_marked(written, _write(parts, data)), path)


def told(model: ModelProto) -> dict[str, str]:
    """The fact by which a build finds the file with a model's weights; none for a model that holds them itself."""
    return {"weights_file": digest} if (digest := signature.weights(model)) else {}


def turn(tensor: TensorProto, kind: int) -> None:
    """Give an external tensor of floats another float type; its values are converted when it is saved."""
    from onnx import TensorProto

    if not any(entry.key == external.STORED for entry in tensor.external_data):
        tensor.external_data.add(key=external.STORED, value=TensorProto.DataType.Name(tensor.data_type))
    tensor.data_type = kind


def size(path: Path) -> int:
    """Bytes of a model's file, and of the one beside it that holds its weights, where there is one."""
    beside = path.with_name(path.name + external.DATA)
    return path.stat().st_size + (beside.stat().st_size if beside.is_file() else 0)


def pieces(tensor: TensorProto, where: Range | None) -> Iterator[NDArray[Any]]:
    """The values of a tensor in flat pieces of at most ``PIECE`` bytes; types that pack several into a byte come as bytes.

    ``where`` is from ``external.range_of``, None for a tensor inside the model. A tensor that was turned comes as it was.
    """
    import numpy as np

    kind = dtype(tensor)
    read = (piece.read() for piece in where.split(PIECE)) if where else _split(memoryview(_raw(tensor)))
    yield from (np.frombuffer(piece, kind) for piece in read)


def values(tensor: TensorProto, where: Range) -> NDArray[Any]:
    """The values of an external tensor in its shape, mapped: read as they are touched, and not to be written. None packed."""
    import numpy as np

    return np.memmap(where.path, dtype(tensor), "r", where.offset, tuple(tensor.dims))


def dtype(tensor: TensorProto) -> np.dtype[Any]:
    """The numpy type of a tensor's data as they are stored; bytes where several values share one."""
    import numpy as np
    from onnx import helper

    stored = external.stored(tensor)
    kind = helper.tensor_dtype_to_np_dtype(stored)
    return kind if kind.itemsize * math.prod(tensor.dims) == external.nbytes(tensor, stored) else np.dtype(np.uint8)


@dataclass(frozen=True)
class _Part:
    """A tensor, and where its values are so far: ``None`` for one in the model."""

    tensor: TensorProto
    where: Range | None

    def writes(self) -> Iterator[tuple[int, Write]]:
        """Its bytes in its type, piece by piece: how many, and what writes them."""
        from onnx import helper

        if self.where is None:
            whole = memoryview(_raw(self.tensor))
            yield from ((len(piece), filled.put(piece)) for piece in _split(whole))
        elif external.stored(self.tensor) == self.tensor.data_type:
            yield from ((piece.length, filled.copy(piece)) for piece in self.where.split(_COPIED))
        else:
            old, new = dtype(self.tensor), helper.tensor_dtype_to_np_dtype(self.tensor.data_type)
            for piece in self.where.split(PIECE):
                yield piece.length // old.itemsize * new.itemsize, filled.convert(piece, old, new)

    def same(self) -> object:
        """Equal for tensors that are made of the same bytes in the same way; None where nothing is known."""
        return (self.where, self.tensor.data_type) if self.where else None


def _parts(model: ModelProto, folder: Path) -> Iterator[_Part]:
    for graph in graphs.graphs(model.graph):
        for tensor in sorted(graph.initializer, key=lambda tensor: tensor.name):
            if _is_large(tensor):
                yield _Part(tensor, external.range_of(tensor, folder) if external.is_outside(tensor) else None)


def _staying(model: ModelProto) -> Iterator[TensorProto]:
    for graph in graphs.graphs(model.graph):
        yield from (tensor for tensor in graph.initializer if not _is_large(tensor))
    yield from external.others(model)


def _is_large(tensor: TensorProto) -> bool:
    index = tensor.data_type in {tensor.INT32, tensor.INT64}
    return external.nbytes(tensor) >= (_LEAST_INDEX if index else _LEAST)


def _write(parts: Iterable[_Part], path: Path) -> str:
    """Write the tensors and point each to its place; the file's digest. What shared a range, and becomes the same, does again."""
    placed: dict[object, int] = {}
    end = 0
    with filled.Filled(path) as file:
        for part in parts:
            same = part.same()
            offset = placed.get(same) if same else None
            if offset is None:
                offset = end = end + -end % ALIGNED
                for length, write in part.writes():
                    file.at(end, length, write)
                    end += length
            _point(part.tensor, path.name, offset)
            placed |= {same: offset} if same else {}
        return file.digest()


def _split(whole: memoryview) -> Iterator[memoryview]:
    return (whole[at : at + PIECE] for at in range(0, len(whole), PIECE))


def _raw(tensor: TensorProto) -> bytes:
    """The values of a tensor inside the model, little-endian."""
    from onnx import numpy_helper

    return tensor.raw_data if tensor.HasField("raw_data") else numpy_helper.from_array(numpy_helper.to_array(tensor)).raw_data


def _point(tensor: TensorProto, file: str, offset: int) -> None:
    from onnx import TensorProto

    kept = TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", file), ("offset", str(offset)), ("length", str(external.nbytes(tensor)))):
        kept.external_data.add(key=key, value=value)
    tensor.CopyFrom(kept)


def _take_in(tensor: TensorProto, where: Range) -> None:
    """Take the values of a tensor into the model, in its type."""
    import numpy as np
    from onnx import TensorProto, helper

    read, kind = np.frombuffer(where.read(), dtype(tensor)), helper.tensor_dtype_to_np_dtype(tensor.data_type)
    turned = external.stored(tensor) != tensor.data_type
    tensor.raw_data = (filled.turned(read, kind) if turned else read).tobytes()
    del tensor.external_data[:]
    tensor.data_location = TensorProto.DEFAULT


def _marked(model: ModelProto, digest: str) -> ModelProto:
    entries = {entry.key: entry.value for entry in model.metadata_props} | {WEIGHTS: digest}
    del model.metadata_props[:]
    for key, text in sorted(entries.items()):
        model.metadata_props.add(key=key, value=text)
    return model

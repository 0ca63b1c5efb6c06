"""Weights in one file beside their model, ``model.onnx.data``: written and read piece by piece, never whole."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from . import canon, external, graphs, signature
from .external import Range
from .signature import WEIGHTS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnx import ModelProto, TensorProto

ALIGNED = 4096  # bytes: pages, so that a runtime may map the tensors instead of reading them
PIECE = 2**22  # bytes; a multiple of every element's size
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
            _take_in(_Part(tensor, external.range_of(tensor, folder)))
    if not parts:
        return canon.write(written, path)
    data = path.with_name(path.name + external.DATA)
    with data.open("wb") as stream:
        hashed = _Hashed(stream)
        _write(parts, hashed, data.name)
        digest = hashed.digest()
    return canon.write(_marked(written, digest), path)


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
    for piece in _bytes(tensor, where):
        yield np.frombuffer(piece, kind)


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

    def pieces(self) -> Iterator[bytes]:
        """Its bytes in its type."""
        from onnx import helper

        if external.stored(self.tensor) == self.tensor.data_type:
            return _bytes(self.tensor, self.where)
        return _converted(pieces(self.tensor, self.where), helper.tensor_dtype_to_np_dtype(self.tensor.data_type))

    def same(self) -> object:
        """Equal for tensors that are made of the same bytes in the same way; None where nothing is known."""
        return (self.where, self.tensor.data_type) if self.where else None


def _converted(given: Iterable[NDArray[Any]], kind: np.dtype[Any]) -> Iterator[bytes]:
    import numpy as np

    with np.errstate(over="ignore"):
        for piece in given:
            yield piece.astype(kind).tobytes()


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


def _write(parts: Iterable[_Part], hashed: _Hashed, file: str) -> None:
    """Write the tensors and point each to its place. What shared a range, and becomes the same, is written once."""
    placed: dict[object, int] = {}
    end = 0
    for part in parts:
        same = part.same()
        offset = placed.get(same) if same else None
        if offset is None:
            offset = end + -end % ALIGNED
            hashed.write(bytes(offset - end))
            for piece in _ahead(part.pieces()):
                hashed.write(piece)
        _point(part.tensor, file, offset)
        end = max(end, offset + external.nbytes(part.tensor))
        placed |= {same: offset} if same else {}


def _ahead(given: Iterator[bytes]) -> Iterator[bytes]:
    """The same pieces, of which the next is read and converted in a thread while one is written."""
    with ThreadPoolExecutor(1) as beside:
        coming = beside.submit(next, given, None)
        while piece := coming.result():
            coming = beside.submit(next, given, None)
            yield piece


def _bytes(tensor: TensorProto, where: Range | None) -> Iterator[bytes]:
    if where is None:
        whole = memoryview(_raw(tensor))
        yield from (bytes(whole[at : at + PIECE]) for at in range(0, len(whole), PIECE))
        return
    with where.path.open("rb", buffering=0) as stream:
        stream.seek(where.offset)
        left = where.length
        while left:
            piece = stream.read(min(PIECE, left))
            if not piece:
                raise OSError(f"{where.path.name} became shorter while it was read")
            left -= len(piece)
            yield piece


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


def _take_in(part: _Part) -> None:
    from onnx import TensorProto

    part.tensor.raw_data = b"".join(part.pieces())
    del part.tensor.external_data[:]
    part.tensor.data_location = TensorProto.DEFAULT


def _marked(model: ModelProto, digest: str) -> ModelProto:
    entries = {entry.key: entry.value for entry in model.metadata_props} | {WEIGHTS: digest}
    del model.metadata_props[:]
    for key, text in sorted(entries.items()):
        model.metadata_props.add(key=key, value=text)
    return model


class _Hashed:
    """Writes to a stream and hashes the same bytes in a thread meanwhile."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._sha = stream, hashlib.sha256()
        self._thread = ThreadPoolExecutor(1)
        self._last: Future[None] | None = None

    def write(self, data: bytes) -> None:
        self._wait()
        self._last = self._thread.submit(self._sha.update, data)
        self._stream.write(data)

    def digest(self) -> str:
        self._wait()
        self._thread.shutdown()
        return "sha256:" + self._sha.hexdigest()

    def _wait(self) -> None:
        if self._last:
            self._last.result()

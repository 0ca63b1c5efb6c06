"""Weights that stand in files beside the model: find them, refuse what leads outside or does not fit, take them in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import graphs
from .refused import Refused

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

LIMIT = 2**31 - 1  # bytes that one protobuf message can hold
DATA = ".data"
"""What the name of the file with the weights that we keep apart has more than the model's."""
STORED = "ortolan.stored"
"""An entry of external data in memory only: the type of the bytes in the file, where the tensor is to have another."""
_RECIPE = "list the file in the recipe: [source] external_data = [...]"
_DAMAGED = "the file is truncated or belongs to another model: copy it again from where the model came"
_AGAIN = "save the model again with onnx.save_model(..., save_as_external_data=True)"


@dataclass(frozen=True)
class Range:
    """Where the bytes of a tensor stand: ``length`` of them from ``offset`` on, in the file ``path``."""

    path: Path
    offset: int
    length: int

    def read(self) -> bytes:
        """All of them."""
        with self.path.open("rb") as stream:
            stream.seek(self.offset)
            read = stream.read(self.length)
        if len(read) < self.length:
            raise shorter(self.path)
        return read

    def split(self, most: int) -> Iterator[Range]:
        """The same bytes in ranges of ``most`` bytes, the last of what is left."""
        for at in range(0, self.length, most):
            yield Range(self.path, self.offset + at, min(most, self.length - at))


Found = Sequence[tuple["TensorProto", Range]]


def shorter(path: Path) -> OSError:
    """What is raised where a file ends before a range that was found in it."""
    return OSError(f"{path.name} became shorter while it was read")


def tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Every tensor of a model that may hold data: initializers, sparse ones and tensor attributes, nested graphs included."""
    for graph in graphs.graphs(model.graph):
        yield from graph.initializer
    yield from others(model)


def others(model: ModelProto) -> Iterator[TensorProto]:
    """Those of them that are no plain initializers."""
    for graph in graphs.graphs(model.graph):
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in graphs.nodes(model):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def is_outside(tensor: TensorProto) -> bool:
    """Whether its data stand in another file."""
    return bool(tensor.data_location == tensor.EXTERNAL)


def stored_outside(model: ModelProto) -> list[TensorProto]:
    """The tensors whose data stand in another file."""
    return [tensor for tensor in tensors(model) if is_outside(tensor)]


def stored(tensor: TensorProto) -> int:
    """The element type of a tensor's data as they stand: another than its own where it was turned and is not yet saved."""
    from onnx import TensorProto

    named = next((entry.value for entry in tensor.external_data if entry.key == STORED), "")
    return int(TensorProto.DataType.Value(named)) if named else int(tensor.data_type)


def nbytes(tensor: TensorProto, kind: int | None = None) -> int:
    """The bytes that a tensor's values take as raw data, in its type or in ``kind``; 0 for strings, which have no raw form."""
    from onnx import TensorProto, helper

    kind = tensor.data_type if kind is None else kind
    name = TensorProto.DataType.Name(kind) if kind in TensorProto.DataType.values() else "UNDEFINED"
    if name in {"UNDEFINED", "STRING"}:
        return 0
    packed = next((bits for ending, bits in (("INT4", 4), ("FLOAT4E2M1", 4), ("INT2", 2)) if name.endswith(ending)), 0)
    bits = packed or 8 * helper.tensor_dtype_to_np_dtype(kind).itemsize
    return int((math.prod(tensor.dims) * bits + 7) // 8)


def ranges(model: ModelProto, folder: Path) -> Found:
    """Every tensor whose data stand outside, and where that is.

    Raises ``Refused`` for a file that is missing, too short or outside ``folder``, for a range of another size than the tensor,
    and for two ranges that overlap without being the same.
    """
    found = [(tensor, range_of(tensor, folder)) for tensor in stored_outside(model)]
    _refuse_overlaps(found)
    return found


def total(model: ModelProto, found: Found) -> int:
    """The bytes of the model with all its weights taken in."""
    return int(model.ByteSize()) + sum(where.length for _, where in found)


def files(found: Found, folder: Path) -> list[str]:
    """The names of the files, sorted."""
    return sorted({str(where.path.relative_to(folder.resolve())) for _, where in found})


def take_in(found: Iterable[tuple[TensorProto, Range]]) -> None:
    """Take the tensors' data into the model."""
    from onnx import TensorProto

    for tensor, where in found:
        tensor.raw_data = where.read()
        del tensor.external_data[:]
        tensor.data_location = TensorProto.DEFAULT


def inline(model: ModelProto, folder: Path) -> list[str]:
    """Take the data of every external tensor into the model; the names of the files they came from, sorted.

    Raises ``Refused`` as ``ranges`` does, and when the whole would pass 2 GB.
    """
    found = ranges(model, folder)
    size = total(model, found)
    if size > LIMIT:
        raise Refused(
            f"the model with its weights has {size:,} bytes",
            why="this step holds the whole model in memory, and an ONNX file without external data holds at most 2 GB",
            hint="build it for a target whose outputs and checks take models with external data",
        )
    take_in(found)
    return files(found, folder)


def openable(model: ModelProto, folder: Path) -> bytes | Path:
    """What a session opens of a model made in memory: its bytes; or, as its external data are in ``folder``, a file there."""
    if not stored_outside(model):
        return bytes(model.SerializeToString())
    path = folder / "opened.onnx"
    while path.exists():
        path = path.with_name(f"_{path.name}")
    path.write_bytes(model.SerializeToString())
    return path


def range_of(tensor: TensorProto, folder: Path) -> Range:
    """Where the data of one external tensor are. Raises ``Refused``."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    path = _resolve(tensor.name, location, folder)
    needed, size = nbytes(tensor, stored(tensor)), path.stat().st_size
    try:
        offset, length = int(entries.get("offset") or 0), int(entries.get("length") or needed)
    except ValueError:
        offset = length = -1
    if offset < 0 or length < 0 or offset + length > size:
        raise Refused(
            f"external data file {location!r} has {size:,} bytes, too few for tensor '{tensor.name}'",
            why=f"the tensor is said to stand at offset {entries.get('offset', 0)}, {entries.get('length', 'all')} bytes",
            hint=_DAMAGED,
        )
    if length != needed:
        raise Refused(
            f"tensor '{tensor.name}' does not fit its external data",
            why=f"{length:,} bytes are said to stand in {location!r}; its shape {list(tensor.dims)} takes {needed:,}",
            hint=_DAMAGED,
        )
    return Range(path, offset, length)


def refuse(model: ModelProto) -> None:
    """Raise ``Refused`` for a model whose weights stand apart: in steps that want all of it in one file."""
    size = sum(nbytes(tensor) for tensor in stored_outside(model))
    raise Refused(
        f"the model's weights, {size:,} bytes, stand in a file of their own",
        why="this step works on a whole model in one file, which holds at most 2 GB",
        hint="leave out of the recipes what asks for this step",
    )


def _resolve(name: str, location: str, folder: Path) -> Path:
    root = folder.resolve()
    path = (root / location).resolve()
    if not location or Path(location).is_absolute() or not path.is_relative_to(root):
        raise Refused(
            f"tensor '{name}' keeps its data at {location!r}, outside the model's folder",
            why="external data must stand in the model's folder or below it",
            hint="save the model again with a plain file name as its external data location",
        )
    if not path.is_file():
        raise Refused(f"external data file {location!r} is missing", why=f"tensor '{name}' keeps its data there", hint=_RECIPE)
    return path


def _refuse_overlaps(found: Found) -> None:
    """Tensors may share a range; ranges that overlap in part were written by mistake, or to mislead."""
    standing = sorted(((w.path, w.offset, w.length, t.name) for t, w in found if w.length), key=lambda one: one[:3])
    furthest: tuple[Path, int, int, str] | None = None
    for one in standing:
        path, offset, length, name = one
        if furthest and furthest[0] == path and offset < furthest[1] + furthest[2] and (offset, length) != furthest[1:3]:
            raise Refused(
                f"the external data of tensors '{furthest[3]}' and '{name}' overlap in {path.name!r}",
                why=f"one stands at offset {furthest[1]:,}, {furthest[2]:,} bytes, the other at {offset:,}, {length:,} bytes",
                hint=_AGAIN,
            )
        furthest = one

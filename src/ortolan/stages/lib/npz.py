"""Streams the rows of arrays out of an .npz file, one at a time, without ever holding a whole array."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from .refused import Refused

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)  # what zipfile raises


@dataclass(frozen=True)
class Header:
    """What an array's header says. ``shape[0]`` counts the rows."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool


def headers(path: Path, name: str) -> dict[str, Header]:
    """The arrays of an .npz file by name. ``name`` is what the user calls the file. Raises ``Refused`` if it is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {_array(member): _header(archive, member, name) for member in archive.namelist() if member.endswith(".npy")}
    except FileNotFoundError:
        raise Refused(f"{name} is missing", hint="check [data] in the model's recipe") from None
    except _BROKEN as error:
        raise _unreadable(name, error) from None


def rows(path: Path, name: str, array: str, limit: int | None = None) -> Iterator[NDArray[Any]]:
    """Yield the rows of one array in order: arrays of ``shape[1:]`` in native byte order, the first ``limit`` of them.

    ``name`` is what the user calls the file. Raises ``Refused`` for an array without rows in order, and for damaged bytes.
    """
    import numpy as np

    header = headers(path, name)[array]
    _streamable(header, name, array)
    size = math.prod(header.shape[1:]) * header.dtype.itemsize
    try:
        with zipfile.ZipFile(path) as archive, archive.open(array + ".npy") as stream:
            _read_header(stream)
            count = min(header.shape[0], limit or header.shape[0])
            for _ in range(count):
                row = np.frombuffer(_exactly(stream, size), header.dtype).reshape(header.shape[1:])
                yield row.astype(header.dtype.newbyteorder("="))
            if count == header.shape[0]:
                stream.read(1)  # at the end zipfile compares the checksum
    except _BROKEN as error:
        raise _unreadable(name, error) from None


def pick(found: dict[str, Header], wanted: str, file: str, what: str) -> Header:
    """The array ``wanted``; ``Refused`` with the nearest name when it is absent. ``what`` says what it is for."""
    if wanted in found:
        return found[wanted]
    near = get_close_matches(wanted, found, n=1, cutoff=0.0)
    raise Refused(
        f"{file} has no array {wanted!r}",
        why=f"{what} needs it; the file holds {', '.join(map(repr, sorted(found))) or 'no arrays'}",
        hint=f"rename {near[0]!r} to {wanted!r} in numpy.savez, or change the recipe" if near else "write it with numpy.savez",
    )


def _streamable(header: Header, name: str, array: str) -> None:
    if header.dtype.hasobject:
        raise Refused(f"{name}: array {array!r} holds Python objects", hint="save numbers: numpy.asarray(..., dtype='float32')")
    if not header.shape:
        raise Refused(f"{name}: array {array!r} is a single number", why="its first axis must count samples")
    if header.fortran and len(header.shape) > 1:
        raise Refused(
            f"{name}: array {array!r} is stored in Fortran order",
            why="its samples are interleaved and cannot be read one by one",
            hint="save numpy.ascontiguousarray(array)",
        )


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise EOFError(f"the array ends after {len(data)} of a row's {size} bytes")
    return data


def _array(member: str) -> str:
    return member.removesuffix(".npy")


def _header(archive: zipfile.ZipFile, member: str, name: str) -> Header:
    with archive.open(member) as stream:
        try:
            return _read_header(stream)
        except ValueError as error:
            raise Refused(f"{name}: array {_array(member)!r} has no readable header", why=str(error).splitlines()[0]) from None


def _read_header(stream: IO[bytes]) -> Header:
    from numpy.lib import format as npy

    version = npy.read_magic(stream)
    if version not in {(1, 0), (2, 0)}:
        raise ValueError(f"its .npy format {version[0]}.{version[1]} is not one of 1.0 and 2.0")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    return Header(tuple(shape), dtype, fortran)


def _unreadable(name: str, error: BaseException) -> Refused:
    return Refused(
        f"{name} cannot be read as .npz",
        why=str(error) or type(error).__name__,
        hint="write it with numpy.savez; if it was copied, compare its size and checksum with the original",
    )

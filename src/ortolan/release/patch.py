"""The two kinds of binary patches: how each is made of two archives, and how it is applied, by a library and by a program.

Both are single-threaded and without settings of the machine, so that equal archives give equal patches.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import bsdiff4
import zstandard

Method = Literal["zstd", "bsdiff"]
_WINDOW = 1 << 31
"""The largest distance that a decoder may be asked for: ``zstd --long=31``, the most that zstd has on 64-bit machines."""
_TABLE = 28
"""The hash table has ``2 ** _TABLE`` entries of 4 bytes at most, and the library makes two of them: 2 GiB."""


@dataclass(frozen=True)
class Kind:
    """How patches of a kind are made and applied. ``most``: bytes of an archive, beyond which they are not made.

    ``make(old, new)`` gives the patch, ``apply(old, patch, size)`` an archive of ``size`` bytes; ValueError when it does not fit.
    ``command`` are the words that apply a patch by the program of that name, from file to file.
    """

    make: Callable[[bytes, bytes], bytes]
    apply: Callable[[bytes, bytes, int], bytes]
    most: int
    command: Callable[[Path, Path, Path], Sequence[str]]


def _zstd_make(old: bytes, new: bytes) -> bytes:
    """One frame whose matches reach back into ``old``, as ``zstd --patch-from`` makes it.

    A table with about as many hashes as the archive has bytes, searched by rows, finds repeats in all of it; the tables of zstd's
    own levels forget the beginning, or are trees: those of level 19 came to the same size in 40 times the time (measured with
    17.7 MB: 0.5 s and 22 s).
    """
    size = max(len(old), len(new), 1 << 16)
    settings = zstandard.ZstdCompressionParameters(
        strategy=zstandard.STRATEGY_LAZY2, window_log=size.bit_length(), hash_log=min(size.bit_length() - 1, _TABLE),
        chain_log=20, search_log=5, min_match=5, target_length=64, write_content_size=True, threads=0,
    )  # fmt: skip
    return zstandard.ZstdCompressor(dict_data=_prefix(old), compression_params=settings).compress(new)


def _zstd_apply(old: bytes, patch: bytes, size: int) -> bytes:
    try:
        if zstandard.frame_content_size(patch) != size:
            raise ValueError(f"the patch does not make {size} bytes")
        return zstandard.ZstdDecompressor(dict_data=_prefix(old), max_window_size=_WINDOW).decompress(patch)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error


def _prefix(old: bytes) -> zstandard.ZstdCompressionDict:
    return zstandard.ZstdCompressionDict(old, dict_type=zstandard.DICT_TYPE_RAWCONTENT)


def _bsdiff_apply(old: bytes, patch: bytes, size: int) -> bytes:
    found: bytes = bsdiff4.patch(old, patch)
    if len(found) != size:
        raise ValueError(f"the patch does not make {size} bytes")
    return found


def _zstd_command(old: Path, patch: Path, new: Path) -> Sequence[str]:
    return ["zstd", "-d", "-q", "-f", "--long=31", f"--patch-from={old}", str(patch), "-o", str(new)]


def _bsdiff_command(old: Path, patch: Path, new: Path) -> Sequence[str]:
    return ["bspatch", str(old), str(new), str(patch)]


KINDS: dict[Method, Kind] = {
    "zstd": Kind(_zstd_make, _zstd_apply, 1 << 30, _zstd_command),
    "bsdiff": Kind(bsdiff4.diff, _bsdiff_apply, 64 << 20, _bsdiff_command),
}
"""In order of preference, where patches are of one size. bsdiff sorts all suffixes: 17 bytes of memory for each byte of an
archive, and 0.3 to 2 s for each MB (measured), which is why it is for small ones."""


def run_program(method: Method, old: Path, patch: Path, new: Path) -> str:
    """Apply a patch by the program that devices have, and return its name; empty where it is not installed. ValueError."""
    command = KINDS[method].command(old, patch, new)
    if not shutil.which(command[0]):
        return ""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603
    if done.returncode:
        raise ValueError(f"{command[0]} ended with {done.returncode}: {done.stderr.strip()}")
    return command[0]

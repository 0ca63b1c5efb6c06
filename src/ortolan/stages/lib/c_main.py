"""Runs the ``main`` of a C program that was compiled as a library, in this process: also where that is an emulated one."""

from __future__ import annotations

import ctypes
import sys


def main(words: list[str]) -> int:
    """``words`` are the library's path and what its ``main`` gets; its exit code comes back."""
    program = ctypes.CDLL(words[0])
    texts = [word.encode() for word in words]
    return int(program.main(len(texts), (ctypes.c_char_p * (len(texts) + 1))(*texts, None)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

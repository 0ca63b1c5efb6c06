"""The verbs of `./inv`; they are those of the `ortolan` console program."""

from ortolan.cli import namespace as ns

__all__ = ["ns"]

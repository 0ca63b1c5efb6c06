"""What a build yields: artifacts, and gates with one of four outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


@dataclass(frozen=True)
class Artifact:
    """A file by name, digest (``sha256:...``), size in bytes and media type.

    ``about``: what a device compares with itself before it loads the file, like a compute capability.
    """

    name: str
    digest: str
    size: int
    media_type: str
    about: tuple[tuple[str, str], ...] = ()


class Outcome(StrEnum):
    """The four things that a gate can say."""

    PASS = "pass"  # noqa: S105 - an outcome, not a password
    FAIL = "fail"
    NOT_RUN = "not-run"
    WAIVED = "waived"


Precision = Literal["fp32", "fp16", "int8", "int8-dynamic", "int8-weights", "int4-weights"]
"""What a shipped model computes in: ``int8`` by ranges known beforehand, ``-dynamic`` by ranges measured as it runs,
``-weights`` in float with weights of so many bits. A model of a lower precision may have layers in a higher one.
"""
FP32: Precision = "fp32"

SHIPPED = "shipped"
"""The subject of gates on the files that ship."""


@dataclass(frozen=True)
class Gate:
    """One claim about one candidate.

    ``subject`` is what was judged (``fp32``, ``int8``, ``ort``). ``measured`` and ``limit`` are texts with units.
    ``varies`` marks a measured value (a timing) that differs between equal builds and so stays out of the manifest.
    """

    name: str
    subject: str
    outcome: Outcome
    measured: str = ""
    limit: str = ""
    why: str = ""
    varies: bool = False

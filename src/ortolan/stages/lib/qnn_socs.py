"""Qualcomm's SoCs: the numbers that QNN knows them by, their HTP, and what a context binary says it was built for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .refused import Refused


@dataclass(frozen=True)
class Soc:
    """A SoC as its recipe names it, QNN's number for it, and the version of its Hexagon Tensor Processor."""

    name: str
    model: int
    arch: int


_TABLE = {
    "SM8350": (30, 68), "SM8450": (36, 69), "SM8550": (43, 73), "SM8650": (57, 75), "SM8750": (69, 79), "SM8850": (87, 81),
    "SM8845": (97, 81), "SA8295": (39, 68), "SA8255": (52, 73), "QCS8300": (82, 75), "QCS8550": (66, 73), "QCS9100": (77, 73),
    "SXR2230P": (53, 69), "SXR2330P": (75, 79), "SC8380XP": (60, 73), "SC8480XP": (88, 81),
}  # fmt: skip
SOCS: Mapping[str, Soc] = {name: Soc(name, *numbers) for name, numbers in sorted(_TABLE.items())}
"""Measured with onnxruntime-qnn 2.7.0 (QNN 2.51): ``soc_type`` and ``arch`` in the context binary that each number gives.

Qualcomm's table of supported Snapdragon devices has more; where this number or its name gave another version of the HTP than that
table (SM7450, SM8475), it is left out.
"""

_BUILT_FOR = re.compile(rb"soc_type=([^;\0]+);arch=(\d+);")


def find(name: str) -> Soc:
    """The SoC of that name, or of that number. Raises ``Refused`` with those that are known."""
    for soc in SOCS.values():
        if name.upper() == soc.name or name == str(soc.model):
            return soc
    why = "QNN takes any name and number, and builds for another SoC where it does not know one"
    raise Refused(f"SoC '{name}' is not known", why=why, hint=f"known are {', '.join(SOCS)}")


def built_for(binary: bytes) -> list[tuple[str, int]]:
    """The SoCs and HTP versions that a context binary names, without repetition; empty where it names none."""
    found = (((match[1].decode("ascii", "replace")), int(match[2])) for match in _BUILT_FOR.finditer(binary))
    return list(dict.fromkeys(found))

"""Configurations of reduced runtimes for tests: strategies for any, and a few that are like those of real models."""

from __future__ import annotations

from hypothesis import strategies as st

from ortolan.reduced.config import Config, Operator
from ortolan.reduced.config_types import CUSTOM, KNOWN, Types

TYPES = sorted(KNOWN)
NAMES = {"ai.onnx": ["Add", "Cast", "Conv", "OneHot", "Reshape", "Slice"], "com.microsoft": ["FusedConv", "QLinearConv"]}
_SOME = st.frozensets(st.sampled_from(TYPES), min_size=1, max_size=3)
_TRIPLES = st.frozensets(st.tuples(*[st.sampled_from(TYPES[:4])] * 3).map(" ".join), min_size=1, max_size=3)
_PLACES = st.dictionaries(st.sampled_from(["inputs 0", "inputs 1", "inputs 10", "outputs 0"]), _SOME, min_size=1)


UNTYPED = frozenset({"FusedConv", "Reshape"})
"""Operators of whose types ONNX Runtime's tools keep no account."""


@st.composite
def _limits(draw: st.DrawFn, name: str) -> Types | None:
    """As ONNX Runtime's tools tell the types of this operator, or other ones where it has no name."""
    custom = draw(st.booleans()) if not name else name == "OneHot"
    return None if name in UNTYPED else {CUSTOM: draw(_TRIPLES)} if custom else draw(_PLACES)


@st.composite
def configs(draw: st.DrawFn, *, whole: bool = True, like_tools: bool = False) -> Config:
    """Any configuration; ``whole``: also those for all operators, or with types for all operators alike.

    ``like_tools``: with types only where ONNX Runtime's tools write some, and of the kind that they write.
    """
    operators = draw(st.frozensets(_operators(), max_size=6))
    if whole and draw(st.integers(0, 4)) == 0:
        everything = draw(st.booleans())
        return Config(frozenset() if everything else operators, {}, draw(st.none() | _SOME), everything)
    keys = sorted({(one.domain, one.name) for one in operators})
    limits = {key: draw(st.none() | _limits(key[1] if like_tools else "")) for key in keys}
    return Config(operators, {key: types for key, types in limits.items() if types})


@st.composite
def _operators(draw: st.DrawFn) -> Operator:
    domain = draw(st.sampled_from(sorted(NAMES)))
    return Operator(domain, draw(st.integers(1, 26)), draw(st.sampled_from(NAMES[domain])))

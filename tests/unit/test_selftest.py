"""The self-test's comparison is that of builds, for every type and for values that are no numbers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from device_programs import SELFTEST, module
from ortolan.stages.lib import tensors

PROGRAM = module(SELFTEST)
TYPES = ["float16", "float32", "float64", "int8", "int32", "int64", "uint8", "uint64", "bool"]
LIMITS = {"rtol": 1e-3, "atol": 1e-5, "min_snr_db": None}


@st.composite
def pairs(draw: st.DrawFn) -> tuple[NDArray[Any], NDArray[Any]]:
    """Two tensors of one type and shape, near each other or not."""
    dtype, shape = draw(st.sampled_from(TYPES)), draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    one = draw(hnp.arrays(dtype, shape))
    if draw(st.booleans()):
        return one, draw(hnp.arrays(dtype, shape))
    scale = draw(st.sampled_from([1.0, 1 + 1e-5, 1.01]))
    with np.errstate(all="ignore"):
        return one, (one * scale).astype(dtype) if dtype.startswith("float") else one.copy()


@given(pair=pairs())
@settings(max_examples=150, deadline=None)
def test_near_is_what_builds_call_near(pair: tuple[NDArray[Any], NDArray[Any]]) -> None:
    wanted, found = pair
    near, said, error, snr = PROGRAM._difference(found, wanted, LIMITS)
    known = tensors.compare(wanted, found, LIMITS["rtol"] or 0.0, LIMITS["atol"] or 0.0)
    assert (near, error, snr) == (known["close"], known["max_abs"], known["snr_db"])
    assert said
    json.dumps([near, error, snr], allow_nan=False)


@pytest.mark.parametrize(
    ("found", "wanted", "near"),
    [
        (["a", "b"], ["a", "b"], True), (["a", "c"], ["a", "b"], False),
    ],
)  # fmt: skip
def test_texts_are_the_same_or_not(found: list[str], wanted: list[str], near: bool) -> None:
    assert PROGRAM._difference(np.array(found, object), np.array(wanted, object), LIMITS)[0] is near


def test_another_shape_or_type_is_never_near() -> None:
    for other in (np.zeros((2, 1), np.float32), np.zeros(2, np.float64), np.array(["a", "b"], object)):
        near, said, *rest = PROGRAM._difference(other, np.zeros(2, np.float32), LIMITS)
        assert (near, rest) == (False, [None, None])
        assert "in place of float32 [2]" in said


def test_a_good_ratio_is_enough_for_int8_alone_and_none_for_nan() -> None:
    wanted, rounded = np.full(100, 10, np.float32), np.full(100, 10.1, np.float32)
    assert not PROGRAM._difference(rounded, wanted, LIMITS)[0]
    near, said, _, snr = PROGRAM._difference(rounded, wanted, LIMITS | {"min_snr_db": 30.0})
    assert near
    assert snr == pytest.approx(40, abs=0.1)
    assert "SNR 40 dB (least 30 dB)" in said
    assert not PROGRAM._difference(rounded, wanted, LIMITS | {"min_snr_db": 41.0})[0]
    rounded[0] = np.nan
    near, said, *rest = PROGRAM._difference(rounded, wanted, LIMITS | {"min_snr_db": 1.0})
    assert (near, rest) == (False, [None, None])
    assert "SNR unknown" in said

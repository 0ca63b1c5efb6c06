"""Thresholds in float32 send every float32 to the branch that it took before."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ortolan.stages.lib.est_lgb_text import averaged, for_converter
from ortolan.stages.lib.est_thresholds import down_to_float32

FINITE = st.floats(-1e30, 1e30, allow_subnormal=False)
TREES = "\nTree=0\nthreshold=0.1 3\nleaf_value=4 2\n\nTree=1\nleaf_value=1\n"
TREE = "tree\nversion=v4\nnum_tree_per_iteration=1\n{}tree_sizes=9 9\n" + TREES


@given(value=FINITE)
def test_no_float32_changes_sides(value: float) -> None:
    down = down_to_float32(value)
    assert float(np.float32(down)) == down <= value
    for near in (np.float32(value), np.nextafter(np.float32(value), np.float32(np.inf)), np.float32(down)):
        assert (float(near) <= value) == (float(near) <= down)


def test_lightgbms_text_gets_such_thresholds_and_loses_its_sizes() -> None:
    text = for_converter(TREE.format(""))
    assert f"threshold={down_to_float32(0.1)!r} 3.0\n" in text
    assert "tree_sizes" not in text
    assert "leaf_value=4.0 2.0" not in text
    assert "leaf_value=4 2" in text


def test_averaged_trees_become_a_sum() -> None:
    text = TREE.format("average_output\n")
    assert averaged(text)
    assert not averaged(for_converter(text))
    assert "leaf_value=2.0 1.0" in for_converter(text)

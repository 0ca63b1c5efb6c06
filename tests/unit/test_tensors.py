"""Samples survive a round trip with equal bytes, and comparisons are strict and JSON-safe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from ortolan.stages.lib import tensors


def compare(expected: Any, actual: Any, rtol: float = 1e-3, atol: float = 1e-5) -> dict[str, Any]:
    result = tensors.compare(np.asarray(expected), np.asarray(actual), rtol, atol)
    json.dumps(result, allow_nan=False)
    assert result["close"] == (not result["reason"])
    return result


def test_samples_come_back_in_order_with_names_types_and_shapes(tmp_path: Path) -> None:
    samples: list[dict[str, NDArray[Any]]] = [
        {"a/b:0": np.full((2, 1), i, np.float16), "Input 3": np.array(i, np.int64), "x.npy": np.zeros((0, 3))} for i in range(12)
    ]
    tensors.write_samples(tmp_path / "s.npz", samples)
    back = tensors.read_samples(tmp_path / "s.npz")
    assert [sorted(sample) for sample in back] == [sorted(sample) for sample in samples]
    for got, want in zip(back, samples, strict=True):
        assert all(
            np.array_equal(got[k], want[k]) and got[k].dtype == want[k].dtype and got[k].shape == want[k].shape for k in want
        )


def test_a_sample_of_a_model_without_inputs_still_counts(tmp_path: Path) -> None:
    tensors.write_samples(tmp_path / "s.npz", [{}, {}, {}])
    assert tensors.read_samples(tmp_path / "s.npz") == [{}, {}, {}]


def test_equal_samples_have_equal_bytes_whatever_the_order_and_layout_in_memory(tmp_path: Path) -> None:
    grid = np.arange(6.0).reshape(2, 3)
    tensors.write_samples(tmp_path / "one.npz", [{"a": grid, "b": grid}])
    tensors.write_samples(tmp_path / "two.npz", [{"b": np.asfortranarray(grid), "a": grid.copy()}])
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_strings_survive(tmp_path: Path) -> None:
    tensors.write_samples(tmp_path / "s.npz", [{"s": np.array(["cat", "doggy"], dtype=object)}])
    assert list(tensors.read_samples(tmp_path / "s.npz")[0]["s"]) == ["cat", "doggy"]


@given(hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=5), elements=st.floats(-1e6, 1e6, width=32)))
def test_every_finite_tensor_is_close_to_itself(array: NDArray[np.float32]) -> None:
    result = compare(array, array.copy())
    assert result["close"]
    assert result["max_abs"] == 0
    assert result["snr_db"] is None


@given(
    hnp.arrays(np.float64, 6, elements=st.floats(-1e3, 1e3)), hnp.arrays(np.float64, 6, elements=st.floats(-1e3, 1e3)),
    st.sampled_from([0.0, 1e-3, 1.0]), st.sampled_from([0.0, 1e-5, 10.0]),
)  # fmt: skip
def test_closeness_of_floats_is_numpys(expected: NDArray[Any], actual: NDArray[Any], rtol: float, atol: float) -> None:
    assert compare(expected, actual, rtol, atol)["close"] == np.allclose(actual, expected, rtol, atol)


def test_the_figures_of_a_known_error() -> None:
    result = compare([3.0, 4.0], [3.0, 4.5])
    assert result["max_abs"] == 0.5
    assert result["max_rel"] == 0.125
    assert result["snr_db"] == pytest.approx(20.0)
    assert result["reason"] == "1 of 2 values beyond tolerance"


@pytest.mark.parametrize("pair", [([1.0, np.nan], [1.0, 2.0]), ([1.0, 2.0], [1.0, np.nan]), ([np.nan], [np.nan])])
def test_nan_is_never_close(pair: tuple[list[float], list[float]]) -> None:
    result = compare(*pair, rtol=1e9, atol=1e9)
    assert not result["close"]
    assert result["nan"] == np.isnan(pair).sum()


def test_infinities_are_close_to_themselves_alone() -> None:
    assert compare([np.inf, -np.inf], [np.inf, -np.inf])["close"]
    assert not compare([np.inf], [-np.inf])["close"]
    assert not compare([np.inf], [1e30])["close"]
    assert not compare([1.0], [np.inf], rtol=1e9, atol=1e9)["close"]


def test_integers_are_classes_and_no_quantities() -> None:
    assert not compare(np.array([1000], np.int64), np.array([1001], np.int64))["close"]
    assert compare(np.array([10], np.int8), np.array([11], np.int8), atol=1)["close"]
    assert not compare(np.array([0], np.uint8), np.array([255], np.uint8), atol=1)["close"]
    assert not compare(np.array([2**62], np.int64), np.array([2**62 + 1], np.int64))["close"]
    assert not compare([True], [False])["close"]


def test_shapes_and_types_must_agree() -> None:
    assert compare(np.zeros((2, 1)), np.zeros(2))["reason"] == "shape [2], expected [2, 1]"
    assert compare(np.zeros(2, np.float32), np.zeros(2))["reason"] == "dtype float64, expected float32"
    assert not compare(["a", "b"], ["a", "c"])["close"]
    assert compare(["a", "b"], np.array(["a", "b"], dtype=object))["close"]


def test_empty_tensors_are_equal() -> None:
    assert compare(np.zeros((0, 3)), np.zeros((0, 3))) == {
        "max_abs": None,
        "max_rel": None,
        "snr_db": None,
        "nan": 0,
        "close": True,
        "reason": "",
    }


def test_the_worst_of_several_samples() -> None:
    good, bad = compare([1.0], [1.0]), compare([1.0], [2.0])
    assert tensors.worst([good, bad]) == bad
    assert tensors.worst([good, good]) == good
    with pytest.raises(ValueError, match="no comparison"):
        tensors.worst([])

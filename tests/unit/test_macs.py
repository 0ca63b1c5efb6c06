"""Multiply-accumulates per node: graphs in nodes with their node, unknown where shapes are."""

from __future__ import annotations

import numpy as np

import models
from ortolan.stages.lib import macs


def test_each_node_has_its_own() -> None:
    model = models.convnet(batch=1)
    per_node = macs.per_node(model)
    assert per_node == [4 * 8 * 8 * 9, 0, 0, 0, 4 * 3]


def test_graphs_in_a_node_count_with_it() -> None:
    weights = {"w": np.ones((2, 2), np.float32)}
    text = (
        f"(bool c, float[2] x) => (float[2] y) {{ {models.branches('t = MatMul(x, w)', 'm = MatMul(x, w)  e = MatMul(m, w)')} }}"
    )
    model = models.graph(text, weights=weights)
    assert macs.per_node(model) == [3 * 4]


def test_an_unknown_shape_is_no_zero() -> None:
    model = models.graph("(float[2,2] x) => (float[2,2] y) { z = my.domain.Twirl(x)  y = MatMul(z, x) }", my_domain=1)
    assert macs.per_node(model) == [0, None]

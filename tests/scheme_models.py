"""ONNX models for the tests of quantisation's schemes: a transformer's encoder, a deep network with one sabotaged layer."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from quantise_models import Array, graph, save, value, weight

WIDTH, HEADS, WORDS, LENGTH = 64, 4, 100, 16
TOKENS = {"name": "ids", "dtype": "int64", "shape": ["batch", LENGTH], "range": [0, WORDS - 1]}


class _Encoder:
    """Builds an encoder node by node."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []
        self._random = np.random.default_rng(seed)

    def matrix(self, name: str, *shape: int, scale: float | None = None) -> str:
        values = self._random.standard_normal(shape) * (scale or 1 / np.sqrt(shape[0]))
        return self.constant(name, values.astype(np.float32))

    def constant(self, name: str, values: Any) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def add(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], f"{output}_node", **attributes))
        return output

    def normalised(self, name: str, output: str) -> str:
        gain = self.constant(f"{output}_gain", np.ones(WIDTH, np.float32))
        offset = self.constant(f"{output}_offset", np.zeros(WIDTH, np.float32))
        return self.add("LayerNormalization", [name, gain, offset], output, epsilon=1e-5)

    def heads(self, name: str, kind: str, layer: str) -> str:
        product = self.add("MatMul", [name, self.matrix(f"{layer}w{kind}", WIDTH, WIDTH)], f"{layer}{kind}_product")
        biased = self.add("Add", [product, self.matrix(f"{layer}b{kind}", WIDTH, scale=0.1)], f"{layer}{kind}_biased")
        apart = self.add("Reshape", [biased, "apart"], f"{layer}{kind}_apart")
        return self.add("Transpose", [apart], f"{layer}{kind}", perm=[0, 2, 3, 1] if kind == "k" else [0, 2, 1, 3])

    def layer(self, name: str, layer: str) -> str:
        query, key, values = (self.heads(name, kind, layer) for kind in "qkv")
        scores = self.add("Mul", [self.add("MatMul", [query, key], f"{layer}scores"), "scale"], f"{layer}scaled")
        mixed = self.add("MatMul", [self.add("Softmax", [scores], f"{layer}soft", axis=-1), values], f"{layer}mixed")
        joined = self.add(
            "Reshape", [self.add("Transpose", [mixed], f"{layer}back", perm=[0, 2, 1, 3]), "joined"], f"{layer}joined"
        )
        out = self.add("MatMul", [joined, self.matrix(f"{layer}wo", WIDTH, WIDTH)], f"{layer}out")
        first = self.normalised(self.add("Add", [out, name], f"{layer}sum"), f"{layer}norm")
        wide = self.add(
            "Relu", [self.add("MatMul", [first, self.matrix(f"{layer}w1", WIDTH, 2 * WIDTH)], f"{layer}wide")], f"{layer}r"
        )
        narrow = self.add("MatMul", [wide, self.matrix(f"{layer}w2", 2 * WIDTH, WIDTH)], f"{layer}narrow")
        return self.normalised(self.add("Add", [narrow, first], f"{layer}sum2"), f"{layer}norm2")


def encoder(path: Path, layers: int = 2, seed: int = 0, batch: int | str = "batch") -> Path:
    """``ids`` [batch,16] of 100 words to ``logits`` [batch,10]: 6 MatMul with constant weights in a layer, a Gemm at the end."""
    built = _Encoder(seed)
    built.matrix("words", WORDS, WIDTH, scale=1.0)
    built.constant("apart", np.array([0, 0, HEADS, WIDTH // HEADS]))
    built.constant("joined", np.array([0, 0, WIDTH]))
    built.constant("scale", np.array(1 / np.sqrt(WIDTH // HEADS), np.float32))
    name = built.add("Gather", ["words", "ids"], "embedded")
    for index in range(layers):
        name = built.layer(name, f"layer{index}_")
    pooled = built.add("ReduceMean", [name], "pooled", axes=[1], keepdims=0)
    head, offset = built.matrix("head", 10, WIDTH, scale=0.1), built.matrix("offset", 10, scale=0.1)
    built.nodes.append(helper.make_node("Gemm", [pooled, head, offset], ["logits"], "gemm", transB=1))
    ends = [value("ids", [batch, LENGTH], TensorProto.INT64)], [value("logits", [batch, 10])]
    return save(graph(built.nodes, *ends, built.weights), path)


def tokens(count: int, seed: int = 0) -> NDArray[np.int64]:
    """Samples for ``encoder``."""
    return np.random.default_rng(seed).integers(0, WORDS, (count, LENGTH))


def deep(path: Path, layers: int = 60, sabotaged: Collection[int] = (37,), offset: Array | None = None) -> Path:
    """``layers`` convolutions with residuals, ``image`` [batch,1,8,8] to ``logits`` [batch,10].

    The last channel is always 0. A sabotaged convolution has huge weights for it, which change nothing in float, and leave the
    other weights no step of an 8-bit scale.
    """
    random, channels = np.random.default_rng(0), 8
    nodes, weights, name, before = list[NodeProto](), list[TensorProto](), "image", 1
    for index in range(layers):
        kernel = random.standard_normal((channels, before, 3, 3)) * np.sqrt(2 / (9 * before))
        bias = random.standard_normal(channels) * 0.05
        kernel[-1] = bias[-1] = 0
        if index in sabotaged:
            kernel[:, -1] = 200
        named = {f"w{index}": kernel, f"b{index}": bias}
        weights += [numpy_helper.from_array(array.astype(np.float32), key) for key, array in named.items()]
        nodes.append(helper.make_node("Conv", [name, *named], [f"c{index}"], f"conv{index}", pads=[1, 1, 1, 1]))
        if index:
            nodes.append(helper.make_node("Relu", [f"c{index}"], [f"r{index}"], f"relu{index}"))
            factor = "much" if index in sabotaged else "little"
            nodes.append(helper.make_node("Mul", [f"r{index}", factor], [f"m{index}"], f"mul{index}"))
            nodes.append(helper.make_node("Sub", [name, f"m{index}"], [f"s{index}"], f"sub{index}"))
        name, before = f"s{index}" if index else "c0", channels
    factors = {
        name: numpy_helper.from_array(np.array(size, np.float32), name) for name, size in (("little", 0.02), ("much", 0.5))
    }
    weights += [factors["little"], *([factors["much"]] if sabotaged else []), weight("head", 512, 10, seed=7)]
    weights.append(numpy_helper.from_array(np.zeros(10, np.float32) if offset is None else -offset, "offset"))
    nodes.append(helper.make_node("Flatten", [name], ["flat"], "flatten"))
    nodes.append(helper.make_node("Gemm", ["flat", "head", "offset"], ["logits"], "gemm"))
    return save(graph(nodes, [value("image", ["batch", 1, 8, 8])], [value("logits", ["batch", 10])], weights), path)


def trained(path: Path, **how: Any) -> dict[str, Array]:
    """``deep`` with an offset by which it tells 80 random images apart; the images and the class that it gives to each."""
    images = np.random.default_rng(1).random((80, 1, 8, 8)).astype(np.float32)
    deep(path, offset=ask(deep(path, **how), images).mean(0), **how)
    return {"image": images, "label": ask(path, images).argmax(1)}


def ask(path: Path, images: Array) -> Array:
    """What the reference implementation of onnx makes of images: no ONNX Runtime is in the runtime of the tests."""
    from onnx.reference import ReferenceEvaluator

    outputs: Any = ReferenceEvaluator(onnx.load(path)).run(None, {"image": images})
    logits: Array = outputs[0]
    return logits

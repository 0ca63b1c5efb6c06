"""Manifests as builds leave them, made by hand: for templates that are rendered without a build."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ortolan import preflight
from ortolan.manifest import (
    ArtifactPart,
    GoldenPart,
    Manifest,
    ModelPart,
    ProviderPart,
    SignaturePart,
    TargetPart,
    TensorPart,
)

SIZES = {"float16": 2, "float32": 4, "float64": 8, "int8": 1, "int64": 8, "bool": 1, "uint8": 1}
OPTIONS = {
    "intra_op_num_threads": 4, "inter_op_num_threads": 1, "execution_mode": "ORT_SEQUENTIAL",
    "graph_optimization_level": "ORT_ENABLE_ALL", "enable_mem_pattern": True, "enable_cpu_mem_arena": True,
}  # fmt: skip
FILES = ("model.onnx", "session.json", "golden.bin", "golden.json", "golden-inputs.npz", "golden-outputs.npz")


def tensor(name: str, dtype: str = "float32", shape: Sequence[int | str | None] | None = (1, 2)) -> TensorPart:
    """An input or output."""
    return TensorPart(name=name, dtype=dtype, shape=None if shape is None else list(shape))


def manifest(
    inputs: Sequence[TensorPart] = (tensor("x"),),
    outputs: Sequence[TensorPart] = (tensor("y"),),
    providers: Mapping[str, Mapping[str, str]] | None = None,
    config: Mapping[str, str] | None = None,
    *,
    licence: str = "Apache-2.0",
    files: Sequence[str] = FILES,
    package: str = "onnxruntime",
    platform: str = "linux/amd64",
    concurrent_run: bool = True,
) -> Manifest:
    """The manifest of a build with two golden samples, whose dynamic axes are 2."""
    given = {"CPUExecutionProvider": {}} if providers is None else providers
    version = "1.30.0" if package == "onnxruntime-web" else "1.17.3"
    target = TargetPart(
        name="device",
        recipe="recipe:0",
        platform=platform,
        package=package,
        versions=[version],
        opset=17,
        providers=list(given),
    )
    artifacts = [ArtifactPart(name=name, digest="sha256:" + "1" * 64, size=64, media_type="text/plain") for name in files]
    return Manifest(
        manifest_version=1,
        tag="net-0123456789ab-opset17-ort1.17.3",
        precision="fp32",
        precision_reason="",
        model=ModelPart(name="net", recipe="recipe:0", hash="sha256:" + "0" * 64, licence=licence, source="onnx", files={}),
        target=target,
        signature=SignaturePart(
            inputs=list(inputs),
            outputs=list(outputs),
            session_options=OPTIONS,
            config_entries=dict(config or {}),
            providers=[ProviderPart(name=name, options=dict(options)) for name, options in given.items()],
            sharing={"sessions": 1, "concurrent_run": concurrent_run},
        ),
        golden=GoldenPart(runtime="1.17.3", rtol=1e-3, atol=1e-5, min_snr_db=None, samples=_samples(inputs, outputs)),
        artifacts=artifacts,
        preflight=preflight.rules(target, artifacts, {}),
        gates=[],
        steps=[],
        runtimes=[],
    )


def _samples(inputs: Sequence[TensorPart], outputs: Sequence[TensorPart]) -> list[dict[str, dict[str, dict[str, Any]]]]:
    samples, place = [], 0
    for _ in range(2):
        sample: dict[str, dict[str, dict[str, Any]]] = {"inputs": {}, "outputs": {}}
        for kind, tensors in (("inputs", inputs), ("outputs", outputs)):
            for one in tensors:
                shape = [size if isinstance(size, int) else 2 for size in one.shape or []]
                size = SIZES[one.dtype] * math.prod(shape)
                sample[kind][one.name] = {"dtype": one.dtype, "shape": shape, "offset": place, "size": size}
                place += size + -size % 64
        samples.append(sample)
    return samples

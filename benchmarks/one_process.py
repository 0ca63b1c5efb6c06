"""One script that makes the library calls of a build, as people write it: no isolation, no store, no manifest, no second machine.

``cold_build.py`` runs it in an environment that holds PyTorch and ONNX Runtime together. Sessions have one thread, as in
Ortolan (with one for each core, evaluating took half as long again here); PyTorch and the calibrator take all cores, as they
do by default. What Ortolan does once for each version of ONNX Runtime is repeated, because one process can hold only one.

    python one_process.py FOLDER OUT VERSIONS

``FOLDER`` holds ``resnet18.py`` and ``resnet18.safetensors``; the last line printed is JSON: ``{part: seconds}``.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

OPSET, EXPORTED = 17, 18
SAMPLES = 2  # that parity is measured on
MIN_AGREEMENT, MIN_SPEEDUP = 0.9, 1.1
RTOL, ATOL = 1e-3, 1e-5
Feeds = dict[str, Any]
spent: dict[str, float] = {}


def main() -> None:
    folder, out, versions = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    sys.path.insert(0, str(folder))
    resnet18: Any = import_module("resnet18")
    with part("imports"):
        import onnx
        import onnxruntime.quantization  # noqa: F401 - counted here, used below
        import torch  # noqa: F401 - the same
    feeds = [{"image": one["image"][None]} for one in resnet18.images()]
    with part("export"):
        network = load(resnet18.build(), folder / "resnet18.safetensors")
        exported = export(network, out)
    with part("reference"):
        expected = reference(network, feeds)
    with part("prepare"):
        prepared, fixed = prepare(exported, out)
    with part("check"):
        check(fixed)
    with part("verify"):
        for _ in range(versions):
            verify(fixed, feeds, expected)
    with part("calibrate and quantise"):
        int8 = quantise(prepared, feeds, out)
    with part("verify"):
        for _ in range(versions):
            verify(int8, feeds, None)
    with part("evaluate"):
        agrees = evaluate(fixed, int8, feeds)
    with part("latency"):
        faster = latency(fixed, int8, feeds[0]) >= MIN_SPEEDUP
    with part("ship"):
        shipped = ship(int8 if agrees and faster else fixed, out)
    with part("verify"):
        for _ in range(versions):
            verify(shipped, feeds, None)
            verify(shipped.with_suffix(".ort"), feeds, None)
    assert onnx.load(shipped).opset_import[0].version == OPSET  # noqa: S101
    print(json.dumps(spent))


@contextmanager
def part(name: str) -> Iterator[None]:
    """Add the seconds that the block takes to those of ``name``."""
    began = time.perf_counter()
    yield
    spent[name] = spent.get(name, 0.0) + time.perf_counter() - began


def load(network: Any, weights: Path) -> Any:
    from safetensors.torch import load_file

    network.load_state_dict(load_file(weights))
    return network.eval().requires_grad_(requires_grad=False)


def export(network: Any, out: Path) -> Path:
    """Export at 18 and convert to 17, without what the converter stumbles over, and without traces of this machine."""
    import onnx
    import torch
    from onnx import version_converter

    example = torch.rand(2, 3, 224, 224)
    network(example)
    program = torch.onnx.export(
        network, (example,), dynamo=True, opset_version=EXPORTED, dynamic_shapes=({0: "batch"},),
        input_names=["image"], output_names=["logits"], verbose=False,
    )  # fmt: skip
    model = program.model_proto
    for node in model.graph.node:
        node.ClearField("metadata_props")
        for item in [item for item in node.attribute if item.name == "noop_with_empty_axes"]:
            node.attribute.remove(item)
    model = version_converter.convert_version(model, OPSET)
    onnx.checker.check_model(model)
    onnx.save(model, out / "exported.onnx")
    return out / "exported.onnx"


def reference(network: Any, feeds: list[Feeds]) -> list[Any]:
    import torch

    with torch.no_grad():
        return [network(torch.from_numpy(one["image"])).numpy() for one in feeds[:SAMPLES]]


def prepare(exported: Path, out: Path) -> tuple[Path, Path]:
    """Fuse and fold, then fix the batch size."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process
    from onnxruntime.tools.onnx_model_utils import make_dim_param_fixed

    prepared, fixed = out / "prepared.onnx", out / "fixed.onnx"
    quant_pre_process(exported, prepared, skip_symbolic_shape=True)
    model = onnx.load(prepared)
    make_dim_param_fixed(model.graph, "batch", 1)
    onnx.save(onnx.shape_inference.infer_shapes(model, data_prop=True), fixed)
    return prepared, fixed


def check(path: Path) -> None:
    import onnx

    model = onnx.load(path)
    onnx.checker.check_model(model)
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)


def opened(path: Path, *, optimised: bool = True) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    if not optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(path, options)


def verify(path: Path, feeds: list[Feeds], expected: list[Any] | None) -> None:
    session = opened(path)
    found = [session.run(None, one)[0] for one in feeds[:SAMPLES]]
    for got, want in zip(found, expected or found, strict=True):
        np.testing.assert_allclose(got, want, RTOL, ATOL)


def quantise(prepared: Path, feeds: list[Feeds], out: Path) -> Path:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """The images, one at a time."""

        def __init__(self) -> None:
            self._left = iter(feeds)

        def get_next(self) -> Feeds | None:
            return next(self._left, None)

    quantize_static(
        prepared, out / "int8.onnx", Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    return out / "int8.onnx"


def evaluate(fixed: Path, int8: Path, feeds: list[Feeds]) -> bool:
    """Whether int8 agrees with fp32 on nine samples of ten, as written and as this processor computes it."""
    sessions = [opened(fixed), opened(int8, optimised=False), opened(int8)]
    outputs = [[session.run(None, one)[0] for session in sessions] for one in feeds]
    classes = np.array([[found.argmax() for found in one] for one in outputs])
    noise = [[float(((found - one[0]) ** 2).sum() / (one[0] ** 2).sum()) for found in one[1:]] for one in outputs]
    agreement = (classes[:, :1] == classes[:, 1:]).mean(axis=0)
    print(f"agreement {agreement}, noise {np.mean(noise, axis=0)}", file=sys.stderr)
    return bool((agreement >= MIN_AGREEMENT).all())


def latency(fixed: Path, int8: Path, feeds: Feeds) -> float:
    """How much faster int8 is: at least 15 pairs of runs and one second, after three to warm up."""
    sessions = [opened(path) for path in (fixed, int8)]
    for session in sessions * 3:
        session.run(None, feeds)
    times: list[list[float]] = []
    while len(times) < 15 or np.sum(times) < 1:
        times.append([timed(session, feeds) for session in sessions])
    return median(one[0] for one in times) / median(one[1] for one in times)


def timed(session: Any, feeds: Feeds) -> float:
    began = time.perf_counter()
    session.run(None, feeds)
    return time.perf_counter() - began


def ship(chosen: Path, out: Path) -> Path:
    """Write metadata, settings and the .ort file with its lists of operators, with types and without."""
    import onnx
    from onnxruntime.tools.convert_onnx_models_to_ort import OptimizationStyle, convert_onnx_models_to_ort
    from onnxruntime.tools.ort_format_model import create_config_from_models

    model = onnx.load(chosen)
    model.metadata_props.add(key="precision", value=chosen.stem)
    onnx.save(model, out / "model.onnx")
    (out / "session.json").write_text(json.dumps({"inter_op_num_threads": 1}))
    convert_onnx_models_to_ort(out / "model.onnx", optimization_styles=[OptimizationStyle.Fixed], enable_type_reduction=True)
    create_config_from_models([out / "model.ort"], out / "required_operators.config", enable_type_reduction=False)
    return out / "model.onnx"


if __name__ == "__main__":
    main()

"""PyTorch's two ONNX exporters: what a Source gives at an opset that the exporter can emit, under the recipe's names."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from . import torch_qat
from .external import LIMIT
from .refused import Refused
from .torch_program import Program, name_axes
from .torch_source import Source, users_line
from .transient import reraise_if_transient

if TYPE_CHECKING:
    from onnx import ModelProto

DYNAMO_OPSET = 18
"""The dynamo exporter writes no older opset by itself: its operators are written for this one."""

_EXAMPLE_SIZE = 2
_HINTS = {
    "dynamo": 'try exporter = "torchscript", or rewrite what torch.export names (torch.where or torch.cond for control flow)',
    "torchscript": 'try exporter = "dynamo", or another opset',
}


def examples(inputs: Sequence[Mapping[str, Any]], axes: Mapping[str, int]) -> dict[str, Any]:
    """One tensor per input: floats uniform in [0, 1) from a fixed seed, integers and booleans 0; axes at their example size."""
    import torch

    random = torch.Generator().manual_seed(0)
    found = {}
    for item in inputs:
        shape = [axes.get(size, _EXAMPLE_SIZE) if isinstance(size, str) else size for size in item["shape"]]
        dtype = getattr(torch, item["dtype"])
        value = torch.rand(shape, generator=random) if dtype.is_floating_point else torch.zeros(shape)
        found[item["name"]] = value.to(dtype)
    return found


def dynamo(
    source: Source, inputs: Sequence[Mapping[str, Any]], axes: Mapping[str, int], outputs: Sequence[str], opset: int
) -> Any:
    """The ``ONNXProgram`` of ``torch.onnx.export(dynamo=True)``; its ``exported_program`` is the decomposed one.

    Raises Refused when the module cannot be exported.
    """
    import torch

    if isinstance(source, Program):
        return _of_program(source, outputs, opset)
    args, kwargs = source.arguments(examples(inputs, axes))
    free, named = source.arguments({item["name"]: _dynamic(item["shape"]) for item in inputs})
    dynamic = dict(inspect.signature(source.module.forward).bind(*free, **named).arguments)  # as torch.export combines them
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return torch.onnx.export(
                source.module, args, kwargs=kwargs, dynamo=True, opset_version=opset, dynamic_shapes=dynamic,
                input_names=list(source.order), output_names=list(outputs) or None, verbose=False,
            )  # fmt: skip
        except Exception as error:
            reraise_if_transient(error)
            raise _refusal(error, source, "dynamo") from error


def exported(
    source: Source, exporter: str, axes: Mapping[str, int], outputs: Sequence[str], opset: int
) -> tuple[ModelProto, str]:
    """The model as one of the exporters writes it, and which did. A program goes through dynamo, TorchScript through its own."""
    import torch

    scripted = isinstance(source.module, torch.jit.ScriptModule)
    if not scripted:
        torch_qat.to_qdq(source.module, exporter)
    if scripted or (exporter == "torchscript" and not isinstance(source, Program)):
        return torchscript(source, source.inputs, axes, outputs, opset), "torchscript"
    model: ModelProto = dynamo(source, source.inputs, axes, outputs, max(opset, DYNAMO_OPSET)).model_proto
    if isinstance(source, Program):
        name_axes(model, source.axes)
    return model, "dynamo"


def _of_program(source: Program, outputs: Sequence[str], opset: int) -> Any:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            made = torch.onnx.export(
                source.program, dynamo=True, opset_version=opset, verbose=False, input_names=list(source.order),
                output_names=list(outputs) or None,
            )  # fmt: skip
        except Exception as error:
            reraise_if_transient(error)
            raise _refusal(error, source, "dynamo") from error
    return made


def outputs(source: Source, inputs: Sequence[Mapping[str, Any]], axes: Mapping[str, int]) -> int:
    """How many tensors come out. Runs a module on the example: what fails there is the user's forward, not the exporter."""
    return source.outputs() if isinstance(source, Program) else len(source.forward(examples(inputs, axes)))


def torchscript(
    source: Source, inputs: Sequence[Mapping[str, Any]], axes: Mapping[str, int], outputs: Sequence[str], opset: int
) -> ModelProto:
    """What ``torch.onnx.export(dynamo=False)`` writes: one trace, so that control flow is frozen as the example took it.

    Raises Refused for an opset out of the exporter's range, or when the module cannot be exported.
    """
    import io

    import onnx
    import torch
    from torch.onnx import _constants

    low, high = _constants.ONNX_MIN_OPSET, _constants.ONNX_MAX_OPSET
    if not low <= opset <= high:
        why = f"torch {torch.__version__} exports through TorchScript to opsets {low} to {high}"
        raise Refused(f"the TorchScript exporter cannot write opset {opset}", why=why, hint='try exporter = "dynamo"')
    example = examples(inputs, axes)
    dynamic = {item["name"]: _dynamic(item["shape"]) or {} for item in inputs}
    written = io.BytesIO()
    patched = nullcontext() if isinstance(source.module, torch.jit.ScriptModule) else _only_inputs(source)
    with warnings.catch_warnings(), patched:
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                source.module, tuple(example[name] for name in source.order), written, dynamo=False, opset_version=opset,
                dynamic_axes=dynamic, input_names=list(source.order), output_names=list(outputs) or None,
            )  # fmt: skip
        except Exception as error:
            reraise_if_transient(error)
            raise _refusal(error, source, "torchscript") from error
    return onnx.load_from_string(written.getvalue())


def check_size(source: Source) -> None:
    """Refuse a module whose parameters and buffers cannot stand in one ``.onnx`` file."""
    size = sum(value.numel() * value.element_size() for value in source.module.state_dict().values() if hasattr(value, "numel"))
    if size > LIMIT:
        raise Refused(
            f"the weights have {size:,} bytes", why="an ONNX file holds at most 2 GB", hint="use float16 or a smaller model"
        )


@contextmanager
def _only_inputs(source: Source) -> Iterator[None]:
    """Let forward take the inputs, in order, and nothing else: the exporter makes inputs of defaults such as ``flag=1.0``."""
    forward = source.module.forward

    def plain(*values: Any) -> Any:
        args, kwargs = source.arguments(dict(zip(source.order, values, strict=True)))
        return forward(*args, **kwargs)

    source.module.forward = plain
    try:
        yield
    finally:
        del source.module.forward


def _dynamic(shape: Sequence[int | str]) -> dict[int, str] | None:
    return {index: size for index, size in enumerate(shape) if isinstance(size, str)} or None


def _refusal(error: Exception, source: Source, exporter: str) -> Refused:
    root: BaseException = error
    while root.__cause__ is not None:
        root = root.__cause__
    lines = [line.strip() for line in str(root).replace(f"{source.code}/", "").splitlines() if line.strip()]
    why = f"{type(root).__name__}: {' '.join(lines[:2])[:400]}{users_line(root, source.code)}"
    return Refused(f"the {exporter} exporter cannot export this model", why=why, hint=_HINTS[exporter])

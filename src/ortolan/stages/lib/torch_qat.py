"""Modules trained with knowledge of 8 bits: their fake quantisers frozen, and turned into Q/DQ for the exporters."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from .refused import Refused

_MODULE = "torch.ao.quantization.fake_quantize"
_FULL = {"uint8": (0, 255), "int8": (-128, 127)}
_TRAIN = "train it or run it on data with its observers on, save its state dict, and name that as [source] weights"


def freeze(module: Any) -> None:
    """Let no fake quantiser of a module move its range: they do so in eval mode too. In place.

    Raises Refused where one has never seen data: its range is a guess.
    """
    for name, found in _quantisers(module):
        observer = getattr(found, "activation_post_process", None)
        least = getattr(observer, "min_val", None)
        if least is not None and (not least.numel() or bool(least.isinf().any())):
            what = f"the fake quantiser {name} has seen no data"
            raise Refused(what, why="it has no range yet, and would round everything to one step", hint=_TRAIN)
        found.disable_observer()


def to_qdq(module: Any, exporter: str) -> None:
    """Replace the fake quantisers of a frozen module by what an exporter writes as Q/DQ. In place; it computes the same.

    PyTorch 2.13's exporters know neither the fused fake quantisers nor, in dynamo's case, any.
    """
    for name, found in list(_quantisers(module)):
        parent, _, own = name.rpartition(".")
        setattr(module.get_submodule(parent), own, _replacement(found, exporter, name))


def _quantisers(module: Any) -> Iterator[tuple[str, Any]]:
    """Fake quantisers and their names; none where the code that makes them was never imported."""
    known = sys.modules.get(_MODULE)
    base = getattr(known, "FakeQuantizeBase", ())
    return ((name, part) for name, part in module.named_modules() if isinstance(part, base))


def _replacement(found: Any, exporter: str, name: str) -> Any:
    import torch

    wide = {torch.quint8: torch.uint8, torch.qint8: torch.int8}.get(found.dtype, found.dtype)
    kind = str(wide).removeprefix("torch.")
    if kind not in _FULL:
        raise Refused(
            f"the fake quantiser {name} is for {kind}", why="Q/DQ of 8 bits is what runtimes take", hint="train for 8 bits"
        )
    if not bool(found.fake_quant_enabled[0]):
        return torch.nn.Identity()
    made = (_Fake if exporter == "torchscript" else _Decomposed)()(found, wide)
    return made.eval().requires_grad_(False)


def _Fake() -> Any:  # noqa: N802 - a class, made where torch is
    import torch

    class Fake(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
        """By PyTorch's fake quantisation of fixed ranges, which the TorchScript exporter writes as Q/DQ."""

        def __init__(self, found: Any, _: Any) -> None:
            super().__init__()
            self.low, self.high, self.axis = found.quant_min, found.quant_max, found.ch_axis if found.is_per_channel else None
            self.scale, self.zero_point = float(found.scale[0]), int(found.zero_point[0])
            self.register_buffer("scales", found.scale.clone())
            self.register_buffer("zero_points", found.zero_point.clone())

        def forward(self, x: Any) -> Any:
            """The same shape."""
            if self.axis is None:
                return torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero_point, self.low, self.high)
            return torch.fake_quantize_per_channel_affine(x, self.scales, self.zero_points, self.axis, self.low, self.high)

    return Fake


def _Decomposed() -> Any:  # noqa: N802 - a class, made where torch is
    import torch
    import torch.ao.quantization.fx._decomposed  # registers the operators

    ops = torch.ops.quantized_decomposed

    class Decomposed(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
        """By the operators of quantised programs, which the dynamo exporter writes as Q/DQ."""

        def __init__(self, found: Any, kind: Any) -> None:
            super().__init__()
            self.axis = found.ch_axis if found.is_per_channel else None
            self.own = found.quant_min, found.quant_max
            self.range = (*_FULL[str(kind).removeprefix("torch.")], kind)
            self.scale, self.zero_point = float(found.scale[0]), int(found.zero_point[0])
            self.register_buffer("scales", found.scale.clone())
            self.register_buffer("zero_points", found.zero_point.clone().to(torch.int32))

        def forward(self, x: Any) -> Any:
            """The same shape. The exporter drops a narrower range than the type's, so that values are limited to it before."""
            if self.axis is None:
                how = self.scale, self.zero_point, *self.range
                limited = self._limited(x, self.scale, self.zero_point)
                return ops.dequantize_per_tensor(ops.quantize_per_tensor(limited, *how), *how)
            shape = [-1 if axis == self.axis else 1 for axis in range(x.dim())]
            limited = self._limited(x, self.scales.reshape(shape), self.zero_points.reshape(shape))
            several = self.scales, self.zero_points, self.axis, *self.range
            return ops.dequantize_per_channel(ops.quantize_per_channel(limited, *several), *several)

        def _limited(self, x: Any, scale: Any, zero_point: Any) -> Any:
            if self.own == self.range[:2]:
                return x
            low, high = ((end - zero_point) * scale for end in self.own)
            return torch.clamp(x, low, high)

    return Decomposed

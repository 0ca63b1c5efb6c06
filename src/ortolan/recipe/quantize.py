"""``[quantize]``: whether a model is quantised or halved, by which scheme, and what stays in float."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from ..artifact import Precision
from .base import Strict
from .rules import Mistake, check

STATIC, DYNAMIC, FP16, WEIGHTS = "static", "dynamic", "fp16", "weight-only"
_DURATION = re.compile(r"^\s*([0-9]+(?:\.[0-9]+)?)\s*(s|min|h)\s*$")
_SECONDS = {"s": 1, "min": 60, "h": 3600}
_OF = {
    STATIC: ("preset", "activations", "per_channel", "weights", "symmetric_activations", "method", "percentile"),
    DYNAMIC: ("per_channel", "weights", "convolutions"),
    FP16: ("float_io",),
    WEIGHTS: ("bits", "block_size", "accuracy_level"),
}
"""The keys that only some schemes use."""
_LEAST = {DYNAMIC: 11}  # ONNX changelog: DynamicQuantizeLinear came in 11
_EIGHT_BITS_NEWER_THAN = "1.20.1"  # measured: 1.17.3 and 1.20.1 refuse MatMulNBits with 8 bits, 1.24.4 to 1.31.1 run it


def _seconds(text: Any) -> Any:
    match = _DURATION.match(text) if isinstance(text, str) else None
    seconds = int(float(match[1]) * _SECONDS[match[2]]) if match else text
    if isinstance(seconds, bool) or not isinstance(seconds, int) or seconds < 1:
        check([Mistake((), "wants a number and a unit", "Write it like '10 min', '90 s' or '1 h'.")])
    return seconds


_SCHEMA = {"anyOf": [{"type": "string", "pattern": _DURATION.pattern}, {"type": "integer", "minimum": 1}]}
Duration = Annotated[int, BeforeValidator(_seconds), WithJsonSchema(_SCHEMA)]


class Quantize(Strict):
    """``[quantize]``: whether and how to make a model of fewer bits. In a model's recipe its keys go before the target's."""

    policy: Literal["require", "prefer", "recover", "never"] = Field(
        default="prefer",
        description="prefer ships fp32 with the reason if a gate fails; recover first leaves the fewest layers in float",
    )
    scheme: Literal["static", "dynamic", "fp16", "weight-only"] = Field(
        default="static",
        description="Q/DQ from calibration; ranges measured while it runs; half precision; MatMul's weights alone",
    )
    preset: Literal["default", "qnn"] = Field(default="default", description="qnn: the operators and types of Qualcomm's HTP")
    activations: Literal["int8", "uint8", "uint16"] = Field(
        default="int8", description="ARM and TensorRT: int8; x86 VNNI: uint8; Qualcomm HTP: uint8 or uint16"
    )
    weights: Literal["int8", "uint8"] = "int8"
    per_channel: bool = True
    symmetric_activations: bool = Field(default=False, description="zero points 0, as TensorRT wants")
    method: Literal["minmax", "entropy", "percentile"] = "minmax"
    percentile: float = Field(default=99.99, gt=50, le=100)
    convolutions: bool = Field(default=False, description="dynamic: convolutions too, which then run far slower than in float")
    bits: Literal[4, 8] = Field(default=4, description="weight-only: of each weight; 8 needs ONNX Runtime 1.24")
    block_size: Literal[16, 32, 64, 128, 256] = Field(default=32, description="weight-only: weights that share a scale")
    accuracy_level: Literal[0, 1, 2, 3, 4] = Field(
        default=0, description="weight-only: what MatMulNBits multiplies in; 4: 8 bits, faster and coarser; 0: float"
    )
    float_io: bool = Field(default=True, description="fp16: inputs and outputs stay float32, converted at the border")
    float_operators: list[str] = Field(default=[], description="operators left in float, like Softmax")
    exclude: list[str] = Field(default=[], description="names of nodes left in float")
    budget: Duration = Field(default=600, description="recover: how long to search, like '10 min'; in seconds without a unit")

    @model_validator(mode="after")
    def _used(self) -> Self:
        check(self._mistakes())
        return self

    def _mistakes(self) -> Iterator[Mistake]:
        if self.activations == "uint16" and self.preset != "qnn":
            yield Mistake(("activations",), "16 bits are for Qualcomm's HTP only", 'Say preset = "qnn", or uint8 or int8.')
        if "percentile" in self.model_fields_set and self.method != "percentile":
            yield Mistake(("percentile",), f'method = "{self.method}" does not use it', 'Say method = "percentile".')
        if "budget" in self.model_fields_set and self.policy != "recover":
            yield Mistake(("budget",), f'policy = "{self.policy}" does not search', 'Say policy = "recover".')
        for key in sorted(self.model_fields_set & unused(self.scheme)):
            ours = ", ".join(f'"{scheme}"' for scheme, keys in _OF.items() if key in keys)
            yield Mistake((key,), f'scheme = "{self.scheme}" does not use it', f"It is for {ours}.")

    @property
    def precision(self) -> Precision:
        """What a candidate of this scheme computes in."""
        named: dict[str, Precision] = {STATIC: "int8", DYNAMIC: "int8-dynamic", FP16: "fp16"}
        return named.get(self.scheme) or ("int4-weights" if self.bits == 4 else "int8-weights")

    def mistakes(self, opset: int, versions: Sequence[str]) -> Iterator[Mistake]:
        """What the opset and the fleet's versions (oldest first) do not allow, by keys of the target's recipe."""
        if self.policy == "never":
            return
        per_channel = self.scheme == STATIC and self.per_channel
        least = 13 if per_channel else 10 if self.scheme == STATIC else _LEAST.get(self.scheme, 0)
        if opset < least:  # below that, ONNX Runtime writes what nothing loads
            what = "per-channel quantization" if per_channel else "quantization"
            how = "[quantize] per_channel = false or policy" if per_channel else "[quantize] policy"
            yield Mistake(("runtime", "opset"), f"{what} needs opset {least} or newer", f'Raise it, or say {how} = "never".')
        last = _EIGHT_BITS_NEWER_THAN
        if self.precision == "int8-weights" and _numbers(versions[0]) <= _numbers(last):
            what = f"ONNX Runtime {versions[0]}, the oldest of the fleet, has no MatMulNBits with 8 bits"
            yield Mistake(("quantize", "bits"), what, "Say bits = 4.")


class OwnQuantize(Quantize):
    """``[quantize]`` of a model: what is said here goes before what its targets say. Judged together with each target."""

    @model_validator(mode="after")
    def _used(self) -> Self:
        return self


def unused(scheme: str) -> set[str]:
    """The keys that a scheme does not use."""
    return {key for keys in _OF.values() for key in keys} - {*_OF[scheme]}


def merged(target: Quantize, own: OwnQuantize) -> Quantize:
    """A target's table with a model's keys before its own. Raises pydantic's ValidationError.

    What the target says for another scheme than the model's does not count.
    """
    said = own.model_dump(exclude_unset=True)
    given = target.model_dump(exclude_unset=True)
    if said.get("scheme", target.scheme) != target.scheme:
        given = {key: value for key, value in given.items() if key not in unused(said["scheme"])}
    if said.get("policy", target.policy) != "recover":
        given.pop("budget", None)
    return Quantize.model_validate(given | said)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))

"""What people write in recipes. Every default of Ortolan lives here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from . import go_binding, provider_rules
from .base import DIGEST, SIZE_SCHEMA, Strict, as_tuple, in_bytes
from .docker import FOLDER, IMAGE, PYTHON, docker_mistakes
from .nearest import did_you_mean
from .optimise import Optimise
from .outputs import CAPABILITY, TENSORRT, Outputs, reduced_mistakes, unused
from .quantize import OwnQuantize, Quantize
from .reference import CALLABLE
from .rules import CPU, Mistake, check, once, provider, providers
from .shapes import AxisShape
from .shapes import mistakes as shape_mistakes
from .sources import Source

DType = Literal["float32", "float16", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"]
_VERSION = r"^\d+\.\d+\.\d+$"
_METRIC = r"^(top1|top5|agreement|snr|mse|[^:]+\.py:[A-Za-z_][A-Za-z0-9_]*)$"
METRICS = ("top1", "top5", "agreement", "snr", "mse")

WANTED = {
    _VERSION: "a full version like 1.20.1",
    CAPABILITY: "a compute capability like 8.6",
    TENSORRT: "a version of TensorRT like 10.3",
    IMAGE: "an image like debian:12-slim, best with @sha256: and its digest",
    FOLDER: "the name of a folder in templates/",
    PYTHON: "a version of Python like 3.11",
    DIGEST: "a whole digest: sha256: and its 64 hexadecimal digits",
    CALLABLE: "a file and a callable in it, like model.py:build",
    _METRIC: f"one of {', '.join(METRICS)}, or a file and a callable in it, like metric.py:score",
}
"""What a text that must match a pattern wants, in words."""


def _axis(value: int | str) -> int | str:
    if value == "" or (isinstance(value, int) and value < 1):
        check([Mistake((), f"{value!r} is no axis", 'Write its size, 1 or more, or a name like "batch".')])
    return value


Axis = Annotated[int | str, AfterValidator(_axis)]


# --- targets -----------------------------------------------------------------------------------------------------


Package = Literal[
    "onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml", "onnxruntime-web", "onnxruntime-android",
    "onnxruntime-c",
]  # fmt: skip


class Fleet(Strict):
    """``[runtime]``: what the fleet runs. Artifacts must open in every version; the tag bears the oldest."""

    package: Package = Field(default="onnxruntime", description="its name on the device, in PyPI, npm, Maven or CocoaPods")
    versions: list[Annotated[str, Field(pattern=_VERSION)]] = Field(min_length=1, description="oldest and newest in the field")
    opset: int = Field(ge=7, le=26, description="opset of the ai.onnx domain in what ships")

    @field_validator("versions")
    @classmethod
    def _ascending(cls, versions: list[str]) -> list[str]:
        return sorted(set(versions), key=lambda text: tuple(map(int, text.split("."))))


class Provider(Strict):
    """``[[provider]]``: one execution provider, in priority order, options as ONNX Runtime spells them."""

    name: str = Field(json_schema_extra={"pattern": "ExecutionProvider$"})
    options: dict[str, str | int | float | bool] = Field(default={})

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        check(provider(name))
        return name

    @field_validator("options")
    @classmethod
    def _spelt(cls, options: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        return provider_rules.spelt(info.data.get("name", ""), options)


class Session(Strict):
    """``[session]``: ONNX Runtime session options."""

    intra_op_num_threads: int = Field(default=0, ge=0, description="0 lets ONNX Runtime choose")
    inter_op_num_threads: int = Field(default=0, ge=0)
    execution_mode: Literal["sequential", "parallel"] = "sequential"
    graph_optimization_level: Literal["disable", "basic", "extended", "all"] = "all"
    enable_mem_pattern: bool = True
    enable_cpu_mem_arena: bool = True
    config: dict[str, str] = Field(default={}, description="session config entries, key = value")


class TargetGates(Strict):
    """``[gates]`` of a target: limits for everything built for it."""

    max_size: int | None = Field(
        default=None,
        description="of the model file that the device loads, like '8 MB'; in bytes without a unit",
        json_schema_extra=SIZE_SCHEMA,
    )
    min_quantized_macs: float = Field(default=0.5, ge=0, le=1, description="share of multiply-accumulates in quantised nodes")
    min_agreement: float = Field(default=0.9, ge=0, le=1, description="share of samples where int8 agrees with fp32")
    min_speedup: float = Field(default=1.1, gt=0, description="fp32 time / int8 time on one machine")
    max_relative_size: float = Field(default=0.75, gt=0, description="of an fp16 or weight-only model's file, against fp32's")

    min_coverage: float | None = Field(
        default=None, ge=0, le=1, description="share of multiply-accumulates on the providers before the CPU"
    )
    max_partitions: int | None = Field(default=None, ge=1, description="connected parts that the providers cut the model into")

    max_latency_ms: float | None = Field(
        default=None, gt=0, description="95th percentile of the latency of a sustained run on the device (bench)"
    )
    min_fps: float | None = Field(
        default=None, gt=0, description="runs a second that a sustained run on the device keeps (bench)"
    )
    min_sustained: float | None = Field(
        default=None, gt=0, le=1, description="share of the burst's speed that a sustained run on the device keeps (bench)"
    )

    _size = field_validator("max_size", mode="before")(in_bytes)

    @property
    def on_coverage(self) -> bool:
        """Whether there are limits on which provider gets what."""
        return self.min_coverage is not None or self.max_partitions is not None


class Target(Strict):
    """A device: ``recipes/targets/<name>.toml``."""

    description: str
    platform: Literal["linux/arm64", "linux/amd64", "linux/arm/v7", "windows/amd64", "android/arm64", "ios/arm64", "web"]
    runtime: Fleet
    provider: list[Provider] = Field(default_factory=lambda: [Provider(name=CPU)], min_length=1)
    session: Session = Field(default_factory=Session)
    shapes: dict[str, AxisShape] = Field(
        default={}, description='axis = size, "dynamic", or { min, opt, max }; an absent axis stays dynamic'
    )
    quantize: Quantize = Field(default_factory=Quantize)
    outputs: Outputs = Field(default_factory=Outputs)
    gates: TargetGates = Field(default_factory=TargetGates)
    models: list[str] = Field(default=["*"], min_length=1, description="names (globs) of the models that this target admits")

    @field_validator("provider")
    @classmethod
    def _order(cls, given: list[Provider]) -> list[Provider]:
        named = [(one.name, one.options) for one in given]
        check([*providers(named), *provider_rules.providers(named)])
        return given

    @model_validator(mode="after")
    def _together(self) -> Self:
        named, fleet = [(one.name, one.options) for one in self.provider], self.runtime
        known = provider_rules.target(named, fleet.versions, fleet.opset, dict(self.session), dict(self.quantize))
        names = [one.name for one in self.provider]
        go = go_binding.mistakes(self.outputs.snippets, fleet.package, fleet.versions)
        image = docker_mistakes(self.outputs.docker, self.platform)
        check(
            [
                *self.quantize.mistakes(fleet.opset, fleet.versions),
                *unused(self.outputs, names),
                *reduced_mistakes(self.outputs, self.platform, names),
                *shape_mistakes(self.shapes, names),
                *self._sessions(),
                *known,
                *go,
                *image,
            ]
        )
        return self

    def _sessions(self) -> Iterator[Mistake]:
        """What the tables say together of sessions and of coverage."""
        free = [axis for axis, shape in self.shapes.items() if shape.fixed is None]
        if free and self.session.enable_mem_pattern:
            what = f"memory patterns are for fixed shapes, and {', '.join(free)} is dynamic"
            yield Mistake(("session", "enable_mem_pattern"), what, "Say enable_mem_pattern = false.")
        if self.gates.min_coverage is not None and len(self.provider) == 1:
            what = "no provider stands before the CPU, which takes what is left"
            yield Mistake(("gates", "min_coverage"), what, "Leave it out.")
        if self.platform == "web" and self.runtime.package != "onnxruntime-web":
            yield Mistake(("runtime", "package"), "browsers run onnxruntime-web", 'Say package = "onnxruntime-web".')

    @property
    def sizes(self) -> dict[str, int]:
        """The axes that are fixed, with their size."""
        return {axis: shape.fixed for axis, shape in self.shapes.items() if shape.fixed is not None}

    @property
    def examples(self) -> dict[str, int]:
        """The axes with a size to check with: the fixed one, or the one that a profile is tuned for."""
        return {axis: shape.opt for axis, shape in self.shapes.items() if shape.opt is not None}

    @property
    def profiles(self) -> dict[str, dict[str, int]]:
        """The axes that are dynamic within bounds, ``{axis: {"min", "opt", "max"}}``."""
        return {axis: shape.model_dump() for axis, shape in self.shapes.items() if shape.ranged}


# --- models ------------------------------------------------------------------------------------------------------


class Input(Strict):
    """``[[input]]``: one model input. A string in ``shape`` names a dynamic axis."""

    name: str
    dtype: DType = "float32"
    shape: list[Axis]
    range: tuple[float, float] | None = Field(default=None, description="lowest and highest value that data may have")

    _pair = field_validator("range", mode="before")(as_tuple)

    @field_validator("range")
    @classmethod
    def _grows(cls, limits: tuple[float, float] | None) -> tuple[float, float] | None:
        if limits is not None and limits[0] >= limits[1]:
            check([Mistake((), "the lowest value comes first, the highest second")])
        return limits


class Parity(Strict):
    """``[parity]``: source framework against the device's runtime, as in ``numpy.allclose``."""

    rtol: float = Field(default=1e-3, ge=0)
    atol: float = Field(default=1e-5, ge=0)
    samples: int | None = Field(default=None, ge=1, le=64, description="2 where absent, 32 for models on tables of numbers")


class NpzData(Strict):
    """Arrays named as the inputs, the first axis counting samples."""

    kind: Literal["npz"] = "npz"
    npz: str
    labels: str | None = Field(default=None, description="name of the array with class numbers or reference outputs")
    limit: int | None = Field(default=None, ge=1, description="use the first so many samples")


class ImageData(Strict):
    """A folder of images. Labels, where needed, are the names of its sub-folders in sorted order."""

    kind: Literal["images"] = "images"
    images: str
    size: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = Field(description="width, height in pixels")
    color: Literal["RGB", "BGR", "L"] = "RGB"
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    scale: float = Field(default=1 / 255, description="pixel * scale, then (x - mean) / std")
    mean: list[float] = Field(default=[0.0], min_length=1, max_length=3, description="one number, or one per channel")
    std: list[Annotated[float, Field(gt=0)]] = Field(default=[1.0], min_length=1, max_length=3)
    limit: int | None = Field(default=None, ge=1)

    _pair = field_validator("size", mode="before")(as_tuple)

    @model_validator(mode="after")
    def _channels(self) -> Self:
        count = 1 if self.color == "L" else 3
        lists = {"mean": self.mean, "std": self.std}
        wrong = {key: len(values) for key, values in lists.items() if len(values) not in {1, count}}
        check(Mistake((key,), f'color = "{self.color}" has {count} channel(s), not {found}') for key, found in wrong.items())
        return self


class CallableData(Strict):
    """A generator of ``{input: array}``, or of ``({input: array}, label)``."""

    kind: Literal["callable"] = "callable"
    callable: str = Field(pattern=CALLABLE)
    files: list[str] = Field(default=[], description="files that the callable reads")
    limit: int | None = Field(default=None, ge=1)


def _data_kind(value: Any) -> Any:
    """The key that names the file tells the kind."""
    if not isinstance(value, dict) or "kind" in value:
        return value
    told = next((key for key in ("npz", "images", "callable") if key in value), None)
    return value | {"kind": told} if told else value


DataSet = Annotated[NpzData | ImageData | CallableData, Field(discriminator="kind")]


class Data(Strict):
    """``[data]``: what calibration and evaluation read."""

    calibration: DataSet | None = None
    evaluation: DataSet | None = None

    _kind = field_validator("calibration", "evaluation", mode="before")(_data_kind)


class Accuracy(Strict):
    """``[accuracy]``: the metric on the evaluation data, and how much of it INT8 may cost."""

    metric: str = Field(default="top1", pattern=_METRIC)
    max_drop: float = Field(default=0.01, ge=0, description="fp32 metric less int8 metric, in the metric's own unit")


class Model(Strict):
    """A model: ``recipes/models/<name>.toml``."""

    description: str = ""
    source: Source
    input: list[Input] = Field(default=[])
    outputs: list[str] = Field(default=[], description="names for the outputs, in order")
    axes: dict[str, Annotated[int, Field(ge=1)]] = Field(default={}, description="example size of a dynamic axis, 2 where absent")
    parity: Parity = Field(default_factory=Parity)
    data: Data = Field(default_factory=Data)
    accuracy: Accuracy | None = None
    optimise: Optimise | None = None
    quantize: OwnQuantize | None = None
    targets: list[str] = Field(default=["*"], min_length=1, description="names (globs) of the targets that this model is for")
    licence: str = Field(default="", description="SPDX expression of the model's licence")

    @field_validator("input")
    @classmethod
    def _distinct(cls, given: list[Input]) -> list[Input]:
        check(once([one.name for one in given], "the input", "name"))
        return given

    @field_validator("outputs")
    @classmethod
    def _named_once(cls, given: list[str]) -> list[str]:
        check(once(given, "the output"))
        return given

    @model_validator(mode="after")
    def _together(self) -> Self:
        check([*self._complete(), *self._known_axes()])
        return self

    @property
    def samples(self) -> int:
        """How many samples parity is measured on."""
        return self.source.SAMPLES if self.parity.samples is None else self.parity.samples

    def _complete(self) -> Iterator[Mistake]:
        if not self.source.tells_inputs and not self.input:
            hint = "Add [[input]] with name, dtype and shape."
            yield Mistake(("source",), f"a {self.source.kind} source does not tell the inputs of the model", hint)
        elif not self.input and (self.data.calibration or self.data.evaluation):
            yield Mistake(("data",), "needs [[input]]: name, dtype and shape of each input")
        if self.accuracy and not self.data.evaluation:
            yield Mistake(("accuracy",), "there is nothing to measure it on", "Add [data] evaluation = { ... }.")

    def _known_axes(self) -> Iterator[Mistake]:
        """An axis with an example size is one that an input has; without [[input]], only the model file knows."""
        known = {axis for one in self.input for axis in one.shape if isinstance(axis, str)}
        for axis in self.axes if self.input else ():
            if axis not in known:
                yield Mistake(("axes", axis), "no input has this axis", did_you_mean(axis, known))

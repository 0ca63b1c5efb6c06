"""``[outputs]``: what lands beside the manifest. What only one kind of device reads is a table of its own."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from ..stages.lib.qnn_socs import SOCS
from .base import SIZE_SCHEMA, Strict, in_bytes
from .docker import FOLDER, Docker
from .nearest import did_you_mean
from .provider_data import find
from .rules import CPU, Mistake, check

DEVICE = "device"
"""The folder of templates that every build has: what tells on the device whether the build fits it, and whether it runs there."""
_PACKAGING = frozenset({"onnx", "snippets", "docker"})  # what is no output of the graph: rendered from the manifest
_NO_MODEL = frozenset({"custom_build", "reduced_runtime"})  # what runs models and is none
_FLAGS = Path(__file__).parent / "build_flags.toml"
CAPABILITY = r"^\d+\.\d+$"
GLIBC = r"^2\.\d{1,2}$"
_REDUCED = ("linux/amd64", "linux/arm64", "android/arm64", "ios/arm64")  # what a reduced ONNX Runtime is built for, or described
XNNPACK = "XnnpackExecutionProvider"
TENSORRT = r"^1\d\.\d+$"


class Output(Strict):
    """One kind of output: the ``provider`` that alone loads it, and the ``mark`` that it leaves in tags."""

    provider: ClassVar[str] = ""

    @property
    def options(self) -> dict[str, str]:
        """What its provider is told beside the recipe's options when it is asked about nodes here, in place of the device."""
        return {}

    @property
    def mark(self) -> str:
        """Nothing, for files that every device of the platform reads."""
        return ""


def _maybe_bytes(size: Any) -> Any:
    return None if size is None else in_bytes(size)


class OrtFormat(Output):
    """``[outputs] ort``: the .ort file of ORT Mobile."""

    style: Literal["fixed", "runtime"] = "fixed"
    type_reduction: bool = True


class RtxEngines(Output):
    """``[outputs] tensorrt_rtx``: TensorRT-RTX engines, built without a GPU, one for each compute capability."""

    provider: ClassVar[str] = "NvTensorRTRTXExecutionProvider"
    compute_capabilities: list[Annotated[str, Field(pattern=CAPABILITY)]] = Field(min_length=1, description="8.6, 8.9, 12.0")
    workspace: int | None = Field(default=None, description="most memory of a layer, like '1 GiB'", json_schema_extra=SIZE_SCHEMA)
    tf32: bool = Field(default=False, description="products of float32 with 10 bits of mantissa: faster, less exact")

    @field_validator("compute_capabilities")
    @classmethod
    def _known(cls, given: list[str]) -> list[str]:
        data = find(cls.provider)
        check(_names("compute capability", given, data.compute_capabilities if data else ()))
        return sorted(set(given), key=lambda text: tuple(map(int, text.split("."))))

    _size = field_validator("workspace", mode="before")(_maybe_bytes)

    @property
    def mark(self) -> str:
        """What tells a tag's engines from those for other devices."""
        return "-".join(f"sm{one.replace('.', '')}" for one in self.compute_capabilities)


class EngineKit(Output):
    """``[outputs] tensorrt``: all that a Jetson needs to build its TensorRT engine itself."""

    provider: ClassVar[str] = "TensorrtExecutionProvider"
    version: str = Field(pattern=TENSORRT, description="TensorRT on the device: JetPack 6.1 and 6.2 have 10.3")
    workspace: int | None = Field(default=None, description="most memory of a layer, like '1 GiB'", json_schema_extra=SIZE_SCHEMA)
    dla_core: int | None = Field(default=None, ge=0, le=1, description="deep learning accelerator in place of the GPU")
    gpu_fallback: bool = Field(default=True, description="beside a DLA, the GPU takes what it refuses")
    timing_cache: bool = Field(default=True, description="keep kernel timings on the device, so that engines build alike")
    timings: str | None = Field(
        default=None, min_length=1, description="file beside this recipe to begin with: timing-*.cache of a build with --host"
    )
    tf32: bool = Field(default=False, description="products of float32 with 10 bits of mantissa: faster, less exact")

    _size = field_validator("workspace", mode="before")(_maybe_bytes)


class QnnContext(Output):
    """``[outputs] qnn``: a context binary for the Hexagon processor of one Snapdragon."""

    provider: ClassVar[str] = "QNNExecutionProvider"
    soc: str = Field(description="name of the SoC, like SM8650")

    @field_validator("soc")
    @classmethod
    def _known(cls, given: str) -> str:
        check(_names("SoC", [given], list(SOCS)))
        return given

    @property
    def options(self) -> dict[str, str]:
        """QNN's numbers of the SoC and of its Hexagon processor."""
        return {"soc_model": str(SOCS[self.soc].model), "htp_arch": str(SOCS[self.soc].arch)}

    @property
    def mark(self) -> str:
        """What tells a tag's context binary from those for other devices."""
        return self.soc.lower()


class OpenVinoIr(Output):
    """``[outputs] openvino``: OpenVINO's own format, and blobs compiled for one device."""

    provider: ClassVar[str] = "OpenVINOExecutionProvider"
    compress_to_fp16: bool = Field(default=False, description="weights in half precision")
    blob: bool = Field(default=False, description="also a compiled blob for CPUs of this kind and this version of OpenVINO")


class WebPackage(Output):
    """``[outputs] web``: the model with the files of onnxruntime-web that run it in a browser."""

    format: Literal["onnx", "ort", "both"] = Field(default="onnx", description="of the model that the page loads")
    threads: int = Field(default=1, ge=1, le=64, description="of WebAssembly; more than one needs COOP and COEP headers")


class CustomBuild(Output):
    """``[outputs] custom_build``: how the ONNX Runtime of this target is built, as no package has its providers."""

    flags: list[str] = Field(min_length=1, description="of ONNX Runtime's build.sh, each with its values behind it")

    @field_validator("flags")
    @classmethod
    def _known(cls, given: list[str]) -> list[str]:
        check(_flags(given))
        return given


class ReducedRuntime(Output):
    """``[outputs] reduced_runtime``: a libonnxruntime with the operators and types of the target's models alone.

    ``./inv runtime-build`` builds it; a build takes what that left, judges it and ships it beside the model.
    """

    max_size: int | None = Field(
        default=None, description="most bytes of the stripped library, like '1.5 MB'", json_schema_extra=SIZE_SCHEMA
    )
    exceptions: bool = Field(default=True, description="False: smaller, and what would be an error ends the program")
    static_cxx: bool = Field(default=False, description="the C++ runtime inside: 0.6 MB, for devices whose own is older")
    extended: bool = Field(default=False, description="fusions that an .ort leaves to the device are done there: 0.4 MB")
    xnnpack: bool = Field(default=False, description="extended minimal build with XNNPACK, where the sources have it")
    glibc: str = Field(default="2.36", pattern=GLIBC, description="the device's C library: 2.36 is Debian 12's, 2.31 Debian 11's")
    max_session: float = Field(default=1.0, gt=0, description="most time to make a session, in times of the stock library's")
    max_latency: float = Field(default=1.25, gt=0, description="most time of a run, in times of the stock library's")

    _size = field_validator("max_size", mode="before")(_maybe_bytes)


class Outputs(Strict):
    """``[outputs]``: what lands in ``build/<target>/<tag>/``."""

    onnx: bool = True
    snippets: list[Annotated[str, Field(pattern=FOLDER)]] = Field(
        default=[], description="folders of templates/ that are rendered beside the model: c, go, python, js, or your own"
    )
    docker: Docker | None = None
    ort: OrtFormat | None = None
    tensorrt_rtx: RtxEngines | None = None
    tensorrt: EngineKit | None = None
    qnn: QnnContext | None = None
    openvino: OpenVinoIr | None = None
    web: WebPackage | None = None
    custom_build: CustomBuild | None = None
    reduced_runtime: ReducedRuntime | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.onnx and not self.tables().keys() - _NO_MODEL:
            check([Mistake(("onnx",), "nothing would ship", "Leave it true, or ask for an .ort file: ort = {}.")])
        return self

    def tables(self) -> dict[str, Any]:
        """The outputs that are asked for beside the ``.onnx``, each an ``Output``, by key."""
        named = set(type(self).model_fields) - _PACKAGING
        return {name: table for name in sorted(named) if (table := getattr(self, name)) is not None}

    def templates(self) -> list[str]:
        """The folders of templates that are rendered, each once."""
        return list(dict.fromkeys([*self.snippets, *([self.docker.templates] if self.docker else []), DEVICE]))


def reduced_mistakes(outputs: Outputs, platform: str, providers: Sequence[str]) -> Iterator[Mistake]:
    """A reduced runtime opens ``.ort`` files alone, knows few providers, and there are platforms that it can be built for."""
    at = ("outputs", "reduced_runtime")
    if outputs.reduced_runtime and platform not in _REDUCED:
        yield Mistake(at, f"no reduced ONNX Runtime is built for {platform}", f"Platforms that have one: {', '.join(_REDUCED)}.")
    elif outputs.reduced_runtime and outputs.ort is None:
        yield Mistake(at, "a reduced ONNX Runtime opens .ort files alone, and none would ship", "Ask for one: ort = {}.")
    elif outputs.reduced_runtime and platform.startswith("linux/"):
        yield from _strange(providers)


def _strange(providers: Sequence[str]) -> Iterator[Mistake]:
    """What no library of ours can have would be passed over without a word. XNNPACK's lack is told, by a gate: as of wheels."""
    if left := [name for name in providers if name not in {CPU, XNNPACK}]:
        board = "recipes/targets/arm64-cpu.toml is such a target."
        yield Mistake(
            ("outputs", "reduced_runtime"), f"this library would have no {', '.join(left)}", f"Leave the provider out: {board}"
        )


def unused(outputs: Outputs, providers: Sequence[str]) -> Iterator[Mistake]:
    """An engine is for the provider that loads it, and a build of ONNX Runtime has the providers that its flags ask for."""
    flags = outputs.custom_build.flags if outputs.custom_build else []
    for name in providers if flags else ():
        data = None if name == CPU else find(name)
        if data and data.build_flag not in ["", *flags]:
            what = f"a build without {data.build_flag} has no {data.title}"
            yield Mistake(("outputs", "custom_build", "flags"), what, f'Add "{data.build_flag}".')
    if outputs.tensorrt and not outputs.onnx:
        yield Mistake(("outputs", "onnx"), "the engine kit builds from model.onnx, which would not ship", "Leave it true.")
    if outputs.ort and outputs.ort.style == "fixed" and any(find(name) for name in providers if name != CPU):
        what = "a fixed .ort file holds nodes fused for the CPU, which no other provider takes"
        yield Mistake(("outputs", "ort", "style"), what, 'Say style = "runtime": fusions wait until it is known who runs what.')
    for name, table in outputs.tables().items():
        if table.provider and table.provider not in providers:
            yield Mistake(("outputs", name), "no provider would use it", f'Add a [[provider]] with name = "{table.provider}".')


def _names(what: str, given: Sequence[str], known: Sequence[str]) -> Iterator[Mistake]:
    for index, one in enumerate(given):
        if one not in known:
            at = (index,) if what != "SoC" else ()
            near = did_you_mean(one, known, quote='"') or f"Known are {', '.join(known)}."
            yield Mistake(at, f'"{one}" is not a {what} that engines can be built for', near)


def _flags(given: Sequence[str]) -> Iterator[Mistake]:
    known = tomllib.loads(_FLAGS.read_text())
    for index, flag in enumerate(given):
        if flag in known["gone"]:
            yield Mistake((index,), f"{flag} is gone", f"{known['gone'][flag]}.")
        elif flag.startswith("-") and flag not in known["flags"]:
            yield Mistake((index,), f"ONNX Runtime's build.sh has no {flag}", did_you_mean(flag, known["flags"], quote='"'))

"""CMake's flags of a reduced runtime, from the recipe's knobs, the platform and the operators."""

from __future__ import annotations

from dataclasses import dataclass

from .config import Config
from .pinned import Platform

BUILD = "/build"
"""Where the tree lies in the root file system: always the same, so that no path of this machine gets into the bytes."""
_GLUE = ("abseil_cpp", "date", "eigen", "flatbuffers", "gsl", "mp11", "nlohmann_json", "re2", "utf8_range")
SPEED = "speed.cmake"
"""The file of ``glue`` that says what is compiled for speed."""
_SAME = f"-ffile-prefix-map={BUILD}=."
_ON = (
    "MINIMAL_BUILD", "REDUCED_OPS_BUILD", "BUILD_SHARED_LIB", "DISABLE_RTTI", "DISABLE_ABSEIL", "DISABLE_SPARSE_TENSORS",
    "DISABLE_OPTIONAL_TYPE", "DISABLE_FLOAT8_TYPES",
)  # fmt: skip
_OFF = ("BUILD_UNIT_TESTS", "ENABLE_CPUINFO", "ENABLE_CPU_FP16_OPS")
_ML = "ai.onnx.ml"
XNNPACK = ("googlexnnpack", "pthreadpool", "fp16", "fxdiv", "psimd", "pytorch_cpuinfo")
"""What a build with XNNPACK needs the sources of, by ONNX Runtime's names for them (its cmake/deps.txt)."""
_XNNPACK_ARM = (*XNNPACK, "kleidiai")  # ONNX Runtime's cmake/external/xnnpack.cmake links it in for 64-bit ARM
LINKING = "CMAKE_SHARED_LINKER_FLAGS"
"""What only the last step reads."""
_WRAPPED = "-Wl,--wrap=fmod -Wl,--wrap=fmodf"


@dataclass(frozen=True)
class Knobs:
    """What the recipe decides: ``[outputs] reduced_runtime``.

    ``packed``: relocations in the short form that the C library reads since 2.36. ``extended``: what an ``.ort`` file leaves to
    the device is done there, fusions and XNNPACK's nodes.
    """

    exceptions: bool
    static_cxx: bool
    xnnpack: bool
    packed: bool
    extended: bool = False


def flags(knobs: Knobs, platform: Platform, config: Config, *, cross: bool) -> dict[str, str]:
    """CMake's names and values. Operators of ``ai.onnx.ml`` are built in where the configuration has some."""
    ml = any(operator.domain == _ML for operator in config.operators)
    told = {f"onnxruntime_{name}": "ON" for name in _ON} | {f"onnxruntime_{name}": "OFF" for name in _OFF}
    told |= {
        "onnxruntime_DISABLE_ML_OPS": "OFF" if ml else "ON",
        "onnxruntime_DISABLE_EXCEPTIONS": "OFF" if knobs.exceptions else "ON",
        "ONNX_CUSTOM_PROTOC_EXECUTABLE": "/usr/bin/protoc",
        "protobuf_WITH_ZLIB": "OFF",
        "safeint_SOURCE_DIR": "/usr/include/safeint",
        "FETCHCONTENT_FULLY_DISCONNECTED": "ON",
        "CMAKE_BUILD_TYPE": "MinSizeRel",
        "CMAKE_PROJECT_onnxruntime_INCLUDE": f"{BUILD}/glue/{SPEED}",
        "CMAKE_C_COMPILER": f"{platform.triple}-gcc",
        "CMAKE_CXX_COMPILER": f"{platform.triple}-g++",
        **{f"CMAKE_{language}_FLAGS": _SAME for language in ("C", "CXX", "ASM")},
        **{f"FETCHCONTENT_SOURCE_DIR_{name.upper()}": f"{BUILD}/glue/{name}" for name in _GLUE},
        **{f"FETCHCONTENT_SOURCE_DIR_{name.upper()}": f"{BUILD}/{name}" for name in ("onnx", "protobuf")},
    }
    return dict(sorted((told | _crossing(platform, cross) | _linking(knobs) | _extended(knobs, platform)).items()))


def _crossing(platform: Platform, cross: bool) -> dict[str, str]:
    return {"CMAKE_SYSTEM_NAME": "Linux", "CMAKE_SYSTEM_PROCESSOR": platform.processor} if cross else {}


def shims(knobs: Knobs) -> list[str]:
    """The files of ``glue`` that stand in for what only newer C and C++ runtimes have, without their suffix."""
    return ["old_libc"] if knobs.static_cxx else ["old_libc", "old_cxx"]


def _linking(knobs: Knobs) -> dict[str, str]:
    own = ["-static-libstdc++", "-static-libgcc"] if knobs.static_cxx else []
    own += ["-Wl,-z,pack-relative-relocs"] if knobs.packed else []
    return {LINKING: " ".join([_WRAPPED, *own, *(f"{BUILD}/{name}.o" for name in shims(knobs))])}


def more_sources(knobs: Knobs, platform: Platform) -> tuple[str, ...]:
    """The trees that are needed beside the pinned sources, by ONNX Runtime's names for them."""
    if not knobs.xnnpack:
        return ()
    return _XNNPACK_ARM if platform.processor == "aarch64" else XNNPACK


def _extended(knobs: Knobs, platform: Platform) -> dict[str, str]:
    extended = {"onnxruntime_EXTENDED_MINIMAL_BUILD": "ON"} if knobs.extended or knobs.xnnpack else {}
    if not knobs.xnnpack:
        return extended
    own = {f"FETCHCONTENT_SOURCE_DIR_{name.upper()}": f"{BUILD}/{name}" for name in more_sources(knobs, platform)}
    return extended | own | {"onnxruntime_USE_XNNPACK": "ON", "onnxruntime_ENABLE_CPUINFO": "ON"}

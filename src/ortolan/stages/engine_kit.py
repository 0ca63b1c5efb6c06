"""Writes an engine kit: what a device with standard TensorRT needs to build its engine itself, by trtexec or by Python."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lib import canon, kit_files, signature, trt_profiles, trt_qdq, trt_repair, trt_types
from .lib.kit import build_engine
from .lib.refused import Refused

if TYPE_CHECKING:
    from onnx import ModelProto

INPUTS = ("model",)
PARAMS = (
    "tag", "model_file", "tensorrt", "profiles", "workspace", "tf32", "dla_core", "gpu_fallback", "timing_cache", "options",
    "library", "compute_capability",
)  # fmt: skip
OUTPUTS = ("build_engine.sh", "build_engine.py", "engine.json")

_PROVIDERS = {build_engine.TENSORRT: "TensorrtExecutionProvider", build_engine.RTX: "NvTensorRTRTXExecutionProvider"}
NOT_RUN = "no Jetson given (--host)"
"""An engine is for the very GPU and TensorRT that built it."""
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+/-]*")


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """``model_file``: where the bundle keeps the model, below the kit's folder. ``library``: ``tensorrt`` or ``tensorrt_rtx``.

    ``tensorrt``: the version that the fleet has, ``10.3``; empty: any. ``compute_capability``, ``8.6``: TensorRT-RTX builds
    for a GPU that need not be there; ``None``: the engine is for the device that builds it. ``profiles`` is
    ``{axis: {min, opt, max}}``, ``workspace`` bytes or ``None``, ``dla_core`` a number or ``None``, ``options`` the recipe's for
    ONNX Runtime's provider. Facts: what ``engine.json`` holds, ``quantised``, ``doubtful`` (quantised scalars, which
    TensorRT-RTX's builder refuses), ``unknown_profiles``, ``typing`` and ``engine``, which is always not run.
    Refused: what TensorRT misreads or refuses for certain (``trt_qdq``), an axis without a profile, and what a DLA cannot do.
    """
    _check_names(params)
    model = canon.load(inputs["model"])
    trt_qdq.check(model)
    settings = {
        "profiles": trt_profiles.of_model(model, params["profiles"]),
        **{name: params[name] for name in ("workspace", "tf32", "dla_core", "gpu_fallback")},
    }
    data = _data(model, inputs["model"], params, settings)
    _check_version(params["tensorrt"], data)
    if settings["dla_core"] is not None:
        _check_dla(model, settings)
    kit_files.write(out, data)
    return data | {
        "quantised": trt_qdq.quantised(model),
        "unknown_profiles": trt_profiles.unknown(model, params["profiles"]),
        "doubtful": trt_repair.scalars(model),
        "typing": "strong"
        if build_engine.strongly_typed(settings, params["tensorrt"] or "0")
        else "weak, float16 where it is faster",
        "engine": {"outcome": "not-run", "why": NOT_RUN},
    }


def _data(model: ModelProto, path: Path, params: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """What ``engine.json`` holds."""
    described = signature.describe(model)
    half, timing = trt_types.half(model), params["timing_cache"]
    quantised, standard = trt_qdq.quantised(model), params["library"] == build_engine.TENSORRT
    own = kit_files.ort_options(settings, params["options"], timing_cache=timing, quantised=quantised, half=half)
    options = own if standard else dict(params["options"])
    return {
        "format": kit_files.FORMAT,
        "tag": params["tag"],
        "library": params["library"],
        "tensorrt": params["tensorrt"],
        "compute_capability": params["compute_capability"],
        "model": {"file": params["model_file"], "sha256": build_engine.sha256(path), "size": path.stat().st_size},
        "inputs": described["inputs"],
        "outputs": described["outputs"],
        "settings": dict(settings),
        "settings_digest": build_engine.settings_digest(dict(settings)),
        "half": half,
        "timing_cache": timing,
        "name_rule": kit_files.NAME_RULE,
        "onnxruntime": {"provider": _PROVIDERS[params["library"]], "options": options},
    }


def _check_names(params: Mapping[str, Any]) -> None:
    for name in ("tag", "model_file"):
        value = params[name]
        if not _PLAIN.fullmatch(value) or ".." in value or (name == "tag" and "/" in value):
            raise Refused(f"{name} {value!r} cannot name a file everywhere", hint="use letters, digits and . _ + -")


def _check_version(version: str, data: dict[str, Any]) -> None:
    if not version:
        return
    if not re.fullmatch(r"\d+(\.\d+)*", version):
        raise Refused(f"TensorRT's version {version!r} is none", hint="write it as in 10.3")
    try:
        build_engine.check_version(version, data)
    except build_engine.BuildError as error:
        raise Refused("the kit does not suit the fleet's TensorRT", why=str(error)) from error


def _check_dla(model: ModelProto, settings: Mapping[str, Any]) -> None:
    """What is known of the DLA of Jetson Orin under TensorRT 10 (docs.nvidia.com, Working with DLA)."""
    if settings["dla_core"] not in {0, 1}:
        raise Refused(f"there is no DLA core {settings['dla_core']}", why="a Jetson Orin has cores 0 and 1, or none")
    if trt_qdq.quantised(model):
        hint = 'quantize.policy = "never" for this target, or leave dla_core out'
        raise Refused("the DLA takes no Q/DQ nodes", why="TensorRT quantises for it from calibration tables only", hint=hint)
    ranged = [name for name, sizes in settings["profiles"].items() if sizes["min"] != sizes["max"]]
    if ranged:
        why = (
            f"{ranged[0]} has a profile from {settings['profiles'][ranged[0]]['min']} to {settings['profiles'][ranged[0]]['max']}"
        )
        raise Refused("the DLA takes no dynamic shapes", why=why, hint="fix its axes in [shapes], or leave dla_core out")

"""The files of an engine kit: the scripts, and ``engine.json``, which says what to build and how ONNX Runtime caches it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import trt_profiles
from .kit import build_engine

FORMAT = 1
NAME_RULE = "<tag>-<model's sha256, 12>-<settings' sha256, 12>-trt<TensorRT's version>-<gpu>-sm<compute capability>-<n>sms.engine"

_PLACE = re.compile(r"=@(\w+)@")
_SCRIPTS = Path(__file__).parent / "kit"


def ort_options(
    settings: Mapping[str, Any], given: Mapping[str, Any], *, timing_cache: bool, quantised: bool, half: bool
) -> dict[str, str]:
    """Options of ONNX Runtime's TensorRT provider: those of the recipe (``given``), its caches named as the kit names engines.

    ``{engine}`` and ``{folder}`` stand for what only the device knows: the engine's name less its suffix, and the folder of
    engines. The cache's path is relative to the context model's folder and may not leave it (tensorrt_execution_provider.cc).
    The provider has no switch for strong typing: it takes half precision and 8 bits only where it is told
    (docs/execution-providers/TensorRT-ExecutionProvider.md), in words, not digits.
    """
    found = {
        "trt_fp16_enable": str(half or settings["dla_core"] is not None),
        **{key: str(value) for key, value in given.items()},
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": ".",
        "trt_engine_cache_prefix": "{engine}",
        "trt_dump_ep_context_model": "True",
        "trt_ep_context_file_path": "{folder}/{engine}_ctx.onnx",
        "trt_ep_context_embed_mode": "0",
        "trt_int8_enable": str(quantised),
    }
    if settings["workspace"] is not None:
        found["trt_max_workspace_size"] = str(settings["workspace"])
    if timing_cache:
        found |= {"trt_timing_cache_enable": "True", "trt_timing_cache_path": "{folder}"}
    if settings["dla_core"] is not None:
        found |= {"trt_dla_enable": "True", "trt_dla_core": str(settings["dla_core"])}
    if settings["profiles"]:
        found |= {f"trt_profile_{point}_shapes": trt_profiles.text(settings["profiles"], point) for point in trt_profiles.POINTS}
    return dict(sorted(found.items()))


def write(out: Path, data: Mapping[str, Any]) -> None:
    """Write ``engine.json`` and the two scripts that read it, or hold the same."""
    (out / "engine.json").write_text(json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    (out / "build_engine.py").write_bytes((_SCRIPTS / "build_engine.py").read_bytes())
    (out / "build_engine.sh").write_text(_shell(data), encoding="utf-8")


def _shell(data: Mapping[str, Any]) -> str:
    """The shell script with the kit's values, each quoted for the shell."""
    settings = data["settings"]
    shapes = {f"{point}_shapes": trt_profiles.text(settings["profiles"], point) for point in trt_profiles.POINTS}
    values = {
        "tag": data["tag"], "model_file": data["model"]["file"], "model_sha256": data["model"]["sha256"],
        "settings_digest": build_engine.settings_digest(dict(settings)), **shapes,
        "workspace": _number(settings["workspace"]), "tf32": _word(settings["tf32"]), "dla_core": _number(settings["dla_core"]),
        "gpu_fallback": _word(settings["gpu_fallback"]), "half": _word(data["half"]),
        "timing_cache": _word(data["timing_cache"]), "settings_json": json.dumps(settings, sort_keys=True),
        "options_json": json.dumps(data["onnxruntime"]["options"], sort_keys=True),
    }  # fmt: skip
    text = (_SCRIPTS / "build_engine.sh").read_text(encoding="utf-8")
    return _PLACE.sub(lambda found: f"={shlex.quote(values[found[1]])}", text)


def _word(value: bool) -> str:
    return "yes" if value else "no"


def _number(value: int | None) -> str:
    return "" if value is None else str(value)

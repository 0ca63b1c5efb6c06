"""Converts a model to the .ort file of ORT Mobile, with the lists of operators that a reduced runtime needs; canonical bytes."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .lib import external, ortformat, ortformat_records, sessions
from .lib.refused import Refused
from .lib.transient import LEAST, reraise_if_transient

INPUTS = ("model+",)
PARAMS = ("style", "type_reduction", "platform")
OUTPUTS = ("model.ort", "required_operators.config", "required_operators_and_types.config?")
CPU = True  # the optimiser that writes the file looks at the processor, for 8-bit weights on AVX2 for one

_CONFIGS = ("required_operators.config", "required_operators_and_types.config")


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """``style``: ``fixed`` bakes all optimisations in, ``runtime`` leaves some to the device; ``platform`` is the target's.

    Facts: ``onnxruntime`` (the version that converted), ``operators``: ``{domain: {opset: [operator]}}`` that a reduced runtime
    needs; ``unfused``: quantised matrix products that the device computes as they are written, for else this version would
    not open its own file. Raises ``Refused`` with ONNX Runtime's words when it cannot load the model.
    """
    weights = inputs["model"].with_name(inputs["model"].name + external.DATA)
    _refuse_large(weights)
    import onnxruntime as ort

    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        if weights.is_file():
            weights.rename(Path(folder, weights.name))
        model, config = _convert(inputs["model"], Path(folder), params)
        data, unfused = _openable(model.read_bytes())
        (out / "model.ort").write_bytes(ortformat.canonical(data))
        needed = _without_comments(config.read_text())
    (out / _CONFIGS[0]).write_text(_without_types(needed), encoding="utf-8")
    if params["type_reduction"]:
        (out / _CONFIGS[1]).write_text(needed, encoding="utf-8")
    return {"onnxruntime": ort.__version__, "operators": _operators((out / _CONFIGS[0]).read_text()), "unfused": unfused}


def _refuse_large(weights: Path) -> None:
    size = weights.stat().st_size if weights.is_file() else 0
    if size > external.LIMIT:
        raise Refused(
            f"the model's weights have {size:,} bytes",
            why="an .ort file is one flatbuffer, which holds at most 2 GB",
            hint="ship the .onnx alone: leave [outputs.ort] out of the target's recipe",
        )


def _convert(model: Path, folder: Path, params: Mapping[str, Any]) -> tuple[Path, Path]:
    from onnxruntime.tools import convert_onnx_models_to_ort as converter

    copy = Path(shutil.copy(model, folder / "model.onnx"))
    wanted = converter.OptimizationStyle[params["style"].capitalize()]
    # "arm" keeps int8 activations, which the converter otherwise turns into uint8; its "amd64" would bake in this
    # processor's NCHWc layout, so x86 gets the default.
    arm = "arm" if params["platform"].partition("/")[2].startswith("arm") else None
    try:
        converter.convert_onnx_models_to_ort(
            copy, optimization_styles=[wanted], enable_type_reduction=params["type_reduction"], target_platform=arm
        )
    except Exception as error:  # ONNX Runtime's errors have no common type
        reraise_if_transient(error, LEAST + 2 * copy.stat().st_size)  # the runtime style writes it twice, and cleans up
        raise Refused("ONNX Runtime cannot convert this model to .ort", why=sessions.first_line(error)) from error
    suffix = ".with_runtime_opt" if params["style"] == "runtime" else ""
    return folder / f"model{suffix}.ort", next(folder.glob("*.config"))


def _openable(data: bytes) -> tuple[bytes, int]:
    """The file, without records that keep this version of ONNX Runtime from opening it, and how many those were."""
    count = ortformat_records.count(data)
    if not count:
        return data, 0
    try:
        sessions.open_session(data)
    except Exception as error:  # noqa: BLE001  ONNX Runtime's errors have no common type
        reraise_if_transient(error)
        return ortformat_records.without(data), count
    return data, 0


def _without_comments(config: str) -> str:
    """The comments name the converted files by their absolute paths."""
    lines = [line for line in config.splitlines() if line and not line.startswith("#")]
    return "".join(f"{line}\n" for line in ["# Operators that model.ort needs: domain;opset;operators", *lines])


def _without_types(config: str) -> str:
    """``Conv{"inputs": {"0": ["float"]}}`` as ``Conv``: converting once more to be told so would take as long again."""
    while (shorter := re.sub(r"\{[^{}]*\}", "", config)) != config:
        config = shorter
    return config


def _operators(config: str) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = {}
    for line in config.splitlines():
        if not line.startswith("#"):
            domain, opset, operators = line.split(";", 2)
            found.setdefault(domain, {})[opset] = operators.split(",")
    return found

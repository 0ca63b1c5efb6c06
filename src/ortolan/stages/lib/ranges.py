"""Activation ranges: what calibration writes to ranges.json, and what the quantizer takes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .refused import Refused

if TYPE_CHECKING:
    from onnxruntime.quantization.calibrate import TensorsData

Range = tuple[float, float]


def write(path: Path, method: str, tensors: Mapping[str, Range]) -> None:
    """Write ``{tensor: (lowest, highest)}`` as canonical JSON; floats as ``repr`` writes them, so that float32 survives."""
    value = {"method": method, "tensors": {name: [float(low), float(high)] for name, (low, high) in tensors.items()}}
    path.write_text(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False))


def read(path: Path) -> dict[str, Range]:
    """The ranges in a file that ``write`` wrote. Raises ``Refused`` for any other."""
    try:
        tensors = json.loads(path.read_text())["tensors"]
        return {name: (float(low), float(high)) for name, (low, high) in tensors.items()}
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(f"{path.name} holds no activation ranges", why=str(error), hint="calibrate again") from None


def tensors_data(ranges: Mapping[str, Range], names: Iterable[str]) -> TensorsData:
    """The ranges of ``names`` as ONNX Runtime's quantizer wants them: float32."""
    import numpy as np
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData

    chosen = {name: ranges[name] for name in sorted(names)}
    data = {name: TensorData(lowest=np.float32(low), highest=np.float32(high)) for name, (low, high) in chosen.items()}
    return TensorsData(CalibrationMethod.MinMax, data)

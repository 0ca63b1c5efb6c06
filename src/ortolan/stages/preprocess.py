"""Readies a model for quantisation: fuses batch normalisation, folds constants, infers shapes."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lib import canon, external, graphs, quant_nodes
from .lib.refused import Refused
from .lib.sessions import first_line
from .lib.transient import LEAST, reraise_if_transient

if TYPE_CHECKING:
    from onnx import ModelProto

INPUTS = ("model",)
PARAMS = ()
OUTPUTS = ("model.onnx",)
CPU = True  # ONNX Runtime folds constants with the kernels of this processor

_FILES = 3  # of the model's size, which quant_pre_process writes and removes
_OLDEST = 11  # below it quant_pre_process raises the opset


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:  # noqa: ARG001
    model = canon.parse(inputs["model"])
    ready, skipped = _optimised(model, out)
    quant_nodes.name_nodes(ready.graph)
    return {**canon.describe(canon.save(ready, out / "model.onnx")), "skipped": skipped}


def _optimised(model: ModelProto, out: Path) -> tuple[ModelProto, str]:
    """The optimised model and "", or the model with its shapes alone and the reason."""
    reason = _unfit(model)
    if not reason:
        ready = _quant_pre_process(model, out)
        reason = ready if isinstance(ready, str) else _changed(model, ready)
        if not isinstance(ready, str) and not reason:
            return ready, ""
    return quant_nodes.inferred(model), reason


def _unfit(model: ModelProto) -> str:
    if external.stored_outside(model):
        return "its weights stand in a file of their own: the optimiser would hold them several times in memory"
    opset = next((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), 0)
    return f"opset {opset} is below {_OLDEST}, which it would be raised to" if opset < _OLDEST else ""


def _quant_pre_process(model: ModelProto, out: Path) -> ModelProto | str:
    """What ONNX Runtime makes of the model, or why it fails; a failure to optimise it only logs."""
    from google.protobuf.message import DecodeError
    from onnxruntime.quantization import shape_inference

    given, made = out / "given.onnx", out / "made.onnx"
    given.write_bytes(model.SerializeToString())
    errors = _Errors()
    shape_inference.logger.addHandler(errors)
    try:
        shape_inference.quant_pre_process(given, made, skip_symbolic_shape=True)
        return errors.last or canon.load(made)
    except OSError:
        raise  # its own files: the fault of the machine
    except (DecodeError, Refused) as error:
        raise RuntimeError("quant_pre_process left no whole model: is the disk full?") from error
    except Exception as error:  # noqa: BLE001  what is left comes of the model, which is good without
        reraise_if_transient(error, LEAST + _FILES * given.stat().st_size)
        return f"quant_pre_process raised {type(error).__name__}: {first_line(error)}"
    finally:
        given.unlink()
        made.unlink(missing_ok=True)


class _Errors(logging.Handler):
    """Keeps the last line of what is logged as an error, while its cause is being handled."""

    last = ""

    def emit(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if error is not None:
            reraise_if_transient(error)
        if record.levelno >= logging.ERROR:
            line = record.getMessage().strip().splitlines()[-1]
            self.last = f"ONNX Runtime cannot optimise it: {first_line(RuntimeError(line))}"


def _changed(before: ModelProto, after: ModelProto) -> str:
    """Why the optimised model would not open wherever the given one does: an operator that its opsets do not have."""
    opsets = {entry.domain: entry.version for entry in before.opset_import}
    known = {(node.domain, node.op_type) for node in graphs.nodes(before)}
    new = {(node.domain, node.op_type) for node in graphs.nodes(after)} - known
    foreign = sorted(f"{d or 'ai.onnx'} {op}" for d, op in new if d or not _has(op, opsets.get("", 0)))
    versions = {entry.domain: entry.version for entry in after.opset_import}
    moved = {domain: version for domain, version in versions.items() if opsets.get(domain, version) != version}
    if foreign:
        return f"it would bring in {', '.join(foreign)}"
    return f"it would change the opset to {moved}" if moved else ""


def _has(operator: str, opset: int) -> bool:
    """Whether the operator exists in this opset of the standard domain."""
    from onnx import defs

    try:
        return bool(defs.get_schema(operator, opset, ""))
    except defs.SchemaError:
        return False

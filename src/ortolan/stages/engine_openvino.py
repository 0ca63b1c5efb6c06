"""Converts a model to OpenVINO's IR, optionally compiles it for this kind of CPU, reads both back, runs and compares them."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lib import canon, openvino_model, reference, sessions, signature, tensors
from .lib.openvino_model import EXACT
from .lib.refused import Refused
from .lib.transient import reraise_if_transient

if TYPE_CHECKING:
    import openvino  # type: ignore[import-not-found,unused-ignore]  # only its own runtime has it
    from onnx import ModelProto

INPUTS = ("model", "samples", "expected?")
PARAMS = ("compress_to_fp16", "blob", "rtol", "atol")
OUTPUTS = ("model.xml", "model.bin", "model.blob?")
CPU = True  # the blob holds code layouts for this CPU's instructions, and the check's numbers depend on them

_MADE_FOR = re.compile(r"\bov=([^;]*);isa=([^;]*)")
_PLACE = re.compile(
    r"^(?:Exception from |Check '.*' failed at |FrontEnd API failed|\[ONNX Frontend\]|Model wasn't fully|Summary:|To facilitate)"
)

Samples = Sequence[Mapping[str, Any]]


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """``compress_to_fp16`` stores weights in half precision; ``blob`` also exports the model compiled for the CPU.

    The IR is read back and run on the samples in float32 on one thread; the outputs are compared with ``expected``, or without
    it with those of this runtime's ONNX Runtime, which computes the model as it is written.

    Facts: ``openvino`` (version), ``ports`` (inputs and outputs of the IR), ``differences`` (from the model's; empty when alike),
    ``constants`` (bytes by type), ``fake_quantize`` (layers that carry the ranges of a quantised model), ``against`` (what the
    outputs were compared with, empty for nothing), ``ir`` and ``blob``: ``{"opens", "runs", "error", "outputs": {name:
    compare()}, "close"}``. ``close`` is None without anything to compare with. ``ir`` has also ``precisions``, what the CPU
    executed, and ``precision``, the hint as it was read back; ``blob``, None where there is none, ``differences`` and
    ``made_for``: ``{"openvino", "isa"}`` from its head, the only version and kind of CPU that take it. Raises ``Refused``
    for a model that OpenVINO cannot convert.
    """
    import openvino

    model = canon.load(inputs["model"])
    _refuse_strings(model)
    _convert(model, out / "model.xml", compress=params["compress_to_fp16"])
    samples = tensors.read_samples(inputs["samples"])
    expected, against = _expected(inputs, samples)
    judge = _Judge([value.name for value in model.graph.output], samples, expected, params)
    ir = openvino.Core().read_model(str(out / "model.xml"))
    ports = openvino_model.ports(ir)
    return {
        "openvino": openvino.__version__,
        "ports": ports,
        "differences": openvino_model.differences(model, ports),
        "constants": openvino_model.constants(ir),
        "fake_quantize": sum(layer.get_type_name() == "FakeQuantize" for layer in ir.get_ops()),
        "against": against,
        "ir": _ir(ir, judge),
        "blob": _blob(ir, model, out / "model.blob", judge) if params["blob"] else None,
    }


def _refuse_strings(model: ModelProto) -> None:
    names = [value.name for value in (*signature.inputs(model), *model.graph.output) if signature.type_name(value.type) == "str"]
    if names:
        raise Refused(
            f"'{names[0]}' is a tensor of strings",
            why="OpenVINO 2026.4.1 aborts the process that frees one (free(): invalid pointer)",
            hint="leave out [outputs] openvino, or do the work on strings outside the model",
        )


def _convert(model: ModelProto, path: Path, *, compress: bool) -> None:
    """Layers that OpenVINO makes up bear numbers that count on through the process: so this comes before all other work.

    It gets the bytes, since it takes some loops from bytes only, and writes a file's name into the IR. Local functions are
    inlined: OpenVINO knows none.
    """
    import openvino
    from onnx import inliner

    plain = inliner.inline_local_functions(model) if model.functions else model
    try:
        converted = openvino.convert_model(io.BytesIO(plain.SerializeToString()))
        openvino.save_model(converted, str(path), compress_to_fp16=compress)
    except Exception as error:
        reraise_if_transient(error)
        raise Refused(
            "OpenVINO cannot convert this model", why=_said(error), hint="leave out [outputs] openvino, or replace the operators"
        ) from error


def _expected(inputs: Mapping[str, Path], samples: Samples) -> tuple[Samples | None, str]:
    import onnxruntime as ort

    if "expected" in inputs:
        return tensors.read_samples(inputs["expected"]), "expected"
    try:
        session = sessions.open_session(inputs["model"], session=reference.PLAIN)
        return [sessions.run(session, sample) for sample in samples], f"onnxruntime {ort.__version__}"
    except Exception as error:  # noqa: BLE001  a model that ONNX Runtime cannot run may be one that OpenVINO can
        reraise_if_transient(error)
        return None, ""


def _ir(ir: openvino.Model, judge: _Judge) -> dict[str, Any]:
    opened, facts = judge.opened(lambda: openvino_model.compiled(ir))
    return facts | {
        "precision": opened.get_property("INFERENCE_PRECISION_HINT").get_type_name() if opened else "",
        "precisions": openvino_model.precisions(opened) if opened else {},
    }


def _blob(ir: openvino.Model, model: ModelProto, path: Path, judge: _Judge) -> dict[str, Any] | None:
    """None where the model does not compile; ``ir`` says why. Whoever reads a blob must give the hint again: it is not in it."""
    import openvino

    try:
        data: bytes = openvino_model.compiled(ir).export_model().getvalue()
    except Exception as error:  # noqa: BLE001  OpenVINO's errors are RuntimeErrors and others
        reraise_if_transient(error)
        return None
    path.write_bytes(data)
    opened, facts = judge.opened(lambda: openvino.Core().import_model(io.BytesIO(path.read_bytes()), "CPU", dict(EXACT)))
    return facts | {
        "made_for": _made_for(data),
        "differences": openvino_model.differences(model, openvino_model.ports(opened)) if opened else [],
    }


def _made_for(blob: bytes) -> dict[str, str] | None:
    """From the head of a CPU blob of 2026.4.1: a mark, a version, the length of a text (64 bits from byte 12), and the text."""
    length = int.from_bytes(blob[12:20], "little")
    found = _MADE_FOR.search(blob[20 : 20 + min(length, 4096)].decode(errors="replace"))
    return {"openvino": found[1], "isa": found[2]} if found else None


class _Judge:
    """Opens what was made, runs the samples and compares."""

    def __init__(self, names: Sequence[str], samples: Samples, expected: Samples | None, params: Mapping[str, Any]) -> None:
        self.names, self.samples, self.expected = names, samples, expected
        self.tolerance = {"rtol": params["rtol"], "atol": params["atol"]}

    def opened(self, opens: Callable[[], openvino.CompiledModel]) -> tuple[openvino.CompiledModel | None, dict[str, Any]]:
        opened = None
        try:
            opened = opens()
            results = [openvino_model.run(opened, self.names, sample) for sample in self.samples]
        except Exception as error:  # noqa: BLE001  OpenVINO's errors are RuntimeErrors and others; each is the verdict
            reraise_if_transient(error)
            facts = {"opens": opened is not None, "runs": False, "error": _said(error), "outputs": {}, "close": False}
            return opened, facts
        outputs = self._compared(results)
        close = all(output["close"] for output in outputs.values()) if outputs else None
        return opened, {"opens": True, "runs": bool(results), "error": "", "outputs": outputs, "close": close}

    def _compared(self, results: Samples) -> dict[str, Any]:
        if not self.expected:
            return {}
        pairs = list(zip(self.expected, results, strict=True))
        return {name: tensors.worst([self._one(name, *pair) for pair in pairs]) for name in self.names}

    def _one(self, name: str, want: Mapping[str, Any], got: Mapping[str, Any]) -> dict[str, Any]:
        if name not in want:
            return tensors.absent("an output that nothing is expected of")
        return tensors.compare(want[name], got[name], **self.tolerance)


def _said(error: BaseException) -> str:
    """What is left of an error of OpenVINO without places in its sources, headings and advice."""
    lines = [line.strip().removeprefix("-- ") for line in str(error).splitlines()]
    told = [line for line in lines if line and not _PLACE.match(line)]
    return sessions.first_line(RuntimeError("; ".join(told[:3]))) or type(error).__name__

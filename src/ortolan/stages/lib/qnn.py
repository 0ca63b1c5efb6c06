"""Asks QNN's emulator of Qualcomm's HTP about a model, in a process of its own, and reads what it says."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from . import qnn_child, qnn_socs
from .qnn_socs import Soc

_KEPT = frozenset({
    "enable_block_quant_weight_optimization", "enable_htp_fp16_clamp_overflow", "enable_htp_fp16_precision",
    "enable_htp_graph_splitting", "enable_htp_monolithic_lstm", "enable_htp_spill_fill_buffer", "extended_udma", "htp_arch",
    "htp_bf16_enable", "htp_graph_finalization_optimization_mode", "offload_graph_io_quantization", "soc_model", "vtcm_mb",
})  # fmt: skip
"""The options that a compiled graph depends on; the others are about the running device, its folders and its profiling."""

_FAILED = re.compile(
    r"Validation FAILED for \d+ nodes? in OrtNodeUnit[^\n]*\n((?:\tOperator type: [^\n]*\n)+)\tREASON : ([^\n]*)"
)
_NAME = re.compile(r"Node name: (\S*) Node index")
_CODE = re.compile(r"failed for node `([^`]+)` of type \S+ with error code (\d+)")
_START = re.compile(r"QNN SetupBackend failed ([^\n\x1b]*)")
_COMMON = "Failed to add node."


@dataclass(frozen=True)
class Answer:
    """What the process left: ``said``, ``None`` where it died, then ``died`` says of what; why nodes were refused, by name."""

    said: dict[str, Any] | None
    died: str
    reasons: Mapping[str, str]
    no_start: str
    """Why QNN did not start at all; its provider then takes no node and says nothing."""


def options(given: Mapping[str, Any], soc: Soc | None) -> dict[str, str]:
    """QNN's options on this machine, as text: those of ``given`` that a compiled graph depends on, and the SoC's.

    What the recipe says about SoC and HTP goes before what follows from ``soc``; the emulator is HTP's, wherever the device has
    its libraries. Quantisation of the model's inputs and outputs stays in the graph unless ``given`` says otherwise: else the
    CPU does it.
    """
    own = {"soc_model": str(soc.model), "htp_arch": str(soc.arch)} if soc else {}
    kept = {key: _text(value) for key, value in given.items() if key in _KEPT}
    return {"backend_type": "htp", "offload_graph_io_quantization": "0", **own, **kept}


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def asked_soc(given: Mapping[str, Any]) -> Soc | None:
    """The SoC that the options name by ``soc_model``; None where they name none. Raises ``Refused`` for an unknown one."""
    return qnn_socs.find(str(given["soc_model"])) if "soc_model" in given else None


def ask(task: str, model: bytes, samples: Path, given: Mapping[str, str], folder: Path) -> Answer:
    """Let a process of its own do ``task`` (see ``qnn_child``) in ``folder``, where its files then lie; it must not exist.

    Raises ``MemoryError`` when the process was killed, most likely because the machine ran out of memory.
    """
    folder.mkdir()
    (folder / "model.onnx").write_bytes(model)
    shutil.copyfile(samples, folder / "samples.npz")
    (folder / "ask.json").write_text(json.dumps({"task": task, "options": dict(given)}, sort_keys=True))
    with (folder / "log.txt").open("wb") as log:
        code = _wait([sys.executable, "-s", "-m", qnn_child.__name__, str(folder)], log)
    said = folder / "answer.json"
    return _answer(code, said, (folder / "log.txt").read_text(errors="replace"))


def _wait(command: list[str], log: IO[bytes]) -> int:
    """The exit code of a process that ends when this one does: it reads from a pipe that nobody writes to."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log) as child:  # noqa: S603  our own module
        return child.wait()


def _answer(code: int, said: Path, log: str) -> Answer:
    if code == -signal.SIGKILL:
        raise MemoryError("QNN's process was killed (signal 9), most likely because the machine ran out of memory")
    if code > 0:
        raise RuntimeError(f"QNN's process ended with code {code}: {log[-2000:]}")
    start = _START.search(log)
    died = f"signal {-code} ({signal.Signals(-code).name})" if code else ""
    return Answer(None if code else json.loads(said.read_text()), died, _reasons(log), start[1].strip() if start else "")


def _reasons(log: str) -> dict[str, str]:
    """``{node: why QNN refuses it}``, in its own words, from a verbose log."""
    codes = {match[1]: match[2] for match in _CODE.finditer(log)}
    found: dict[str, str] = {}
    for match in _FAILED.finditer(log):
        for name in _NAME.findall(match[1]):
            plain = f"HTP's own check refuses it (QNN error {codes[name]})" if name in codes else "HTP has no form of it"
            found[name] = plain if match[2] == _COMMON else match[2]
    return found

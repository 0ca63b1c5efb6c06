"""Runs the file that a user gave, as it is, in the tools' ONNX Runtime with all graph optimisations off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import canon, expose, external, sessions, source, zipmap
from .refused import Refused
from .transient import reraise_if_transient

if TYPE_CHECKING:
    import onnxruntime
    from onnx import ModelProto

PLAIN: Mapping[str, Any] = {
    "execution_mode": "sequential",
    "graph_optimization_level": "disable",
    "enable_mem_pattern": True,
    "enable_cpu_mem_arena": True,
    "config": {},
}


def open_original(
    folder: Path, file: str, inline: int, *, every_tensor: bool
) -> tuple[onnxruntime.InferenceSession, dict[str, Any]]:
    """A session on the untouched file, less maps at its outputs; on the mended one where ONNX Runtime refuses it (see ``ran``).

    External data stay in their files where the whole has more than ``inline`` bytes. Raises ``Refused`` when neither opens.
    """
    model, _ = source.read(folder, file, inline)
    zipmap.to_tensors(model)
    beside = (folder / file).parent
    try:
        return _open(model, beside, every_tensor), {"ran": "original"}
    except Exception as error:  # noqa: BLE001  ONNX Runtime's errors have no common type
        reraise_if_transient(error)
        refusal = sessions.first_line(error)
    mended, _ = source.mended(folder, file, inline)
    try:
        return _open(canon.canonical(mended), beside, every_tensor), {"ran": "mended", "why": refusal}
    except Exception as error:
        reraise_if_transient(error)
        raise Refused(
            f"ONNX Runtime cannot open {file}", why=sessions.first_line(error), hint="the model must run before it can be built"
        ) from error


def run_all(session: onnxruntime.InferenceSession, samples: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The outputs for every sample. Raises ``Refused`` with ONNX Runtime's words when one fails."""
    try:
        return [sessions.run(session, sample) for sample in samples]
    except Exception as error:
        reraise_if_transient(error)
        raise Refused(
            "the model does not run on its samples",
            why=sessions.first_line(error),
            hint="check [[input]] and [axes] in the recipe",
        ) from error


def _open(model: ModelProto, beside: Path, every_tensor: bool) -> onnxruntime.InferenceSession:
    if every_tensor:
        expose.outputs(model)
    return sessions.open_session(external.openable(model, beside), session=PLAIN)

"""Runs a model on one sample, and says in one line why it does not run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .refused import Refused
from .sessions import first_line
from .transient import reraise_if_transient

if TYPE_CHECKING:
    import onnxruntime


def run(session: onnxruntime.InferenceSession, outputs: Sequence[str] | None, feeds: Mapping[str, Any], what: str) -> list[Any]:
    """The outputs for one sample. ``what`` says what was tried; ``Refused`` carries it when ONNX Runtime raises."""
    try:
        found: list[Any] = session.run(outputs, dict(feeds))
    except Exception as error:
        reraise_if_transient(error)
        why = first_line(RuntimeError(" ".join(str(error).split())))
        raise Refused(what, why=why, hint="check the names, types and shapes under [[input]]") from error
    return found

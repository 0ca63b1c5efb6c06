"""Runs a model on one sample, or ONNX Runtime's quantizer on a model, and says in one line why that does not work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .refused import Refused
from .sessions import first_line
from .transient import reraise_if_transient

if TYPE_CHECKING:
    import onnxruntime

EXCLUDE = "leave the node that it names in float with exclude = [...] in [quantize]"


def run(session: onnxruntime.InferenceSession, outputs: Sequence[str] | None, feeds: Mapping[str, Any], what: str) -> list[Any]:
    """The outputs for one sample. ``what`` says what was tried; ``Refused`` carries it when ONNX Runtime raises."""
    try:
        found: list[Any] = session.run(outputs, dict(feeds))
    except Exception as error:
        reraise_if_transient(error)
        why = first_line(RuntimeError(" ".join(str(error).split())))
        raise Refused(what, why=why, hint="check the names, types and shapes under [[input]]") from error
    return found


@contextmanager
def quantizing(hint: str = "") -> Iterator[None]:
    """``Refused`` with the quantizer's words, whatever it raises: its errors have no common type."""
    try:
        yield
    except Exception as error:
        reraise_if_transient(error)
        why = f"{type(error).__name__}: {first_line(error)}"
        raise Refused("ONNX Runtime's quantizer cannot quantise this model", why=why, hint=hint) from error

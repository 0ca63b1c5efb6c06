"""Models that answer the same samples: small ones stay open, of large ones one is open at a time."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import quant_runs, weights
from .data import Sample
from .refused import Refused
from .sessions import first_line, open_session
from .tensors import halved
from .transient import reraise_if_transient

if TYPE_CHECKING:
    import onnxruntime
    from numpy.typing import NDArray

    Outputs = dict[str, NDArray[Any]]

TOGETHER = 200_000_000
"""Bytes of models that are open side by side. A session holds its model up to twice: as it is, and packed for its kernels."""
_HELD = 32  # samples that one large model answers before the next is opened


class Model:
    """One of the models, under the name that messages use. It is opened when it first runs."""

    def __init__(self, name: str, path: Path, session: Mapping[str, Any] | None) -> None:
        self._name, self._path, self._settings = name, path, session
        self._session: onnxruntime.InferenceSession | None = None
        self._outputs: list[str] = []
        self._halves: set[str] = set()
        self.size = weights.size(path)

    def run(self, sample: Sample, index: int) -> Outputs:
        """Its outputs by name; float32 samples are turned where it takes float16."""
        session = self._session or self._open()
        what = f"the {self._name} model does not run on sample {index}"
        values = quant_runs.run(session, None, halved(sample.feeds, self._halves), what)
        return dict(zip(self._outputs, values, strict=True))

    def close(self) -> None:
        """Give its memory back; the next run opens it again."""
        self._session = None

    def _open(self) -> onnxruntime.InferenceSession:
        try:
            self._session = session = open_session(self._path, session=self._settings)
        except Exception as error:
            reraise_if_transient(error)
            raise Refused(f"the {self._name} model does not open", why=first_line(error)) from error
        self._outputs = [info.name for info in session.get_outputs()]
        self._halves = {info.name for info in session.get_inputs() if info.type == "tensor(float16)"}
        return session


@dataclass(frozen=True)
class Answer:
    """What ``model`` made of a sample, and what the first of the models had made of it."""

    model: str
    index: int
    sample: Sample
    outputs: Outputs
    first: Outputs


def answers(models: Mapping[str, Model], samples: Iterable[Sample]) -> Iterator[Answer]:
    """Those of all models to all samples, each model's in order.

    Small models answer a sample one after the other. Of large ones each answers some samples, is closed, and the next opened.
    """
    apart = sum(model.size for model in models.values()) > TOGETHER
    count = 0
    for some in _groups(samples, _HELD if apart else 1):
        first: list[Outputs] = []
        for name, model in models.items():
            for place, sample in enumerate(some):
                outputs = model.run(sample, count + place)
                outputs = copy.deepcopy(outputs) if apart else outputs  # ONNX Runtime's arrays keep its memory alive
                first += [outputs] * (len(first) == place)
                yield Answer(name, count + place, sample, outputs, first[place])
            if apart:
                model.close()
        count += len(some)


def _groups(samples: Iterable[Sample], size: int) -> Iterator[Sequence[Sample]]:
    """Copies where several are held: a callable may fill the same array again and again."""
    stream = iter(samples)
    while some := [sample if size == 1 else copy.deepcopy(sample) for sample in itertools.islice(stream, size)]:
        yield some

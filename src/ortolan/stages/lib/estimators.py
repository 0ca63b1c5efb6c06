"""Estimators on tables of numbers, whichever framework fitted them: opened, converted, asked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import est_lightgbm, est_sklearn, est_xgboost
from .est_columns import Column, table
from .refused import Refused
from .transient import reraise_if_transient

if TYPE_CHECKING:
    from onnx import ModelProto

FRAMEWORKS = {"lightgbm": est_lightgbm, "sklearn": est_sklearn, "xgboost": est_xgboost}
"""Each has ``read(path, trust)``, ``columns(model, recipe)``, ``convert(model, columns, opset)``, ``classes(model)`` and
``outputs(model, rows)``.
"""
OBJECTS = frozenset({"sklearn"})
"""Those whose files hold Python objects, not only numbers: they are opened in a confined process."""
HINT = "see docs/sources: what each converter takes"
_WHOLE = (
    "is the file whole, and saved by the versions that its runtime pins? Compare its size and checksum with where it came from"
)
_NATIVE = re.compile(r"\[\d\d:\d\d:\d\d\] \S+:\d+: | *Stack trace:.*")  # of XGBoost's errors: clock, line of C++, addresses


@dataclass(frozen=True)
class Estimator:
    """A fitted model, the inputs that it is converted with, and the names of its classes where these are texts."""

    framework: Any
    model: Any
    columns: tuple[Column, ...]

    @property
    def classes(self) -> list[str]:
        """The labels by class number; empty where labels are numbers already."""
        found = self.framework.classes(self.model)
        return (
            [str(one) for one in found]
            if found is not None and getattr(found, "dtype", None) and found.dtype.kind in "OUS"
            else []
        )

    def convert(self, opset: int) -> ModelProto:
        """The converter's model, as it is. Raises ``Refused`` in the converter's words, naming what it cannot convert."""
        with_words = refusing("the model cannot be converted to ONNX")
        return with_words(lambda: self.framework.convert(self.model, self.columns, opset))  # type: ignore[no-any-return]

    def outputs(self, feeds: Mapping[str, Any]) -> list[Any]:
        """What the framework itself answers to one sample, in the order of the converted model's outputs; labels as they are."""
        return refusing("the model does not run on its samples")(  # type: ignore[no-any-return]
            lambda: self.framework.outputs(self.model, table(self.columns, feeds))
        )


def open_model(framework: str, folder: Path, file: str, recipe: Sequence[Mapping[str, Any]], *, trust: bool) -> Estimator:
    """The model in a file. Raises ``Refused`` for what cannot be read, and where the recipe's inputs do not fit it."""
    kind = FRAMEWORKS[framework]
    model = refusing(f"{file} cannot be read", _WHOLE)(lambda: kind.read(folder / file, trust))
    return Estimator(kind, model, tuple(kind.columns(model, recipe)))


def refusing(what: str, hint: str = HINT) -> Callable[[Callable[[], Any]], Any]:
    """Turn what a framework raises into a ``Refused`` with its words."""

    def run(action: Callable[[], Any]) -> Any:
        try:
            return action()
        except Refused:
            raise
        except Exception as error:
            reraise_if_transient(error)
            why = f"{type(error).__name__}: {_NATIVE.sub('', ' '.join(str(error).split()))[:400]}"
            raise Refused(what, why=why, hint=hint) from error

    return run

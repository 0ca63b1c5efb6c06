"""``[source]``: where a model comes from. One module for each kind, with its keys, its files and how they are recognised."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import Field

from ..nearest import did_you_mean
from .base import SourceTable
from .keras import KerasSource
from .lightgbm import LightGBMSource
from .look import Look, Missing, Offer
from .onnx import OnnxSource
from .pytorch import PyTorchSource
from .sklearn import SklearnSource
from .tensorflow import TensorFlowSource, whole
from .tflite import TFLiteSource
from .xgboost import XGBoostSource

Source = Annotated[
    PyTorchSource | OnnxSource | SklearnSource | XGBoostSource | LightGBMSource | TensorFlowSource | KerasSource | TFLiteSource,
    Field(discriminator="kind"),
]
TABLES: tuple[type[SourceTable], ...] = (
    PyTorchSource, OnnxSource, SklearnSource, XGBoostSource, LightGBMSource, TensorFlowSource, KerasSource, TFLiteSource,
)  # fmt: skip
"""Every kind; the first that knows a file has it."""
SUFFIXES = tuple(dict.fromkeys(suffix for table in TABLES for suffix in table.SUFFIXES))
"""What files of models are called."""


def recognise(path: Path) -> Offer | None:
    """What a file or folder is, whatever its name says. None for what no kind of source knows."""
    look = Look(path)
    return next((offer for table in TABLES if (offer := table.recognise(look))), None)


def unknown(path: Path) -> tuple[str, str]:
    """Why a file or folder is not recognised, as far as it tells, and what to try."""
    look = Look(path)
    if look.amiss[0]:
        return look.amiss
    known = f"Known are {', '.join(SUFFIXES)}, by what is in them."
    if look.folder:
        return "no saved_model.pb is in it, as in TensorFlow's folders", "name the model's file"
    if look.suffix in SUFFIXES:
        return (
            f"it is called {look.suffix}, and what is in it is not that. {known}",
            "is it whole, and a model? Or export it to .onnx",
        )
    near = did_you_mean(look.suffix, SUFFIXES) if look.suffix else ""
    return f"{near} {known}".lstrip(), "name the model's file, or export it to .onnx"


def kind_of(source: Mapping[str, Any], folder: Path) -> str:
    """The kind of a ``[source]`` table that does not say it: as its keys tell, else its file. Empty where they do not."""
    takes = [table for table in TABLES if _needed(table) <= source.keys() <= table.model_fields.keys()]
    if len(takes) > 1 and isinstance(file := source.get("file"), str):
        offer = recognise(folder / file)
        named = (
            {str(offer.table["kind"])} if offer else {_kind(one) for one in takes if Path(file).suffix.lower() in one.SUFFIXES}
        )
        takes = [table for table in takes if _kind(table) in named]
    return _kind(takes[0]) if len(takes) == 1 else ""


def _needed(table: type[SourceTable]) -> set[str]:
    return {key for key, field in table.model_fields.items() if field.is_required()} - {"kind"}


def _kind(table: type[SourceTable]) -> str:
    return str(get_args(table.model_fields["kind"].annotation)[0])


__all__ = [
    "SUFFIXES", "TABLES", "KerasSource", "LightGBMSource", "Look", "Missing", "Offer", "OnnxSource", "PyTorchSource",
    "SklearnSource", "Source", "SourceTable", "TFLiteSource", "TensorFlowSource", "XGBoostSource", "kind_of", "recognise",
    "unknown", "whole",
]  # fmt: skip

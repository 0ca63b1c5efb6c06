"""The inputs of an estimator: one tensor with all features, or one for each column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .refused import Refused

_RANK = 2  # rows and features


@dataclass(frozen=True)
class Column:
    """One input: its name, numpy's name of its type, rows (a name or a number) and how many features it holds."""

    name: str
    dtype: str
    rows: int | str
    width: int


def one_tensor(recipe: Sequence[Mapping[str, Any]], features: int, types: Sequence[str]) -> list[Column]:
    """All features in one input: the recipe's, or ``X`` with float32. Raises ``Refused`` where the recipe does not fit."""
    if not recipe:
        return [Column("X", "float32", "batch", features)]
    if len(recipe) > 1:
        raise Refused(
            f"the recipe has {len(recipe)} inputs, the model takes one with {features} features",
            hint=f'write one [[input]] with shape = ["batch", {features}]',
        )
    return [_column(recipe[0], features, types)]


def by_name(recipe: Sequence[Mapping[str, Any]], names: Sequence[str], types: Sequence[str]) -> list[Column]:
    """An input for each named column of the table that the model was fitted on."""
    said = {str(one["name"]): one for one in recipe}
    unknown = sorted(said.keys() - set(names))
    if unknown or (said and len(said) < len(names)):
        lacking = ", ".join(name for name in names if name not in said)
        why = f"{unknown[0]} is none of them" if unknown else f"{lacking} is not among [[input]]"
        hint = 'write an [[input]] for each column, with shape = ["batch", 1], or none at all'
        raise Refused(f"the model takes the columns {', '.join(names)}", why=why, hint=hint)
    if not said:
        return [Column(name, "float32", "batch", 1) for name in names]
    return [_column(said[name], 1, types) for name in names]


def table(columns: Sequence[Column], feeds: Mapping[str, Any]) -> Any:
    """The samples as a model takes them: one array, or a data frame of named columns."""
    if len(columns) == 1 and columns[0].width != 1:
        return feeds[columns[0].name]
    if len(columns) == 1:
        return feeds[columns[0].name]
    import pandas as pd

    return pd.DataFrame({column.name: feeds[column.name].ravel() for column in columns})


def _column(said: Mapping[str, Any], width: int, types: Sequence[str]) -> Column:
    name, dtype, shape = said["name"], said["dtype"], said["shape"]
    if len(shape) != _RANK or shape[1] != width:
        fit = f'shape = ["batch", {width}]'
        raise Refused(f"input '{name}' has shape {shape}", why=f"the model takes {width} feature(s)", hint=f"write {fit}")
    if dtype not in types:
        hint = f"write one of {', '.join(types)}, and convert before the model"
        raise Refused(f"input '{name}' is {dtype}", why=f"the converter takes {', '.join(types)}", hint=hint)
    return Column(name, dtype, shape[0], width)

"""The text of a model's recipe, written from what its file tells, with comments on the rest."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from ..recipe.schema import DType
from ..recipe.sources import Missing

_TYPES = get_args(DType)


def recipe(name: str, what: str, source: Mapping[str, Any], missing: Sequence[Missing], facts: Mapping[str, Any]) -> str:
    """TOML: ``source`` as its table, ``facts`` (of the step that takes the model in) as ``[[input]]`` and comments."""
    blocks = [
        [f"# Written by model-add: {what}. Lines that begin with # are to be filled in, or to be left out.", 'description = ""'],
        [f"# gives {_tensor(one)}" for one in facts.get("outputs", [])],
        [*_source(source), *_comments(missing, inside=True)],
        *[list(_input(one)) for one in facts.get("inputs", [])],
        list(_comments(missing, inside=False)),
        *_stubs(name),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _source(table: Mapping[str, Any]) -> list[str]:
    return ["[source]", *(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items())]


def _comments(missing: Sequence[Missing], *, inside: bool) -> Iterator[str]:
    """What the file does not tell, of ``[source]`` or beside it."""
    for one in missing:
        lines = one.lines.splitlines()
        if (lines[0] == "[source]") is inside:
            yield f"# {one.why}:"
            yield from (f"# {line}" for line in lines[inside:])


def _input(one: Mapping[str, Any]) -> Iterator[str]:
    """One ``[[input]]``; in comments where recipes have no word for its type, or the file does not tell its rank."""
    name, dtype, shape = one["name"], one["dtype"], one["shape"]
    told = dtype in _TYPES and shape is not None
    axes = [f"{name}_{index}" if axis is None else axis for index, axis in enumerate(shape or [])]
    mark = "" if told else "# "
    yield f"{mark}[[input]]"
    yield f"{mark}name = {json.dumps(name, ensure_ascii=False)}"
    yield f'{mark}dtype = "{dtype}"'
    yield f"{mark}shape = {json.dumps(axes, ensure_ascii=False)}{'' if shape is not None else ' # not in the file'}"
    yield "# range = [0.0, 1.0] # lowest and highest value of real data: random samples stay within"


def _stubs(name: str) -> Iterator[list[str]]:
    yield [
        "# Data, for INT8 and for parity on what the model will see: arrays named as inputs, the first axis counting samples;",
        '# or images = "folder", size = [224, 224]; or callable = "data.py:samples". See docs/recipes.md.',
        "# [data]",
        f'# calibration = {{ npz = "{name}-calibration.npz", limit = 256 }}',
        f'# evaluation = {{ npz = "{name}-evaluation.npz", labels = "label" }}',
    ]
    yield ["# [accuracy]", '# metric = "top1" # or top5, agreement, snr, mse, or "metric.py:score"', "# max_drop = 0.01"]
    yield ["# [parity]", "# rtol = 1e-3", "# atol = 1e-5"]


def _tensor(one: Mapping[str, Any]) -> str:
    shape = "of unknown rank" if one["shape"] is None else json.dumps(["?" if axis is None else axis for axis in one["shape"]])
    return f"{one['name']}: {one['dtype']} {shape}"

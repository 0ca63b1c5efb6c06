"""Streams calibration and evaluation data as model inputs, each sample checked."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import npz, usercode
from .images import images
from .refused import Refused

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


@dataclass(frozen=True)
class Sample:
    """What one run of the model takes: ``feeds`` with the model's own ranks, and a class number or reference output."""

    feeds: dict[str, Array]
    label: Any | None


@dataclass(frozen=True)
class _Item:
    """One entry of a data set, before it gets a leading axis. ``where`` is what the user calls it."""

    where: str
    values: Mapping[str, Any]
    label: Any | None


def samples(root: Path, spec: Mapping[str, Any], inputs: Sequence[Mapping[str, Any]]) -> Iterator[Sample]:
    """Yield the samples of a data set in a fixed order, holding one at a time.

    ``root`` holds the files at the paths of the recipe. ``spec`` is a data set of the recipe as JSON. ``inputs`` are
    ``{"name", "dtype", "shape", "range"?}``; an axis that is no number is dynamic. An entry with the rank of its input is fed
    as it is. One with a rank less gets the leading axis: of size 1 where that is dynamic or 1, else as many entries as it
    counts are stacked, and a last, incomplete stack is left out. Raises ``Refused`` naming file, sample and array for
    whatever is amiss.
    """
    items = {"npz": _npz, "images": _images, "callable": _callable}[spec["kind"]](root, spec, inputs)
    count, size, pending = 0, 0, list[_Item]()
    for item in items:
        checked = _Item(item.where, {entry["name"]: _checked(entry, item) for entry in inputs}, item.label)
        size = size or _stack_size(inputs, checked)
        pending.append(checked)
        if len(pending) == size:
            yield _stacked(inputs, pending)
            count, pending = count + 1, []
    if not count:
        found = f"it has {len(pending)} entries, and the model takes {size} at a time" if pending else "it has no entries"
        raise Refused(f"{_name(spec)} holds no sample", why=found, hint="check [data] in the model's recipe")


def _name(spec: Mapping[str, Any]) -> str:
    return str(spec[spec["kind"]])


# --- sources -----------------------------------------------------------------------------------------------------


def _npz(root: Path, spec: Mapping[str, Any], inputs: Sequence[Mapping[str, Any]]) -> Iterator[_Item]:
    file = spec["npz"]
    found = npz.headers(root / file, file)
    arrays = {entry["name"]: npz.pick(found, entry["name"], file, f"input {entry['name']!r}") for entry in inputs}
    if spec["labels"]:
        arrays[spec["labels"]] = npz.pick(found, spec["labels"], file, "[data] labels")
    counts = {name: header.shape[0] if header.shape else 0 for name, header in arrays.items()}
    if len(set(counts.values())) > 1:
        why = ", ".join(f"{name!r} has {count}" for name, count in counts.items())
        raise Refused(f"{file}: the arrays differ in their number of samples", why=why, hint="the first axis counts samples")
    streams = [npz.rows(root / file, file, name, spec["limit"]) for name in arrays]
    for index, row in enumerate(zip(*streams, strict=True)):
        values = dict(zip(arrays, row, strict=True))
        yield _Item(f"{file}, sample {index}", values, values[spec["labels"]] if spec["labels"] else None)


def _images(root: Path, spec: Mapping[str, Any], inputs: Sequence[Mapping[str, Any]]) -> Iterator[_Item]:
    if len(inputs) != 1:
        names = ", ".join(entry["name"] for entry in inputs)
        raise Refused("a folder of images feeds one input", why=f"the model has {len(inputs)}: {names}", hint="use a callable")
    for where, array, label in images(root, spec, inputs[0]["dtype"]):
        yield _Item(where, {inputs[0]["name"]: array}, label)


def _callable(root: Path, spec: Mapping[str, Any], inputs: Sequence[Mapping[str, Any]]) -> Iterator[_Item]:
    reference = spec["callable"]
    generate = usercode.load(root, reference)
    with usercode.blame(reference):
        produced = iter(generate())
    for index in itertools.islice(itertools.count(), spec["limit"]):
        where = f"{reference}, sample {index}"
        with usercode.blame(where):
            value = next(produced, _END)
        if value is _END:
            return
        yield _item(where, value, inputs)


_END = object()


def _item(where: str, value: Any, inputs: Sequence[Mapping[str, Any]]) -> _Item:
    pair = 2
    feeds, label = value if isinstance(value, tuple) and len(value) == pair else (value, None)
    if not isinstance(feeds, Mapping):
        raise Refused(f"{where} is a {type(feeds).__name__}", hint="yield {input: array}, or ({input: array}, label)")
    for entry in inputs:
        if entry["name"] not in feeds:
            near = get_close_matches(entry["name"], map(str, feeds), n=1, cutoff=0.0)
            hint = f"did you mean {entry['name']!r} in place of {near[0]!r}?" if near else ""
            raise Refused(f"{where} has no {entry['name']!r}", why=f"it has {sorted(map(str, feeds))}", hint=hint)
    return _Item(where, feeds, label)


# --- checks ------------------------------------------------------------------------------------------------------


def _checked(entry: Mapping[str, Any], item: _Item) -> Array:
    import numpy as np

    array, name = item.values[entry["name"]], f"{item.where}: {entry['name']!r}"
    if not isinstance(array, np.ndarray | np.generic):
        raise Refused(f"{name} is a {type(array).__name__}, not an array", hint="yield numpy arrays")
    array = np.asarray(array)
    if array.dtype != np.dtype(entry["dtype"]):
        hint = f"save array.astype({entry['dtype']!r}), after the scaling that the model was trained with"
        raise Refused(f"{name} has dtype {array.dtype}", why=f"the model takes {entry['dtype']}", hint=hint)
    if not any(_fits(array.shape, shape) for shape in (entry["shape"], entry["shape"][1:])):
        wanted = f"{entry['shape'][1:]} (or with the leading axis: {entry['shape']})"
        raise Refused(
            f"{name} has shape {list(array.shape)}", why=f"the model takes {wanted}", hint="check axis order and image size"
        )
    _finite(array, name)
    _within(array, entry.get("range"), name)
    return array


def _fits(found: Sequence[int], wanted: Sequence[Any]) -> bool:
    return len(found) == len(wanted) and all(not isinstance(w, int) or w == f for f, w in zip(found, wanted, strict=True))


def _finite(array: Array, name: str) -> None:
    import numpy as np

    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        first = [int(axis[0]) for axis in np.nonzero(~np.isfinite(array))]
        why = f"{bad} of {array.size} values are NaN or infinite, the first at {first}: {array[tuple(first)]}"
        raise Refused(f"{name} is not finite", why=why, hint="remove the sample or mend what makes it")


def _within(array: Array, limits: Sequence[float] | None, name: str) -> None:
    """Refuse values outside ``limits``, with a millionth of the span to spare for rounding."""
    if not limits or not array.size:
        return
    low, high = float(array.min()), float(array.max())
    spare = (limits[1] - limits[0]) * 1e-6
    if low < limits[0] - spare or high > limits[1] + spare:
        why = f"its values lie in [{low:.6g}, {high:.6g}], the recipe says [{limits[0]:.6g}, {limits[1]:.6g}]"
        raise Refused(f"{name} is out of range", why=why, hint="scale the data as in training, or correct `range` of the input")


# --- stacking ----------------------------------------------------------------------------------------------------


def _bare(entry: Mapping[str, Any], array: Array) -> bool:
    """Whether the array lacks the leading axis."""
    return bool(array.ndim < len(entry["shape"]))


def _stack_size(inputs: Iterable[Mapping[str, Any]], item: _Item) -> int:
    """How many entries make one sample."""
    sizes = {entry["name"]: 1 for entry in inputs}
    for entry in inputs:
        if _bare(entry, item.values[entry["name"]]) and isinstance(entry["shape"][0], int):
            sizes[entry["name"]] = entry["shape"][0]
    if len(set(sizes.values())) > 1:
        why = ", ".join(f"{name!r} takes {size}" for name, size in sizes.items())
        hint = "store each input with its leading axis, so that an entry is a whole sample"
        raise Refused(f"{item.where}: the inputs take different numbers of entries", why=why, hint=hint)
    return max(sizes.values(), default=1)


def _stacked(inputs: Iterable[Mapping[str, Any]], items: Sequence[_Item]) -> Sample:
    import numpy as np

    feeds = {}
    for entry in inputs:
        arrays = [item.values[entry["name"]] for item in items]
        if len({array.shape for array in arrays}) > 1:
            why = ", ".join(f"{item.where}: {list(array.shape)}" for item, array in zip(items, arrays, strict=True))
            raise Refused(f"{entry['name']!r} cannot be stacked: its entries differ in shape", why=why)
        feeds[entry["name"]] = np.stack(arrays) if _bare(entry, arrays[0]) else arrays[0]
    labels = [item.label for item in items if item.label is not None]
    return Sample(feeds, np.stack(labels) if len(labels) > 1 else next(iter(labels), None))

"""Makes the samples on which parity is measured: the first of the user's data, or seeded random values."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lib import axes, canon, data, tensors, tree_samples
from .lib.refused import Refused

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

INPUTS = ("model", "data?")
PARAMS = ("inputs", "axes", "count", "data")
OUTPUTS = ("samples.npz",)

_UNSIZED = 2  # of a dynamic axis that the recipe gives no size: 1 would hide broadcasting mistakes
_HINT = "make the recipe's [[input]] fit the model"


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Facts: ``source`` (``data`` or ``random``), ``count``, ``shapes`` of the first sample's tensors."""
    model = canon.parse(inputs["model"])
    wanted = [_wanted(each, given, params["axes"]) for each, given in _pairs(canon.describe(model)["inputs"], params["inputs"])]
    if params["data"] is not None:
        streamed = data.samples(inputs["data"], params["data"], wanted)
        samples: list[dict[str, Any]] = [sample.feeds for sample in itertools.islice(streamed, params["count"])]
    else:
        known = tree_samples.thresholds(model)
        samples = [{each["name"]: _random(each, index, known) for each in wanted} for index in range(params["count"])]
    tensors.write_samples(out / "samples.npz", samples)
    shapes = {name: list(array.shape) for name, array in sorted(samples[0].items())}
    return {"source": "random" if params["data"] is None else "data", "count": len(samples), "shapes": shapes}


def _pairs(
    model: Sequence[Mapping[str, Any]], recipe: Sequence[Mapping[str, Any]]
) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    said = {each["name"]: each for each in recipe}
    lost = sorted(said.keys() - {each["name"] for each in model})
    if lost:
        have = ", ".join(each["name"] for each in model) or "none"
        raise Refused(f"the model has no input '{lost[0]}'", why=f"its inputs: {have}", hint=_HINT)
    return [(each, said.get(each["name"], each)) for each in model]


def _wanted(model: Mapping[str, Any], recipe: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, Any]:
    """One input as the data reader and the generator want it. Raises ``Refused`` where file and recipe contradict each other."""
    name, have, said = model["name"], model["shape"], recipe["shape"]
    if said is None:
        raise Refused(
            f"the model does not say the shape of input '{name}'", hint=f"add an [[input]] named '{name}' with its shape"
        )
    have = [None] * len(said) if have is None else have
    if model["dtype"] != recipe["dtype"]:
        raise Refused(f"input '{name}' is {model['dtype']}, and the recipe says {recipe['dtype']}", hint=_HINT)
    fits = len(have) == len(said) and all(
        a == b for a, b in zip(have, said, strict=True) if isinstance(a, int) and isinstance(b, int)
    )
    if not fits:
        raise Refused(f"input '{name}' has shape {have}, and the recipe says {said}", hint=_HINT)
    return {"name": name, "dtype": model["dtype"], "shape": axes.sized(name, have, said, sizes), "range": recipe.get("range")}


def _random(each: Mapping[str, Any], index: int, known: Mapping[str, tree_samples.Thresholds]) -> NDArray[Any]:
    """Floats within ``range`` or -1 to 1, integers within it or 0 to 1, booleans of both kinds; seeded by sample and name.

    What trees read, and has no ``range``, is drawn from their thresholds.
    """
    import numpy as np

    kind = _numpy(each)
    seed = int.from_bytes(hashlib.sha256(f"{index}/{each['name']}".encode()).digest()[:8], "little")
    generator = np.random.Generator(np.random.PCG64(seed))
    shape = [size if isinstance(size, int) else _UNSIZED for size in each["shape"]]
    if kind.kind in "biu":
        low, high = each["range"] or (0, 1)
        return generator.integers(int(low), int(high), shape, endpoint=True).astype(kind)
    if each["name"] in known and not each["range"]:
        return tree_samples.draw(generator, tuple(shape), known[each["name"]], kind)
    low, high = each["range"] or (-1.0, 1.0)
    return generator.uniform(low, high, shape).astype(kind)


def _numpy(each: Mapping[str, Any]) -> np.dtype[Any]:
    import numpy as np

    kind: np.dtype[Any]
    try:
        kind = np.dtype(each["dtype"])
    except TypeError:
        kind = np.dtype("V")
    if kind.kind not in "biuf":
        raise Refused(
            f"no sample can be made for input '{each['name']}' of type {each['dtype']}",
            why="it has no type in numpy, in which ONNX Runtime's Python interface takes its inputs" if kind.kind == "V" else "",
            hint="convert the input to float32 inside the model" if kind.kind == "V" else "give samples: [data] evaluation = ...",
        )
    return kind

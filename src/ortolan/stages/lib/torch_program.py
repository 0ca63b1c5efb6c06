"""An ExportedProgram: its inputs are in it, with their types, sizes and dynamic axes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .refused import Refused
from .torch_source import Source
from .transient import reraise_if_transient

if TYPE_CHECKING:
    from onnx import ModelProto

_AGAIN = "save it again with torch.export.save(torch.export.export(model, ...), 'model.pt2') of this version"
_SHAPES = "write [[input]] as the program has it, or leave [[input]] out: it is in the program"


@dataclass(frozen=True)
class Program(Source):
    """``module`` runs the ``program``. ``leaves`` are its arguments, flat: the name of an input, or a constant in a list.

    ``axes``: names by the symbols that the program calls its dynamic axes.
    """

    program: Any = None
    leaves: Sequence[str | list[Any]] = ()
    axes: Mapping[str, str] = field(default_factory=dict)

    def arguments(self, values: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What the program takes, in the structure in which it takes it."""
        import torch

        flat = [values[leaf] if isinstance(leaf, str) else leaf[0] for leaf in self.leaves]
        args, kwargs = torch.utils._pytree.tree_unflatten(flat, self.program.call_spec.in_spec)  # noqa: SLF001
        return tuple(args), dict(kwargs)

    def outputs(self) -> int:
        """How many tensors it returns."""
        return sum(type(spec.arg).__name__ == "TensorArgument" for spec in _user(self.program.graph_signature.output_specs))


def load(path: Path, code: Path, recipe: Sequence[Mapping[str, Any]]) -> Program:
    """The program in a file, its inputs named as in the recipe where it names them.

    Reading one may run code of its own: call it confined. Raises Refused for what cannot be read, and where inputs differ.
    """
    program = _read(path)
    leaves, given = _inputs(program)
    named = _named(given, recipe)
    by_own = dict(zip([one["name"] for one in given], [one["name"] for one in named], strict=True))
    own = [leaf if isinstance(leaf, list) else by_own[leaf] for leaf in leaves]
    axes = _symbols(given, named)
    order = tuple(one["name"] for one in named)
    return Program(program.module(), code, order, (), named, program, own, axes)


def name_axes(model: ModelProto, axes: Mapping[str, str]) -> None:
    """Call dynamic axes by name wherever a shape of the model holds a symbol of the program's. Works in place."""
    for info in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dim in info.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = re.sub(r"[A-Za-z_]\w*", lambda word: axes.get(word[0], word[0]), dim.dim_param)


def _read(path: Path) -> Any:
    import torch
    import torch.ao.quantization.fx._decomposed  # registers the operators of quantised programs

    try:
        program = torch.export.load(path)
    except MemoryError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - what is read may run code, which raises what it likes
        reraise_if_transient(error)
        lines = str(error.__cause__ or error).replace(str(path), path.name).splitlines()
        why = f"{type(error).__name__}: {lines[0][:400] if lines else ''}"
        raise Refused(f"{path.name} cannot be read as an ExportedProgram", why=why, hint=_AGAIN) from None
    return program


def _user(specs: Sequence[Any]) -> Iterator[Any]:
    return (spec for spec in specs if spec.kind.name in {"USER_INPUT", "USER_OUTPUT"})


def _inputs(program: Any) -> tuple[list[str | list[Any]], list[dict[str, Any]]]:
    """Its arguments as ``Program.leaves`` holds them, and the tensors among them as a recipe's ``[[input]]`` tables."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    leaves: list[str | list[Any]] = []
    inputs: list[dict[str, Any]] = []
    names = dict[str, str]()
    for spec in _user(program.graph_signature.input_specs):
        kind = type(spec.arg).__name__
        if kind == "ConstantArgument":
            leaves.append([spec.arg.value])
        elif kind == "TensorArgument":
            leaves.append(spec.arg.name)
            inputs.append(_table(spec.arg.name, values[spec.arg.name], names))
        else:
            what = f"the program takes {spec.arg.name}, which is no tensor"
            raise Refused(what, why=f"it is a {kind}", hint="export it with a tensor, or with a constant")
    return leaves, inputs


def _table(name: str, value: Any, names: dict[str, str]) -> dict[str, Any]:
    shape = [size if isinstance(size, int) else _axis(str(size), name, at, names) for at, size in enumerate(value.shape)]
    if 0 in shape:
        what = f"input '{name}' has shape {shape}: no value goes in"
        raise Refused(what, why="an axis has size 0", hint="export the program with an example of real size")
    own = [str(size) for size in value.shape]
    return {"name": name, "dtype": str(value.dtype).removeprefix("torch."), "shape": shape, "range": None, "own": own}


def _axis(symbol: str, name: str, at: int, names: dict[str, str]) -> str:
    """``batch`` for the first symbol that stands first in a shape, else the input's name and the axis's place."""
    taken = "batch" in names.values()
    return names.setdefault(symbol, "batch" if at == 0 and not taken else f"{name}_{at}")


def _named(given: Sequence[Mapping[str, Any]], recipe: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The program's inputs as the recipe has them, by name or else in order."""
    if not recipe:
        return [{key: value for key, value in one.items() if key != "own"} for one in given]
    if len(recipe) != len(given):
        takes = ", ".join(one["name"] for one in given)
        raise Refused(f"the recipe has {len(recipe)} input(s), the program takes {len(given)}: {takes}", hint=_SHAPES)
    by_name = {one["name"]: one for one in recipe}
    same = by_name.keys() == {one["name"] for one in given}
    named = [by_name[one["name"]] for one in given] if same else list(recipe)
    for own, wanted in zip(given, named, strict=True):
        _check(own, wanted)
    return [dict(one) for one in named]


def _check(own: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    fits = len(own["shape"]) == len(wanted["shape"]) and all(
        ours == theirs if isinstance(ours, int) else isinstance(theirs, str)
        for ours, theirs in zip(own["shape"], wanted["shape"], strict=True)
    )
    if own["dtype"] != wanted["dtype"] or not fits:
        why = f"the recipe says {_text(wanted)}, the program takes {_text(own)}"
        raise Refused(f"input '{wanted['name']}' differs from the program's", why=why, hint=_SHAPES)


def _symbols(given: Sequence[Mapping[str, Any]], named: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for own, wanted in zip(given, named, strict=True):
        for symbol, axis in zip(own["own"], wanted["shape"], strict=True):
            if isinstance(axis, str) and found.setdefault(symbol, axis) != axis:
                what = f"the axes {found[symbol]} and {axis} are one in the program"
                raise Refused(what, why=f"it calls both {symbol}", hint="name them alike in [[input]]")
    return found


def _text(one: Mapping[str, Any]) -> str:
    return f"{one['dtype']}{list(one['shape'])}".replace("'", "")

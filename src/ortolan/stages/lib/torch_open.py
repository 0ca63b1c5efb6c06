"""Opens what a ``[source]`` of PyTorch's names: a factory and its weights, or a file with a whole model."""

from __future__ import annotations

import inspect
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import confine, torch_program
from .refused import Refused
from .torch_source import Source, from_factory, of_module, settle
from .torch_weights import read_pickle
from .transient import reraise_if_transient

PARAMS = ("factory", "file", "trust")
_COMPILED = "/data/aotinductor/"
_HINT = "save it again; torch.export.save, torch.jit.save and torch.save write what can be read"


def enter(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Confine this process where it will read a file that may run code; call it first of all. Facts: ``confined``.

    A program's symbols are evaluated and its constants may be pickles, TorchScript is code, a trusted pickle may be: only
    factories, which are the user's own code, and weights without code are read unconfined.
    """
    risky = params["file"] is not None or (params["trust"] and "weights" in inputs)
    return {"confined": confine.enter(out)} if risky else {}


def open_source(inputs: Mapping[str, Path], params: Mapping[str, Any]) -> Source:
    """The model, ready to be run. Raises Refused for what cannot be read and where the recipe's inputs do not fit."""
    settle()
    code, recipe = inputs["code"], params["inputs"]
    if params["file"] is None:
        return from_factory(code, params["factory"], inputs.get("weights"), recipe, trust=params["trust"])
    path = code / params["file"]
    names = _names(path)
    if any(_COMPILED in f"/{name}" for name in names) and not any(name.endswith("models/model.json") for name in names):
        why = "it holds machine code of AOTInductor's, and no graph"
        raise Refused(f"{path.name} is a compiled model", why=why, hint="save the program itself with torch.export.save")
    if any(name.endswith(("/archive_format", "serialized_exported_program.json")) for name in names):
        return torch_program.load(path, code, recipe)
    _need_inputs(path, recipe)
    if any(name.endswith("/constants.pkl") for name in names):
        return _script(path, code, recipe)
    return _pickled(path, code, recipe, params["trust"])


def _names(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except FileNotFoundError:
        raise Refused(f"{path.name} is missing", hint="check [source] file in the model's recipe") from None
    except zipfile.BadZipFile:
        return []  # torch.save wrote no archives before 1.6


def _need_inputs(path: Path, recipe: Sequence[Mapping[str, Any]]) -> None:
    if not recipe:
        why = "only an ExportedProgram holds the types and shapes of its inputs"
        raise Refused(f"{path.name} does not tell its inputs", why=why, hint="add [[input]] with name, dtype and shape")


def _script(path: Path, code: Path, recipe: Sequence[Mapping[str, Any]]) -> Source:
    import torch

    try:
        module = torch.jit.load(path, map_location="cpu")
    except RuntimeError as error:
        reraise_if_transient(error)
        why = str(error).strip().splitlines()[0].replace(str(path), path.name)
        raise Refused(f"{path.name} cannot be read as TorchScript", why=why, hint=_HINT) from None
    source = of_module(module, code, _signature(module), recipe)
    if source.named:
        why = f"it stands before {', '.join(source.named)} and is no input of the recipe"
        raise Refused("an argument of forward is left out", why=why, hint="give one [[input]] for each tensor, in order")
    return source


def _signature(script: Any) -> inspect.Signature:
    """Of a scripted forward, which Python cannot inspect."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    arguments = script.forward.schema.arguments[1:]
    empty = inspect.Parameter.empty
    return inspect.Signature(
        [inspect.Parameter(one.name, kind, default=one.default_value if one.has_default_value() else empty) for one in arguments]
    )


def _pickled(path: Path, code: Path, recipe: Sequence[Mapping[str, Any]], trust: bool) -> Source:
    import torch

    if not trust:
        hint = "save a state dict and name a factory; or, if you trust its author, say trust = true in [source]"
        raise Refused(f"{path.name} is a pickle, and not loaded", why="a pickle runs what its author put in", hint=hint)
    sys.path.insert(0, str(code))
    module = read_pickle(path, weights_only=False)
    if not isinstance(module, torch.nn.Module):
        hint = "name it as [source] weights beside a factory"
        raise Refused(f"{path.name} holds a {type(module).__name__}", why="a torch.nn.Module is needed", hint=hint)
    return of_module(module, code, inspect.signature(module.forward), recipe)

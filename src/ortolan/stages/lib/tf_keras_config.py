"""Looks into what a Keras file says of its layers, before anything of it is loaded: classes that Keras lacks, and code."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .refused import Refused

_CODE = frozenset({"Lambda", "__lambda__"})
_VALUES = frozenset({
    "__tuple__", "__numpy__", "__tensor__", "__keras_tensor__", "__slice__", "__ellipsis__", "__bytes__", "__complex__",
    "__typespec__", "TensorShape", "DTypePolicy", "Policy", "function",
})  # fmt: skip
_SPACES = ("layers", "models", "initializers", "regularizers", "constraints", "activations", "dtype_policies", "quantizers")
_WHOLE = "is the file whole? Compare its size and checksum with where it came from"
_SAVE = "export the model where its code is: model.export(folder) writes a SavedModel, which holds its operators instead"


def check(path: Path, *, trust: bool) -> None:
    """Raise ``Refused`` for a file without an architecture, for classes that Keras does not have, and for code without trust."""
    config = _config(path)
    found = list(_objects(config, "the model"))
    code = list(dict.fromkeys(where for name, _, where in found if name in _CODE))
    if code and not trust:
        hint = "write the layer with Keras's own operations; or, if you trust the file's author, say [source] trust = true"
        raise Refused(f"{path.name} holds Python code in {', '.join(code)}", why="whoever loads it runs that code", hint=hint)
    own = list(
        dict.fromkeys(f"{name} ({where})" for name, module, where in found if name not in _CODE and not _known(name, module))
    )
    if own:
        why = "Keras has no such class: its code is not in the file"
        raise Refused(f"{path.name} has custom objects: {', '.join(own)}", why=why, hint=_SAVE)


def _config(path: Path) -> Any:
    try:
        text = _archived(path) if zipfile.is_zipfile(path) else _attribute(path)
        return json.loads(text)
    except (OSError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        raise Refused(f"{path.name} cannot be read", why=f"{type(error).__name__}: {error}", hint=_WHOLE) from error


def _archived(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read("config.json")


def _attribute(path: Path) -> str | bytes:
    import h5py

    with h5py.File(path, "r") as stored:
        found = stored.attrs.get("model_config")
    if found is None:
        hint = "save the whole model: model.save('model.keras')"
        raise Refused(f"{path.name} holds weights only", why="it does not tell the layers that they are for", hint=hint)
    return found  # type: ignore[no-any-return]


def _objects(value: Any, where: str) -> Iterator[tuple[str, str | None, str]]:
    """Every object: its class, its module where the file tells it, and the layer that it belongs to."""
    if isinstance(value, list):
        for item in value:
            yield from _objects(item, where)
    if not isinstance(value, Mapping):
        return
    config = value.get("config")
    name = value.get("class_name")
    if isinstance(name, str) and "config" in value:
        own = config.get("name") if isinstance(config, Mapping) else None
        where = f"layer {own}" if isinstance(own, str) and own else where
        yield name, _module(value), where
    for item in value.values():
        yield from _objects(item, where)


def _module(value: Mapping[str, Any]) -> str | None:
    """Where the class comes from; empty for one that was registered by a name of the user's."""
    if value.get("registered_name") not in {None, value.get("class_name")}:
        return ""
    module = value.get("module")
    return module if isinstance(module, str) else None


def _known(name: str, module: str | None) -> bool:
    """Whether Keras itself has the class."""
    import keras

    if name in _VALUES:
        return True
    if module is not None:
        return module == "builtins" or module.partition(".")[0] == "keras"
    return name in {"Functional", "Model"} or any(hasattr(getattr(keras, space), name) for space in _SPACES)

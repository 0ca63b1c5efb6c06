"""Weights for a PyTorch module, from safetensors or a state dict; no code in them is run but in a pickle that is trusted."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .refused import Refused
from .transient import reraise_if_transient

_SHOWN = 5
_SAVE = (
    "save them with safetensors.torch.save_model(model, ...) or torch.save(model.state_dict(), ...); a pickle of other objects"
    " runs code: it is loaded with trust = true in [source], confined"
)
_CODE = "what it imports must stand in [source] files, or in the runtime; it runs without network, in a folder of its own"


def load_weights(module: Any, path: Path, *, trust: bool) -> None:
    """Load ``path`` into ``module``, in place. With ``trust`` the process is confined and code of a pickle may run.

    Raises Refused when the file is neither safetensors nor a state dict, or when names or shapes differ.
    """
    weights = _read(path, trust)
    try:
        module.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        reraise_if_transient(error)
        problems = _problems(module, weights)
        if problems:
            raise Refused("the weights do not fit the model", why="; ".join(problems),
                          hint="use the weights of this very architecture, or change the factory") from None  # fmt: skip
        _load_tied(module, weights, error)
    _all_real(module)


def _read(path: Path, trust: bool) -> dict[str, Any]:
    with path.open("rb") as stream:
        head = stream.read(9)
    if _is_safetensors(head, path.stat().st_size):
        return _read_safetensors(path)
    return _state_dict(read_pickle(path, weights_only=not trust))


def _is_safetensors(head: bytes, size: int) -> bool:
    """The format opens with the length of its JSON header, 8 bytes little-endian, then that JSON."""
    return len(head) == 9 and head[8:] == b"{" and struct.unpack("<Q", head[:8])[0] <= size


def _read_safetensors(path: Path) -> dict[str, Any]:
    import safetensors
    import safetensors.torch

    try:
        return dict(safetensors.torch.load_file(path))
    except safetensors.SafetensorError as error:
        raise Refused("the weights are a damaged safetensors file", why=str(error), hint="copy or save them again") from None


def read_pickle(path: Path, *, weights_only: bool) -> Any:
    """What torch.save wrote. Raises Refused where it cannot be read or, with ``weights_only``, would run code."""
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=weights_only)
    except MemoryError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - what is read may run code, which raises what it likes
        reraise_if_transient(error)
        why = _first_line(error).replace(str(path), "the file")
        if not weights_only:
            raise Refused(f"loading {path.name} failed", why=why, hint=_CODE) from None
        raise Refused("the weights cannot be read as safetensors or as a state dict", why=why, hint=_SAVE) from None


def _first_line(error: BaseException) -> str:
    """What an error says; of a pickle that would run code, the name of what it would call."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    named = re.search(r"(?:Unsupported global: )?GLOBAL \S+ was not an allowed global|Unsupported \w+: .*", text)
    return named[0] if named else f"{type(error).__name__}: {(text.splitlines() or [''])[0]}"


def _state_dict(value: Any) -> dict[str, Any]:
    import torch

    value = value.state_dict() if isinstance(value, torch.nn.Module) else value
    if not isinstance(value, Mapping):
        raise Refused(f"the weights hold a {type(value).__name__}, not a state dict", hint=_SAVE)
    within = [name for name, item in value.items() if isinstance(item, Mapping) and _tensors(item)]
    odd = [str(name) for name, item in value.items() if not (isinstance(item, torch.Tensor) or _optional(str(name)))]
    if odd:
        raise Refused("the weights hold more than a state dict", why=f"these are no tensors: {_few(odd)}",
                      hint=f'save only the state dict, such as checkpoint["{next(iter(within), "state_dict")}"]')  # fmt: skip
    return dict(value)


def _tensors(value: Mapping[Any, Any]) -> bool:
    import torch

    return bool(value) and all(isinstance(item, torch.Tensor) for item in value.values())


def _problems(module: Any, weights: Mapping[str, Any]) -> list[str]:
    state = module.state_dict(keep_vars=True)
    given = {id(state[name]) for name in weights if name in state}
    missing = [name for name in state if name not in weights and id(state[name]) not in given and not _optional(name)]
    unexpected = [name for name in weights if name not in state]
    shapes = [
        f"{name} is {_shape(weights[name])} in the weights and {_shape(state[name])} in the model"
        for name in state if name in weights and _shape(weights[name]) != _shape(state[name])
    ]  # fmt: skip
    lists = (("missing in the weights", missing), ("unknown to the model", unexpected), ("of other shapes", shapes))
    return [f"{label}: {_few(names)}" for label, names in lists if names]


def _optional(name: str) -> bool:
    return name.endswith(("num_batches_tracked", "_extra_state"))


def _load_tied(module: Any, weights: Mapping[str, Any], error: RuntimeError) -> None:
    """What is missing is a second name of a parameter that is given: safetensors stores it once."""
    missing, unexpected = module.load_state_dict(weights, strict=False)
    if unexpected or not missing:
        hint = "use the weights of this very architecture"
        raise Refused("the weights do not fit the model", why=str(error), hint=hint) from None


def _all_real(module: Any) -> None:
    import torch

    empty = [name for name, value in module.state_dict().items() if isinstance(value, torch.Tensor) and value.is_meta]
    if empty:
        raise Refused(f"these parameters have no values: {_few(empty)}", why="the factory makes them on the meta device",
                      hint="build the model on the CPU")  # fmt: skip


def _shape(value: Any) -> str:
    return str(list(value.shape)) if hasattr(value, "shape") else type(value).__name__


def _few(names: list[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest

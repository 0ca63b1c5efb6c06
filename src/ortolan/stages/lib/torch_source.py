"""The user's PyTorch model: its factory called, its weights loaded, its forward run; all of it deterministic."""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import usercode
from .refused import Refused
from .torch_weights import load_weights


class SourceError(Exception):
    """The user's own code raised or exited; the message names the callable, the error and the user's line."""


@dataclass(frozen=True)
class Source:
    """A module in eval mode, the folder its code came from, and how its forward takes the recipe's inputs.

    ``positional`` and ``named`` are names of inputs, in the order of ``forward``.
    """

    module: Any
    code: Path
    positional: tuple[str, ...]
    named: tuple[str, ...]

    @property
    def order(self) -> tuple[str, ...]:
        """Names of the inputs in the order in which an exporter sees them."""
        return self.positional + self.named

    def arguments(self, values: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and named arguments of ``forward`` for one value per input."""
        return tuple(values[name] for name in self.positional), {name: values[name] for name in self.named}

    def forward(self, values: Mapping[str, Any]) -> list[Any]:
        """Run the module on one tensor per input; the tensors it returns, nested structures flattened in order.

        Raises SourceError when the user's forward raises or exits.
        """
        import torch

        args, kwargs = self.arguments(values)
        with users_code("the module's forward", self.code), torch.no_grad():
            result = self.module(*args, **kwargs)
        return [leaf for leaf in torch.utils._pytree.tree_leaves(result) if isinstance(leaf, torch.Tensor)]  # noqa: SLF001


def load(inputs: Mapping[str, Path], factory: str, recipe_inputs: Sequence[Mapping[str, Any]]) -> Source:
    """Call ``file.py:name`` of ``inputs["code"]`` and load ``inputs["weights"]`` where given.

    Seeds are fixed, one thread is used and the module is in eval mode, so that equal inputs give equal modules.
    Raises Refused where the file, the callable, the module or the weights do not fit, SourceError where the user's code raises.
    """
    _settle()
    module = _call(inputs["code"], factory)
    if "weights" in inputs:
        load_weights(module, inputs["weights"])
    module.eval().requires_grad_(False)
    positional, named = _bind(module, [item["name"] for item in recipe_inputs])
    return Source(module, inputs["code"], positional, named)


def _settle() -> None:
    import random

    import numpy as np
    import torch

    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the generator that a user's code may draw from
    torch.manual_seed(0)
    torch.set_num_threads(1)
    torch.set_deterministic_debug_mode("warn")  # use_deterministic_algorithms does the same and imports torch._inductor: 1.5 s


def _call(code: Path, factory: str) -> Any:
    import torch

    sys.path.insert(0, str(code))
    build = usercode.load(code, factory)
    with users_code(f"the factory {factory}", code):
        module = build()
    if not isinstance(module, torch.nn.Module):
        what, hint = (
            f"the factory {factory} returned a {type(module).__name__}",
            "return the model itself, built without arguments",
        )
        raise Refused(what, why="a torch.nn.Module is needed", hint=hint)
    return module


def _bind(module: Any, names: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Inputs go by name where forward has parameters of all these names, else in the recipe's order."""
    signature = inspect.signature(module.forward)
    by_name = set(names) <= {p.name for p in signature.parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    ordered = [name for name in signature.parameters if name in names] if by_name else names
    leading = _leading(list(signature.parameters.values()), ordered) if by_name else len(ordered)
    positional, named = tuple(ordered[:leading]), tuple(ordered[leading:])
    try:
        signature.bind(*positional, **dict.fromkeys(named))
    except TypeError as error:
        what = f"the module's forward cannot take the recipe's inputs {', '.join(names) or '(none)'}"
        hint = "give one [[input]] for each tensor that forward takes"
        raise Refused(what, why=f"it is forward{signature}: {error}", hint=hint) from None
    return positional, named


def _leading(parameters: list[inspect.Parameter], ordered: list[str]) -> int:
    """How many inputs fill the first parameters without a gap."""
    for index, name in enumerate(ordered):
        if parameters[index].name != name or parameters[index].kind is inspect.Parameter.KEYWORD_ONLY:
            return index
    return len(ordered)


@contextmanager
def users_code(what: str, code: Path) -> Iterator[None]:
    """Turn whatever the user's code raises, SystemExit too, into a SourceError that names the user's line."""
    try:
        yield
    except MemoryError:
        raise
    except SystemExit as error:
        raise SourceError(f"{what} called sys.exit({error.code!r}){users_line(error, code)}") from error
    except Exception as error:
        raise SourceError(f"{what} raised {type(error).__name__}: {error}{users_line(error, code)}") from error


def users_line(error: BaseException, code: Path) -> str:
    """`` (file.py line 12, in build)`` for the innermost frame inside ``code``; empty where there is none."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).is_relative_to(code)]
    if not frames:
        return ""
    return f" ({Path(frames[-1].filename).relative_to(code).as_posix()} line {frames[-1].lineno}, in {frames[-1].name})"


def to_torch(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors for one sample's arrays."""
    import torch

    return {name: torch.from_numpy(array.copy()) for name, array in sample.items()}


def to_numpy(value: Any) -> Any:
    """An array for a tensor; bfloat16, which numpy lacks, as float32."""
    import torch

    return (value.float() if value.dtype == torch.bfloat16 else value).detach().contiguous().numpy()

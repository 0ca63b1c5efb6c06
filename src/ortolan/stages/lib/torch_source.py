"""The user's PyTorch model: a module from its factory, with its weights, and how its forward is run; all of it deterministic."""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import torch_qat, usercode
from .refused import Refused
from .torch_weights import load_weights


class SourceError(Exception):
    """The user's own code raised or exited; the message names the callable, the error and the user's line."""


@dataclass(frozen=True)
class Source:
    """A module in eval mode, the folder its code came from, and how its forward takes the recipe's inputs.

    ``positional`` and ``named`` are names of inputs, in the order of ``forward``; ``inputs`` are their tables, as in a recipe.
    """

    module: Any
    code: Path
    positional: tuple[str, ...]
    named: tuple[str, ...]
    inputs: Sequence[Mapping[str, Any]]

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


def from_factory(code: Path, factory: str, weights: Path | None, recipe: Sequence[Mapping[str, Any]], *, trust: bool) -> Source:
    """Call ``file.py:name`` of the folder ``code`` and load ``weights`` where given; ``recipe`` are its ``[[input]]`` tables.

    The module is in eval mode. Raises Refused where the file, the callable, the module or the weights do not fit, SourceError
    where the user's code raises.
    """
    module = _call(code, factory)
    if weights is not None:
        load_weights(module, weights, trust=trust)
    return of_module(module, code, inspect.signature(module.forward), recipe)


def of_module(module: Any, code: Path, forward: inspect.Signature, recipe: Sequence[Mapping[str, Any]]) -> Source:
    """A module that takes the recipe's inputs. Raises Refused where its ``forward`` cannot, or where it is half quantised."""
    module.eval()
    for parameter in module.parameters():  # requires_grad_ of the module is not for TorchScript
        parameter.requires_grad_(requires_grad=False)
    torch_qat.freeze(module)
    return Source(module, code, *_bind(forward, [item["name"] for item in recipe]), recipe)


def settle() -> None:
    """Fix seeds and use one thread, so that equal inputs give equal modules and equal outputs."""
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


def _bind(signature: inspect.Signature, names: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Inputs go by name where forward has parameters of all these names, else in the recipe's order."""
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

"""Rules that types cannot say; each broken one is a Mistake at its own key, so that the loader can name the line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic_core import PydanticCustomError

from .nearest import nearest

CPU = "CPUExecutionProvider"

# onnxruntime.get_all_providers() of 1.20.1 and 1.31.1, each less this suffix. A name that is not here may be a plug-in's and
# passes, unless it looks like a slip of one that is.
SUFFIX = "ExecutionProvider"
KNOWN = (
    "ACL", "ArmNN", "Azure", "CANN", "CPU", "CUDA", "CoreML", "Dml", "Dnnl", "Js", "MIGraphX", "Nnapi", "NvTensorRTRTX",
    "OpenVINO", "QNN", "ROCM", "Rknpu", "Tensorrt", "Tvm", "VSINPU", "VitisAI", "WebGpu", "WebNN", "Xnnpack",
)  # fmt: skip

ALIASES = {"wasm": "CPU", "directml": "Dml", "trt": "Tensorrt"}  # what others call them; WebAssembly is the CPU's code, compiled


class Mistake(NamedTuple):
    """``at`` is the key below the table or list that the rule judged; ``hint`` is a sentence or nothing."""

    at: tuple[str | int, ...]
    text: str
    hint: str = ""


def check(mistakes: Iterable[Mistake]) -> None:
    """Raise what pydantic reports as one error of type ``mistakes``, if there are any."""
    found = list(mistakes)
    if found:
        raise PydanticCustomError("mistakes", "{text}", {"mistakes": found, "text": "; ".join(m.text for m in found)})


def providers(given: Sequence[tuple[str, Mapping[str, Any]]]) -> Iterator[Mistake]:
    """Providers as (name, options), in the recipe's order: no name twice, and the CPU last."""
    names = [name for name, _ in given]
    yield from once(names, "the provider", "name")
    if CPU in names:
        yield from _cpu(names.index(CPU), given)
    else:
        yield Mistake((), f'"{CPU}" is missing', "Nodes that no other provider takes run on it: add it as the last [[provider]].")


def once(names: Sequence[str], what: str, *key: str) -> Iterator[Mistake]:
    """No name twice in a list."""
    for index, name in enumerate(names):
        if name in names[:index]:
            yield Mistake((index, *key), f'{what} "{name}" stands here twice')


def provider(name: str) -> Iterator[Mistake]:
    """A provider's name: known, or unlike any that is known."""
    stem = name.removesuffix(SUFFIX)
    meant = stem if stem in KNOWN else ALIASES.get(stem.lower()) or nearest(stem, KNOWN)
    if meant + SUFFIX != name and (meant or stem == name):
        hint = f'Did you mean "{meant}{SUFFIX}"?' if meant else f"Provider names end in {SUFFIX}."
        yield Mistake((), f'"{name}" is not a provider of ONNX Runtime', hint)


def _cpu(index: int, given: Sequence[tuple[str, Mapping[str, Any]]]) -> Iterator[Mistake]:
    if any(name != CPU for name, _ in given[index + 1 :]):
        yield Mistake((index, "name"), "what comes after the CPU never gets a node", f'Move "{CPU}" to the end.')
    if given[index][1]:
        yield Mistake((index, "options"), "the CPU provider has no options", "Threads belong in [session].")

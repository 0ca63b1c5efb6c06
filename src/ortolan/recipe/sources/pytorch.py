"""``[source] kind = "pytorch"``: a callable that returns the module, and its weights; or a file that holds a whole model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ..reference import CALLABLE, Reference, file_of, several
from ..rules import Mistake, check
from . import torch_file
from .base import INPUTS, Look, Missing, Offer, SourceTable, TimeLimit

_LENGTH = 8  # bytes of a safetensors file that hold the length of its JSON head
_PROGRAM, _SAFE = ".pt2", ".safetensors"
_WHY_TRUST = "a pickle is code: whoever loads it runs what its author put in"
_NO_INPUTS = Missing(INPUTS, "it does not tell the module's inputs")
_NOT_PT2 = Missing(INPUTS, f"inputs are read from programs whose names end in {_PROGRAM}: rename it, or say them")
_SCRIPT_INPUTS = Missing(INPUTS, "TorchScript tells no types and shapes of inputs")
_NO_FACTORY = Missing('[source]\nfactory = "model.py:build"', "weights do not tell the module that they are for")
_TRUST = Missing("[source]\ntrust = true", _WHY_TRUST)


class PyTorchSource(SourceTable):
    """A callable that returns the ``nn.Module``, and its weights; or an ExportedProgram, TorchScript, or a pickled module."""

    SUFFIXES: ClassVar[tuple[str, ...]] = (_SAFE, _PROGRAM, ".pt", ".pth", ".ts")

    kind: Literal["pytorch"]
    factory: str | None = Field(default=None, pattern=CALLABLE, description="file.py:callable, beside the recipe")
    file: str | None = Field(default=None, description="instead of a factory: an ExportedProgram, TorchScript, a pickled module")
    weights: str | None = Field(default=None, description="safetensors or state dict, beside the recipe")
    files: list[str] = Field(default=[], description="other files that the factory, or a pickled module, imports or reads")
    exporter: Literal["dynamo", "torchscript"] = Field(default="dynamo", description="TorchScript always goes by its own")
    runtime: str = Field(
        default="torch",
        pattern=r"^[a-z0-9][a-z0-9._-]*$",
        description="of runtimes/: torch, and what the factory imports",
    )
    trust: bool = Field(default=False, description="run the code that a pickle is, confined: see docs/sources/pytorch.md")
    time_limit: TimeLimit = 600

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        check(self._mistakes())
        return self

    @property
    def main(self) -> str:
        """The factory's file, or the model's."""
        return file_of(self.factory) if self.factory else self.file or ""

    @property
    def tells_inputs(self) -> bool:
        """An ExportedProgram has its inputs in it; a recipe is read without its files, so that the suffix says what it is."""
        return self.file is not None and self.file.lower().endswith(_PROGRAM)

    def references(self) -> Iterator[Reference]:
        """The factory's file, or the model's, those that it needs, and the weights."""
        yield Reference(("source", "factory" if self.factory else "file"), self.main, "source")
        yield from several(("source", "files"), "source", self.files)
        if self.weights is not None:
            yield Reference(("source", "weights"), self.weights, "weights")

    @classmethod
    def recognise(cls, look: Look) -> Offer | None:
        """By the head of safetensors, and by the names in an archive of PyTorch's. Nothing in it is loaded."""
        name = look.path.name
        weights, file = {"kind": "pytorch", "weights": name}, {"kind": "pytorch", "file": name}
        if look.head[_LENGTH : _LENGTH + 2] == b'{"' and look.suffix == _SAFE:
            return Offer("weights in safetensors", weights, (_NO_FACTORY, _NO_INPUTS))
        offers: dict[str, Any] = {
            torch_file.PROGRAM: ("a PyTorch ExportedProgram", file, () if look.suffix == _PROGRAM else (_NOT_PT2,)),
            torch_file.SCRIPT: (
                "a TorchScript module",
                file,
                (_SCRIPT_INPUTS,),
            ),
            torch_file.STATE: ("a state dict of PyTorch", weights, (_NO_FACTORY, _NO_INPUTS)),
            torch_file.OBJECT: (
                "a pickle of PyTorch",
                file,
                (_TRUST, _NO_INPUTS),
            ),
        }
        return Offer(*offers[found]) if (found := torch_file.kind(look)) else None

    def _mistakes(self) -> Iterator[Mistake]:
        if self.factory and self.file:
            yield Mistake(("file",), "stands for a factory, and there is one", "Leave one of them out.")
        if not self.factory and not self.file:
            yield Mistake(("factory",), "missing", 'Say factory = "model.py:build", or file = "model.pt2".')
        if self.file and self.weights:
            yield Mistake(("weights",), f"{self.file} has its own", "Leave them out.")
        pickled = self.file or (self.weights and not self.weights.lower().endswith(_SAFE))
        if self.trust and not pickled:
            yield Mistake(("trust",), "there is no pickle to be trusted", "Leave it out.")

"""``[source] kind = "pytorch"``: a callable that returns the module, and its weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from ..reference import CALLABLE, Reference, file_of, several
from .base import INPUTS, Look, Missing, Offer, SourceTable, TimeLimit

_LENGTH = 8  # bytes of a safetensors file that hold the length of its JSON head


class PyTorchSource(SourceTable):
    """A callable that returns the ``nn.Module``, and its weights."""

    SUFFIXES: ClassVar[tuple[str, ...]] = (".safetensors", ".pt", ".pth")
    TELLS_INPUTS: ClassVar[bool] = False

    kind: Literal["pytorch"]
    factory: str = Field(pattern=CALLABLE, description="file.py:callable, beside the recipe")
    weights: str | None = Field(default=None, description="safetensors or state dict, beside the recipe")
    files: list[str] = Field(default=[], description="other files that the factory imports or reads")
    exporter: Literal["dynamo", "torchscript"] = "dynamo"
    time_limit: TimeLimit = 600

    @property
    def main(self) -> str:
        """The factory's file."""
        return file_of(self.factory)

    def references(self) -> Iterator[Reference]:
        """The factory's file, those that it needs, and the weights."""
        yield Reference(("source", "factory"), self.main, "source")
        yield from several(("source", "files"), "source", self.files)
        if self.weights is not None:
            yield Reference(("source", "weights"), self.weights, "weights")

    @classmethod
    def recognise(cls, look: Look) -> Offer | None:
        """Weights: in safetensors, or as torch.save writes a state dict. They tell neither the module nor its inputs."""
        if look.head[_LENGTH : _LENGTH + 2] == b'{"' and look.suffix == ".safetensors":
            what = "weights in safetensors"
        elif any(name.endswith("/data.pkl") for name in look.members) and not any("/code/" in name for name in look.members):
            what = "a file of torch.save"
        else:
            return None
        missing = (
            Missing('[source]\nfactory = "model.py:build"', "weights do not tell the module that they are for"),
            Missing(INPUTS, "weights do not tell the module's inputs"),
        )
        return Offer(what, {"kind": "pytorch", "weights": look.path.name}, missing)

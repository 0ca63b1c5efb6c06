"""``[optimise]``: what is done to a model's graph before it is checked and quantised."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal

from pydantic import Field

from .base import Strict


class Optimise(Strict):
    """``[optimise]`` of a model: fusion of the patterns of transformers into operators of ONNX Runtime's own."""

    fusion: Literal["bert", "vit", "whisper"] = Field(description="the family of the model: BERT's, ViT's, or Whisper's encoder")
    heads: int = Field(ge=1, description="of its attention, as its configuration has them")
    hidden: int = Field(ge=1, description="width of its layers, as its configuration has it")
    targets: list[str] = Field(default=["*"], min_length=1, description="names (globs) of the targets whose runtimes take them")

    def fits(self, target: str) -> bool:
        """Whether it is for a target of this name."""
        return any(fnmatchcase(target, glob) for glob in self.targets)

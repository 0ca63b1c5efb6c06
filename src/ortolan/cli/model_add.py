"""The verb that takes a model's file into a project."""

from __future__ import annotations

from pathlib import Path

from invoke.context import Context

from ..root import find_root
from .verb import CACHE, JSON, module, verb
from .verb import cache as caches


@verb(
    name="model-add",
    positional=["file"],
    help={
        "file": "a model: .onnx, .skops, XGBoost's .json, LightGBM's .txt and others, recognised by what is in them",
        "name": "of the recipe; default: made from the file's name",
        "target": "whose opset the model is read with; default: x86-cpu, or the first that there is",
        "json": JSON,
        "cache": CACHE,
    },
)
def model_add(_: Context, file: str, name: str = "", target: str = "", json: bool = False, cache: str | None = None) -> None:
    """Write recipes/models/NAME.toml for a model's file: all that can be read from it, and comments on the rest.

    ./inv model-add path/to/model.onnx --name kws
    """
    module("model_add").run(find_root(Path.cwd()), file, name, target, as_json=json, cache=caches(cache))

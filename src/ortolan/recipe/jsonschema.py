"""JSON Schemas of the recipes, with which editors complete and check them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from .fleet import Fleet
from .schema import Model, Target

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> dict[str, dict[str, Any]]:
    """``{"target": ..., "model": ..., "fleet": ...}``: a schema for every kind of recipe."""
    return {"target": _schema(Target), "model": _schema(Model), "fleet": _schema(Fleet)}


def _schema(recipe: type[BaseModel]) -> dict[str, Any]:
    return {"$schema": DIALECT, **recipe.model_json_schema()}

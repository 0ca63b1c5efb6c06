"""JSON Schemas of the recipes, with which editors complete and check them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from .schema import Model, Target

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> dict[str, dict[str, Any]]:
    """``{"target": ..., "model": ...}``: a schema for every kind of recipe."""
    return {"target": _schema(Target), "model": _schema(Model)}


def _schema(recipe: type[BaseModel]) -> dict[str, Any]:
    return {"$schema": DIALECT, **recipe.model_json_schema()}

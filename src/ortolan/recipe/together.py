"""A target as a model wants it: the model's ``[quantize]`` before the target's, judged by the target's rules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pydantic import ValidationError

from . import provider_rules
from .explain import Problem, explain
from .load import complain
from .project import NamedModel, NamedTarget
from .quantize import Quantize, merged


def together(target: NamedTarget, model: NamedModel) -> NamedTarget:
    """The target with the model's keys. RecipeError, at the model's own lines, for what the target cannot do."""
    own = model.recipe.quantize
    if own is None:
        return target
    path = model.folder / f"{model.name}.toml"
    try:
        quantize = merged(target.recipe.quantize, own)
    except ValidationError as error:
        problems = [replace(one, path=("quantize", *one.path)) for one in explain(error, Quantize)]
        raise complain(path, _of(target, problems)) from None
    recipe = target.recipe.model_copy(update={"quantize": quantize})
    fleet, named = recipe.runtime, [(one.name, one.options) for one in recipe.provider]
    known = provider_rules.target(named, fleet.versions, fleet.opset, dict(recipe.session), dict(quantize))
    wrong = [*quantize.mistakes(fleet.opset, fleet.versions), *known]
    if wrong:
        problems = [Problem(one.at if one.at[0] == "quantize" else ("quantize",), one.text, one.hint) for one in wrong]
        raise complain(path, _of(target, problems))
    return replace(target, recipe=recipe)


def _of(target: NamedTarget, problems: Iterable[Problem]) -> list[Problem]:
    """The problems with the target's name: another one may do what this one cannot."""
    return [replace(one, text=f"for {target.name}: {one.text}") for one in problems]

"""What a server answers in JSON: of the shape that is expected, or an error that names its address; never a crash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests

from ...errors import OrtolanError
from .http import shown


def value(answer: requests.Response) -> Any:
    """The body as JSON. OrtolanError when it is none, like the page of a proxy that wants a login."""
    try:
        return answer.json()
    except ValueError as error:
        hint = "is that the address of a registry, or of GitLab?"
        raise OrtolanError("the server's answer is no JSON", where=shown(answer.url), why=str(error), hint=hint) from error


def objects(found: Any) -> list[dict[str, Any]]:
    """The JSON objects of a list; none where it is no list."""
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def annotation(one: Mapping[str, Any], key: str) -> Any:
    """An annotation of a manifest or descriptor; None without it."""
    found = one.get("annotations")
    return found.get(key) if isinstance(found, dict) else None


def blob(one: Mapping[str, Any], where: str) -> tuple[str, int]:
    """Digest and size of what a descriptor stands for. OrtolanError when it does not tell."""
    digest, size = one.get("digest"), one.get("size")
    if not isinstance(digest, str) or type(size) is not int:
        raise OrtolanError("the registry's manifest has a layer without digest or size", where=where)
    return digest, size

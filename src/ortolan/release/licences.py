"""Digests and licences as CycloneDX spells them."""

from __future__ import annotations

from typing import Any

from cyclonedx.spdx import fixup_id, is_expression


def hashed(digest: str) -> list[dict[str, Any]]:
    """A digest of bytes as CycloneDX spells it. Digests of other things (trees, recipes) are no SHA-256 of a file."""
    kind, _, content = digest.partition(":")
    return [{"alg": "SHA-256", "content": content}] if kind == "sha256" else []


def licences(named: str) -> dict[str, Any]:
    """A licence by its SPDX identifier or expression where it is one, else by its name; nothing where there is none."""
    if not named:
        return {}
    if identifier := fixup_id(named):
        return {"licenses": [{"license": {"id": identifier}}]}
    if is_expression(named):
        return {"licenses": [{"expression": named}]}
    return {"licenses": [{"license": {"name": named}}]}

"""Coverage for people: what each provider takes, by which evidence, and what falls back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .tables import table

_SHOWN = 12  # lines of what falls back; --json has all


def coverage_lines(facts: Mapping[str, Any]) -> list[str]:
    """Two tables: providers with their shares, and operators that a provider leaves to the next."""
    return [*_providers(facts["providers"]), *_fallbacks(facts["fallbacks"]), *_nowhere(facts["nowhere"])]


def _providers(given: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [
        (
            one["name"].removesuffix("ExecutionProvider"),
            ", ".join(f"{level} {count}" for level, count in one["levels"].items()) or "–",
            f"{one['nodes']} ({one['node_share']:.1%})",
            "–" if one["mac_share"] is None else f"{one['mac_share']:.1%}",
            str(one["partitions"]),
            one["source"],
        )
        for one in given
    ]
    return table(("provider", "evidence", "nodes", "MACs", "parts", "asked"), rows)


def _fallbacks(given: Sequence[Mapping[str, Any]]) -> list[str]:
    if not given:
        return []
    rows = [
        (
            one["op"] if not one["domain"] else f"{one['domain']}:{one['op']}",
            str(one["nodes"]),
            f"{one['macs']:,}",
            f"{one['provider']} → {one['goes_to'] or 'nobody'}".replace("ExecutionProvider", ""),
            f"{one['why']}. {one['fix']}".rstrip(". "),
        )
        for one in given[:_SHOWN]
    ]
    more = [f"… and {len(given) - _SHOWN} more (--json)"] if len(given) > _SHOWN else []
    return ["", *table(("falls back", "nodes", "MACs", "from → to", "why, and what to change"), rows), *more]


def _nowhere(given: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"no provider takes {one['node']}: {one['why']}" for one in given[:_SHOWN]]

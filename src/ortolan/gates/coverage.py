"""The gates of coverage: how much of the model the wanted providers take, by which evidence, in how many parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..artifact import SHIPPED, Gate, Outcome
from ..recipe.schema import TargetGates
from .common import judge

_STRENGTH = ("runs", "built", "accepted", "registered", "listed")
_FEW = 3  # operators that a reason names


def coverage(limits: TargetGates, facts: Mapping[str, Any], silent: Sequence[str] = (), subject: str = SHIPPED) -> list[Gate]:
    """``facts`` are those of the stage ``coverage``; ``silent``, the providers that nothing could be asked about."""
    unseen = {_short(one["name"]): one["unseen"] for one in facts["providers"] if one["unseen"]}
    if unseen:
        why = "; ".join(f"{name} could not be asked here: {reason}" for name, reason in unseen.items())
        return [Gate(name, subject, Outcome.NOT_RUN, why=why) for name in ("coverage", "partitions")]
    return [_covered(limits, facts, silent, subject), _partitions(limits, facts, subject)]


def share(provider: Mapping[str, Any]) -> float:
    """A provider's part of the multiply-accumulates; of the nodes, in a model without any."""
    found = provider["mac_share"]
    return float(provider["node_share"] if found is None else found)


def weakest(provider: Mapping[str, Any]) -> str:
    """The least that is known of the nodes that a provider got; empty when it got none."""
    return next((level for level in reversed(_STRENGTH) if level in provider["levels"]), "")


def _covered(limits: TargetGates, facts: Mapping[str, Any], silent: Sequence[str], subject: str) -> Gate:
    """Every node has a provider, and those before the last take at least the wanted share."""
    wanted, least = facts["providers"][:-1], limits.min_coverage
    got = sum(share(one) for one in wanted)
    limit = "every node on a provider" + (f", ≥ {least:.0%} before the last" if least is not None else "")
    unknown = len(facts["uncounted"]) if least is not None else 0
    good = not facts["nowhere"] and (least is None or (got >= least and not unknown))
    whys = [_nowhere(facts), _fallbacks(facts) if got < (least or 0) else "", _unasked(silent)]
    if unknown:
        whys.append(f"{unknown} multiplying nodes have unknown shapes, so the share is not known: fix their axes in [shapes]")
    return judge("coverage", subject, good, _shares(facts), limit, "; ".join(filter(None, whys)))


def _partitions(limits: TargetGates, facts: Mapping[str, Any], subject: str) -> Gate:
    found, most = facts["partitions"], limits.max_partitions
    measured = f"{found} ({facts['switches']} switches of provider)"
    limit = f"≤ {most}" if most is not None else ""
    good = most is None or found <= most
    return judge("partitions", subject, good, measured, limit, "" if good else _fallbacks(facts))


def _shares(facts: Mapping[str, Any]) -> str:
    """``NNAPI 93.1% listed, CPU 6.9% runs``, of the multiply-accumulates where the model has some."""
    used = [one for one in facts["providers"] if one["nodes"]]
    texts = [f"{_short(one['name'])} {share(one):.1%} {weakest(one)}" for one in used]
    unit = "nodes" if all(one["mac_share"] is None for one in used) else "MACs"
    return f"{', '.join(texts)} (of {unit})" if texts else "no nodes"


def _nowhere(facts: Mapping[str, Any]) -> str:
    lost = {f"{one['domain']}:{one['op']}" if one["domain"] else one["op"]: one["why"] for one in facts["nowhere"]}
    named = [f"no provider takes {op}" + (f" ({why})" if why else "") for op, why in list(lost.items())[:_FEW]]
    return "; ".join(named)


def _fallbacks(facts: Mapping[str, Any]) -> str:
    """What falls back, the costliest first, and what to change."""
    by_reason: dict[tuple[str, str], dict[str, None]] = {}
    for one in facts["fallbacks"]:
        by_reason.setdefault((_short(one["provider"]), one["why"]), {})[one["op"]] = None
    first = list(by_reason.items())[:_FEW]
    named = [f"{', '.join(ops)} {'is' if len(ops) == 1 else 'are'} not {name}'s: {why}" for (name, why), ops in first]
    fixes = dict.fromkeys(one["fix"] for one in facts["fallbacks"][:_FEW] if one["fix"])
    return "; ".join([*named, *fixes])


def _unasked(silent: Sequence[str]) -> str:
    return f"nothing is known of {', '.join(silent)}" if silent else ""


def _short(name: str) -> str:
    return name.removesuffix("ExecutionProvider")

"""What is known of one execution provider and each node of a model, and how strong that evidence is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RUNS, BUILT, ACCEPTED, REGISTERED, LISTED, UNSUPPORTED = LEVELS = (
    "runs",
    "built",
    "accepted",
    "registered",
    "listed",
    "unsupported",
)
"""From the strongest to the weakest.

``runs``: a session of the provider was given the node and ran it. ``built``: an engine was built from it. ``accepted``: the
vendor's own parser took it. ``registered``: that version of the runtime has a kernel for its operator, opset and types.
``listed``: a document or a table of the vendor's names it. ``unsupported``: none of these.
"""


@dataclass(frozen=True)
class Verdict:
    """One provider on one node: the ``level``, why it is no better, and what to change in the model or the recipe for more."""

    level: str
    why: str = ""
    fix: str = ""


@dataclass(frozen=True)
class Evidence:
    """One provider on all nodes of a model's main graph, in their order. ``source`` is what was asked, with its version.

    ``unseen`` says why nothing could be asked here (no browser, no such device); the verdicts say nothing then.
    """

    provider: str
    source: str
    nodes: Sequence[Verdict]
    unseen: str = ""


def write(path: Path, found: Evidence) -> dict[str, Any]:
    """Write ``evidence.json``; returns facts: ``provider``, ``source`` and ``levels``, ``{level: nodes}``."""
    path.write_text(json.dumps(asdict(found), sort_keys=True))
    levels = {level: sum(verdict.level == level for verdict in found.nodes) for level in LEVELS}
    return {"provider": found.provider, "source": found.source, "levels": {k: n for k, n in levels.items() if n}}


def read(path: Path) -> Evidence:
    """What ``write`` wrote."""
    table = json.loads(path.read_text())
    return Evidence(table["provider"], table["source"], [Verdict(**verdict) for verdict in table["nodes"]], table["unseen"])

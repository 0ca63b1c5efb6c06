"""How the last builds ended, read from what they left beside their folders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..artifact import Gate, Outcome
from ..errors import OrtolanError
from ..recipe.nearest import did_you_mean
from ..release.source import records as last_builds


@dataclass(frozen=True)
class Record:
    """The last build of a model for a target: ``ok`` where its files were put in place."""

    target: str
    model: str
    ok: bool
    tag: str
    gates: Sequence[Gate]
    errors: Sequence[str]

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.model} for {self.target}"

    @property
    def failed(self) -> bool:
        """Whether a gate failed, or an error ended the build."""
        return bool(self.errors) or any(gate.outcome is Outcome.FAIL for gate in self.gates)


def records(output: Path, targets: Sequence[str], models: Sequence[str]) -> list[Record]:
    """The records below ``output`` of these targets and models, of all where none are named; sorted.

    OrtolanError for a name that was not built, and for a record that cannot be read.
    """
    found = [_read(path) for path in last_builds(output)]
    _known("target", targets, {one.target for one in found})
    _known("model", models, {one.model for one in found})
    fitting = [one for one in found if (not targets or one.target in targets) and (not models or one.model in models)]
    if not fitting:
        raise OrtolanError("nothing that is asked for was built", where=str(output), hint="./inv build --target NAME")
    return fitting


def _known(kind: str, wanted: Sequence[str], known: set[str]) -> None:
    for name in wanted:
        if name not in known:
            near = did_you_mean(name, sorted(known)) or f"Built are: {', '.join(sorted(known)) or 'none'}."
            raise OrtolanError(f"no build of the {kind} {name!r}. {near}", hint="./inv build --target NAME")


def _read(path: Path) -> Record:
    try:
        told: dict[str, Any] = json.loads(path.read_bytes())
        gates = [Gate(**{**one, "outcome": Outcome(one["outcome"])}) for one in told["gates"]]
        return Record(path.parent.name, path.stem, bool(told["ok"]), str(told["tag"]), gates, [str(e) for e in told["errors"]])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OrtolanError("not the record of a build", where=str(path), why=str(error), hint="build again") from error

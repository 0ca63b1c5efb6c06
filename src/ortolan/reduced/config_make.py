"""Makes the configuration of a target's reduced runtime, with the gates on it, and puts it in place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..artifact import Gate, Outcome
from ..disk import write_bytes
from ..errors import OrtolanError
from . import ort_file
from .config import NAME, Config, Lack, lacking, merge, read
from .config_kernels import check_known, foreign, span
from .config_limits import Barred, barred
from .config_nodes import concerned
from .models import Need, needs

FOLDER = "runtime"
"""Where in ``build/<target>/`` the reduced runtime is; no tag is called so."""
KERNELS, WITHIN = "kernels", "within"


@dataclass(frozen=True)
class Wanted:
    """Of which builds and releases; ``within``: a configuration that they must fit; ``version``: of ONNX Runtime, to be built.

    ``store`` has the results of builds that failed by the reduced runtime that they were tried with.
    """

    target: str
    version: str
    models: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    within: Path | None = None
    store: Path | None = None


@dataclass(frozen=True)
class Missing:
    """Something that a model lacks in a given configuration, and the model's nodes that need it."""

    subject: str
    lack: Lack
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Configured:
    """What came of it. ``path`` is where the configuration was put, None where a gate failed."""

    needs: tuple[Need, ...]
    config: Config
    gates: tuple[Gate, ...]
    missing: tuple[Missing, ...]
    path: Path | None


def path_of(root: Path, target: str) -> Path:
    """Where a target's configuration is."""
    return root / "build" / target / FOLDER / NAME


def configure(root: Path, wanted: Wanted) -> Configured:
    """Merge, judge, and put the configuration in place if no gate failed. OrtolanError for inputs that cannot be used."""
    within = _given(wanted.within) if wanted.within else None
    found = needs(root, wanted.target, wanted.models, wanted.also, wanted.store)
    gates = [_kernels(one, wanted.version) for one in found]
    missing = [(one, _missing(one, within)) for one in found] if within else []
    gates += [_within(one, lacks, wanted.within) for one, lacks in missing]
    config, path = merge(one.config for one in found), path_of(root, wanted.target)
    ok = all(gate.outcome is not Outcome.FAIL for gate in gates)
    if ok:
        write_bytes(path, config.text().encode())
    return Configured(tuple(found), config, tuple(gates), tuple(m for _, one in missing for m in one), path if ok else None)


def _given(path: Path) -> Config:
    """A configuration that somebody wrote or kept."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OrtolanError("no configuration that can be read", where=str(path), why=str(error)) from error
    check_known(text, str(path))
    return read(text, str(path))


def _kernels(one: Need, version: str) -> Gate:
    """Whether a minimal build has what the model needs: ``not-run`` where that is not on file."""
    found = barred(one.config, version)
    sure = [each for each in found if each.sure]
    outcome = Outcome.FAIL if sure else Outcome.NOT_RUN if found or foreign(version) else Outcome.PASS
    there = len(one.config.operators) - len({each.operator for each in found})
    measured = f"{there} of {len(one.config.operators)} operators"
    why = "; ".join(_with_nodes(each, one) for each in sure or found)
    why = why or (f"which kernels {version} has is not on file: {span()} are" if foreign(version) else "")
    return Gate(KERNELS, one.subject, outcome, measured, f"CPU kernels in a minimal {version}", why)


def _with_nodes(found: Barred, one: Need) -> str:
    nodes = concerned(Lack(found.operator, "operator", None), _nodes(one))
    return f"{found} (nodes {some(nodes)})" if nodes else str(found)


def some(names: Sequence[str], most: int = 3) -> str:
    """The first few of many."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _nodes(one: Need) -> list[ort_file.Node]:
    return ort_file.nodes(one.ort(), f"{one.tag}: model.ort")


def _missing(one: Need, within: Config) -> list[Missing]:
    lacks = lacking(one.config, within)
    nodes = _nodes(one) if lacks else []
    return [Missing(one.subject, lack, tuple(concerned(lack, nodes))) for lack in lacks]


def _within(one: Need, missing: Iterable[Missing], path: Path | None) -> Gate:
    told = [f"{each.lack} at {some(each.nodes)}" for each in missing]
    count = len(one.config.operators)
    outcome = Outcome.FAIL if told else Outcome.PASS
    why = "; ".join(told[:3]) + (f"; and {len(told) - 3} more" if len(told) > 3 else "")
    return Gate(WITHIN, one.subject, outcome, f"{count - len(told)} of {count} operators", f"in {path}", why)

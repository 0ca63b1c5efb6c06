"""Which configuration ``runtime-build`` builds: the one that is given, else the target's, as long as its models fit in it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..artifact import Gate, Outcome
from ..errors import GateError, OrtolanError
from ..reduced.check import lacks
from ..reduced.config import Config, read
from ..reduced.config_kernels import check_known
from ..reduced.config_limits import barred
from ..reduced.config_make import Wanted as Merged
from ..reduced.config_make import configure, path_of
from ..reduced.models import Need, needs
from ..report import coloured
from ..report.tables import gate_table

_MOST = 6  # gaps that are told of many


@dataclass(frozen=True)
class Asked:
    """For which target; ``version``: of ONNX Runtime, to be built; ``store``: where results of failed builds are."""

    root: Path
    target: str
    version: str
    store: Path


def config(asked: Asked, given: Path | None) -> Config:
    """The configuration in ``given``, else the target's; made where there is none.

    GateError when a model does not fit in any; OrtolanError when the target's does not hold what its models need now.
    """
    at = given or path_of(asked.root, asked.target)
    if given is None and not at.is_file():
        return _merged(asked)
    found = _read(at, asked.version)
    if given is None:
        _check_fits(asked, found, at)
    return found


def gaps(needed: Iterable[Need], within: Config) -> list[str]:
    """What the models need and a configuration does not hold, each with the model and the nodes."""
    return [f"{one.subject}: {lack}" for one in needed for lack in lacks(one.config, within, one.ort)]


def say(text: str) -> None:
    """Tell on the stream of errors what is going on."""
    print(f"  {text}", file=sys.stderr, flush=True)


def show(gates: Iterable[Gate]) -> None:
    """The gates that did not pass."""
    print("\n".join(gate_table([one for one in gates if one.outcome is not Outcome.PASS], colour=coloured())))


def _merged(asked: Asked) -> Config:
    say(f"merging what the models of {asked.target} need, as ./inv runtime-config --target {asked.target}")
    found = configure(asked.root, Merged(asked.target, asked.version, store=asked.store))
    if found.path is None:
        show(found.gates)
        raise GateError("a model needs what no reduced runtime has", hint=f"./inv runtime-config --target {asked.target}")
    return found.config


def _read(at: Path, version: str) -> Config:
    try:
        text = at.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OrtolanError("no configuration that can be read", where=str(at), why=str(error)) from error
    check_known(text, str(at))
    found = read(text, str(at))
    without = [str(one) for one in barred(found, version) if one.sure]
    if without:
        raise OrtolanError("no reduced runtime has what this names", where=str(at), why="\n       ".join(without))
    return found


def _check_fits(asked: Asked, found: Config, at: Path) -> None:
    """The models may have changed since the configuration was merged. It is not merged again: releases may be in it."""
    try:
        needed = needs(asked.root, asked.target, store=asked.store)
    except OrtolanError as error:
        say(f"whether {at.name} holds all that the models of {asked.target} need cannot be told: {error.what}")
        return
    missing = gaps(needed, found)
    if missing:
        more = [f"and {len(missing) - _MOST} more"] if len(missing) > _MOST else []
        kept = at.relative_to(Path.cwd()) if at.is_relative_to(Path.cwd()) else at
        again = f"./inv runtime-config --target {asked.target} merges it anew, with --also for each release that it is to hold"
        raise OrtolanError(
            f"the configuration does not hold what the models of {asked.target} need now",
            where=str(at),
            why="\n       ".join([*missing[:_MOST], *more]),
            hint=f"{again}; or --config {kept} takes this one as it is",
        )

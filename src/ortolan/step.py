"""Steps: one stage with its runtime, parameters and inputs. A step's identity is recursive and frozen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from . import digest, known
from .contract import contract


@dataclass(frozen=True)
class Tree:
    """Source files of the user's: ``files`` maps relative paths to digests, ``paths`` says where they are.

    ``single`` marks one file that a stage gets as a file, not as a folder.
    """

    files: Mapping[str, str]
    paths: Mapping[str, Path]
    single: bool = False

    @property
    def digest(self) -> str:
        """The file's digest, or the folder's."""
        return next(iter(self.files.values())) if self.single else digest.of_tree(self.files)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in self.paths.values())


def tree(paths: Mapping[str, Path], *, single: bool = False) -> Tree:
    """Read the files' digests."""
    return Tree({name: _file_digest(path) for name, path in sorted(paths.items())}, dict(paths), single)


@lru_cache
def _file_digest(path: Path) -> str:
    return known.of_file(path)


@dataclass(frozen=True)
class Ref:
    """One output of a step."""

    step: Step
    name: str


Source = Tree | Ref


@dataclass(frozen=True, eq=False)
class Step:
    """A stage to run. Two steps that would do the same are equal, whatever their labels, so targets share them."""

    stage: str
    runtime: str
    params: Mapping[str, Any]
    inputs: Mapping[str, Source]
    label: str
    time_limit: float = 1800.0
    id: str = field(init=False)

    def __post_init__(self) -> None:
        _check(self)
        known = {name: _identity(source) for name, source in self.inputs.items()}
        object.__setattr__(
            self,
            "id",
            digest.of_json("step", {"stage": self.stage, "runtime": self.runtime, "params": self.params, "inputs": known}),
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Step) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __getitem__(self, output: str) -> Ref:
        if output not in contract(self.stage).outputs:
            raise KeyError(f"stage {self.stage} has no output {output!r}")
        return Ref(self, output)

    def needs(self) -> tuple[Step, ...]:
        """The steps whose outputs this one reads."""
        return tuple(source.step for source in self.inputs.values() if isinstance(source, Ref))


def _identity(source: Source) -> Any:
    return source.digest if isinstance(source, Tree) else [source.step.id, source.name]


def _check(step: Step) -> None:
    """A step that does not fit its stage's contract is a mistake of ours, so these are plain exceptions."""
    declared = contract(step.stage)
    if set(step.params) != declared.params:
        raise TypeError(f"{step.stage}: params are {sorted(step.params)}, declared are {sorted(declared.params)}")
    if not declared.takes(step.inputs):
        raise TypeError(f"{step.stage}: inputs are {sorted(step.inputs)}, declared are {declared.inputs}")


def in_order(wanted: Iterable[Step]) -> list[Step]:
    """The wanted steps and all that they need, each once, each after what it needs."""
    found: dict[str, Step] = {}

    def visit(step: Step) -> None:
        if step.id not in found:
            for needed in step.needs():
                visit(needed)
            found[step.id] = step

    for step in wanted:
        visit(step)
    return list(found.values())

"""What a stage declares (inputs, parameters, outputs), the files it consists of, and their digest."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from . import digest

STAGES = Path(__file__).parent / "stages"


@dataclass(frozen=True)
class Contract:
    """The declaration of one stage. Names that may be absent stand in ``optional_*`` as well.

    An input declared as ``evidence*`` is any number of inputs, named ``evidence:<anything>``; its name stands in ``many``.
    """

    name: str
    inputs: tuple[str, ...]
    optional_inputs: frozenset[str]
    many: frozenset[str]
    params: frozenset[str]
    outputs: tuple[str, ...]
    optional_outputs: frozenset[str]
    cpu: bool
    source: str

    def takes(self, inputs: Collection[str]) -> bool:
        """Whether these names are all that the stage needs, and nothing that it does not know."""
        single = {name for name in inputs if name.partition(":")[0] not in self.many}
        return set(self.inputs) - self.optional_inputs <= single <= set(self.inputs)


@lru_cache
def contract(name: str) -> Contract:
    """Read the declaration of the stage ``name``; it is imported, but nothing heavy is."""
    module = importlib.import_module(f"{__package__}.stages.{name}")
    many = frozenset(name[:-1] for name in module.INPUTS if name.endswith("*"))
    inputs, optional_inputs = _names(tuple(name for name in module.INPUTS if not name.endswith("*")))
    outputs, optional_outputs = _names(module.OUTPUTS)
    source = digest.of_tree({path: digest.of_bytes(data) for path, data in sources(name).items()})
    return Contract(
        name, inputs, optional_inputs, many, frozenset(module.PARAMS), outputs, optional_outputs,
        getattr(module, "CPU", False), source,
    )  # fmt: skip


def _names(declared: tuple[str, ...]) -> tuple[tuple[str, ...], frozenset[str]]:
    return tuple(n.removesuffix("?") for n in declared), frozenset(n[:-1] for n in declared if n.endswith("?"))


def sources(name: str) -> Mapping[str, bytes]:
    """The files that a stage consists of, ``{path below the step's folder: bytes}``: its module and all of ``lib``."""
    module = importlib.import_module(f"{__package__}.stages.{name}")
    return {f"stages/{name}.py": Path(str(module.__file__)).read_bytes(), **_shared()}


@lru_cache
def _shared() -> Mapping[str, bytes]:
    files = [STAGES / "__init__.py", *sorted(p for p in (STAGES / "lib").rglob("*") if p.is_file() and p.suffix != ".pyc")]
    return {f"stages/{p.relative_to(STAGES).as_posix()}": p.read_bytes() for p in files}

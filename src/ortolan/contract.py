"""What a stage declares (inputs, parameters, outputs), the files it consists of, and their digest."""

from __future__ import annotations

import importlib
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

from . import digest
from .stage_files import stage_files

BESIDE = ".data"
"""What the name of a file with weights has more than its model's. A stage that leaves such a model tells the file's digest as
the fact ``weights_file``; one that changes nothing but the model leaves the weights where they are.
"""


@dataclass(frozen=True)
class Contract:
    """The declaration of one stage. Names that may be absent stand in ``optional_*`` as well.

    An input declared as ``evidence*`` is any number of inputs, named ``evidence:<anything>``; its name stands in ``many``.
    One declared as ``model+`` is a model that comes with its weights where those stand in a file of their own: see ``BESIDE``.
    Its large files may be the store's or the user's own under another name: a stage never writes to its inputs.
    """

    name: str
    inputs: tuple[str, ...]
    optional_inputs: frozenset[str]
    many: frozenset[str]
    weighty: frozenset[str]
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
    weighty = frozenset(name.strip("+?") for name in module.INPUTS if "+" in name)
    inputs, optional_inputs = _names(tuple(name.replace("+", "") for name in module.INPUTS if not name.endswith("*")))
    outputs, optional_outputs = _names(module.OUTPUTS)
    source = digest.of_tree({path: digest.of_bytes(data) for path, data in stage_files(name).items()})
    return Contract(
        name, inputs, optional_inputs, many, weighty, frozenset(module.PARAMS), outputs, optional_outputs,
        getattr(module, "CPU", False), source,
    )  # fmt: skip


def _names(declared: tuple[str, ...]) -> tuple[tuple[str, ...], frozenset[str]]:
    return tuple(n.removesuffix("?") for n in declared), frozenset(n[:-1] for n in declared if n.endswith("?"))

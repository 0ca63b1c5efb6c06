"""What is known of execution providers: one data file each in ``providers/``, read when a recipe names the provider."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from .rules import SUFFIX

FLEET = "fleet"
FOLDER = Path(__file__).parent / "providers"


@dataclass(frozen=True)
class Option:
    """An option, as text in ONNX Runtime.

    ``bool`` is 1, 0, true or false; ``word`` true or false; ``flag`` 1 or 0; ``address`` a pointer of the running process.
    ``values`` and ``pattern`` (of the whole text) say what it may be, ``many`` that commas part several of these; ``wants`` is
    the pattern in words. ONNX Runtime up to the version ``newer_than`` does not know the option.
    """

    type: Literal["bool", "word", "flag", "int", "text", "json", "address"]
    values: tuple[str, ...] = ()
    pattern: str = ""
    wants: str = ""
    many: bool = False
    min: int | None = None
    max: int | None = None
    newer_than: str = ""


@dataclass(frozen=True)
class SessionRules:
    """What a provider wants of ``[session]``; nothing where a value is None.

    ``concurrent_run``: whether several threads may call Run of one session at the same time, as ONNX Runtime otherwise allows.
    """

    max_intra_op_num_threads: int | None = None
    enable_mem_pattern: bool | None = None
    execution_mode: Literal["sequential", "parallel"] | None = None
    concurrent_run: bool | None = None


@dataclass(frozen=True)
class Scheme:
    """The Q/DQ types that a provider takes. Where they are not ``required``, another provider runs what has others."""

    activations: tuple[str, ...]
    weights: tuple[str, ...]
    required: bool
    symmetric_activations: bool | None = None
    quantized_bias: bool | None = None


@dataclass(frozen=True)
class Int8:
    """The option that asks for 8 bits, and the one that names a table of ranges for models without Q/DQ."""

    enable: str
    table: str


@dataclass(frozen=True)
class Package:
    """Where a provider is found; ``version`` is the one that was looked into."""

    registry: Literal["pypi", "npm", "maven", "cocoapods"]
    name: str
    platforms: tuple[str, ...]
    version: str = ""


@dataclass(frozen=True)
class Asked:
    """What is asked which nodes a provider takes: a stage and the runtime that it runs in, for these platforms or all.

    ``fleet`` as ``runtime`` is that of the fleet's oldest version. ``table`` is the name of the provider's kernel tables.
    """

    stage: str
    runtime: str
    table: str = ""
    platforms: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProviderData:
    """One execution provider. What is not known is empty or None; ``sources`` says where each other field comes from.

    ``shapes``: whether it takes dynamic axes, fixed ones only, or dynamic ones with a profile (min, opt, max). ``before``: the
    providers that must come after it. ``together``: options that are set all or not at all; ``either``: of which one may be.
    ``quantize_schemes``: what ``[quantize] scheme`` may be for its nodes to go to it; any, where nothing is known.
    ``absent_from``: packages of ONNX Runtime without it. ``build_flag``: what builds ONNX
    Runtime with it. ``web_name``: what onnxruntime-web calls it. ``evidence``: the first
    whose platforms fit. ``compute_capabilities``: what engines can be built for without the device.
    """

    name: str
    title: str
    options: dict[str, Option]
    sources: dict[str, str]
    shapes: Literal["dynamic", "fixed", "profiles"] | None = None
    max_opset: int | None = None
    web_name: str = ""
    before: tuple[str, ...] = ()
    together: tuple[tuple[str, ...], ...] = ()
    either: tuple[tuple[str, ...], ...] = ()
    session: SessionRules = field(default_factory=SessionRules)
    qdq: Scheme | None = None
    quantize_schemes: tuple[str, ...] = ()
    int8: Int8 | None = None
    package: tuple[Package, ...] = ()
    absent_from: tuple[str, ...] = ()
    build_flag: str = ""
    evidence: tuple[Asked, ...] = ()
    compute_capabilities: tuple[str, ...] = ()

    def asked(self, platform: str) -> Asked | None:
        """What to ask about this provider for a platform."""
        return next((one for one in self.evidence if platform in one.platforms or not one.platforms), None)


@cache
def find(name: str) -> ProviderData | None:
    """What is known of a provider by its name in a recipe; None of a plug-in that has no data file."""
    stem = name.removesuffix(SUFFIX).lower()
    path = FOLDER / f"{stem}.toml"
    return read(path) if stem.isalnum() and path.is_file() else None


def read(path: Path) -> ProviderData:
    """The data in a file. Raises TypeError for a key that no field is for."""
    table = tomllib.loads(path.read_text())
    options = {key: Option(**_frozen(value)) for key, value in table.pop("options").items()}
    kinds = {"session": SessionRules, "qdq": Scheme, "int8": Int8}
    rules = {key: kind(**_frozen(table.pop(key))) for key, kind in kinds.items() if key in table}
    packages = tuple(Package(**_frozen(one)) for one in table.pop("package", ()))
    asked = tuple(Asked(**_frozen(one)) for one in table.pop("evidence", ()))
    more: dict[str, Any] = {"package": packages, "evidence": asked}
    return ProviderData(options=options, sources=table.pop("sources"), **more, **rules, **_frozen(table))


def _frozen(table: dict[str, Any]) -> dict[str, Any]:
    return {key: _tuple(value) for key, value in table.items()}


def _tuple(value: Any) -> Any:
    return tuple(map(_tuple, value)) if isinstance(value, list) else value

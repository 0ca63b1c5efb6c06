"""Whether ONNX Runtime has CPU kernels for what a configuration names: by tables of its wheels, for any version between them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from ..errors import OrtolanError
from ..recipe.nearest import did_you_mean
from ..stages.lib.kernel_table import Form, KernelTable
from ..stages.lib.kernel_table import read as read_table
from .config import Operator, read
from .config_form import ALLOWED, EVERYTHING
from .config_types import KNOWN, Types, each

_FOLDER = Path(__file__).resolve().parents[1] / "kernels"
_NAMES = {"MLFloat16": "float16", "std::string": "string"}


@cache
def tables() -> dict[str, KernelTable]:
    """The tables by version, oldest first."""
    found = [read_table(path, {}) for path in _FOLDER.glob("cpu-*.json")]
    return {one.version: one for one in sorted(found, key=lambda one: _numbers(one.version))}


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def around(version: str) -> list[KernelTable]:
    """The tables that tell of a version: its own, else the nearest older and the nearest newer one."""
    known, wanted = tables(), _numbers(version)
    if version in known:
        return [known[version]]
    older = [one for one in known.values() if _numbers(one.version) < wanted]
    newer = [one for one in known.values() if _numbers(one.version) > wanted]
    return [*older[-1:], *newer[:1]]


def foreign(version: str) -> bool:
    """Whether a version is older or newer than all tables: what it has is not on file."""
    known = list(tables())
    return not _numbers(known[0]) <= _numbers(version) <= _numbers(known[-1])


def span() -> str:
    """The versions on file, in words: ``1.17.3 to 1.31.1``."""
    known = list(tables())
    return f"{known[0]} to {known[-1]}"


def forms(table: KernelTable, operator: Operator) -> list[Form]:
    """The kernels of a table that are for this operator at this opset."""
    return [form for form in table.operators.get(f"{operator.domain}:{operator.name}", ()) if form.covers(operator.opset)]


def having(operator: Operator) -> list[str]:
    """The versions on file that have a kernel for it."""
    return [version for version, table in tables().items() if forms(table, operator)]


def untaken(table: KernelTable, operators: list[Operator], types: Types | None) -> list[str]:
    """Types that none of the operators' kernels takes anywhere. Where in an operator one is taken, tables do not tell."""
    kernels = [form for operator in operators for form in forms(table, operator)]
    taken = {word for form in kernels for names in form.types.values() for name in names for word in re.findall(r"\w+", name)}
    return [name for name in sorted(each(types or {})) if taken and name in KNOWN and _plain(name) not in taken]


def _plain(name: str) -> str:
    """A type's name in the tables: ``int8_t`` is ``int8``."""
    return _NAMES.get(name, name.removesuffix("_t").lower())


def check_known(text: str, where: str) -> None:
    """OrtolanError that names, line by line, each operator, opset and type of a configuration which no version on file knows.

    ONNX Runtime's own tools pass over what they do not know, so that a slip makes a runtime without the operator; and one
    without operators they take to mean all. The same for a text that cannot be read or that names none.
    """
    whole = read(text, where)
    if not whole.operators and not whole.everything:
        hint = f"name some, as in ai.onnx;13;Relu; a runtime with all of them is the line {EVERYTHING}"
        raise OrtolanError("the configuration names no operators", where=where, why="nothing would be built by it", hint=hint)
    mistakes = [f"{where}:{number}: {slip}" for number, line in enumerate(text.splitlines(), 1) for slip in _slips(line, where)]
    if mistakes:
        why = f"ONNX Runtime {span()} have no CPU kernel for it, and their tools pass over what they do not know"
        raise OrtolanError("\n".join(mistakes), why=why, hint="correct it, or remove it: nothing would be built for it")


def _slips(line: str, where: str) -> Iterator[str]:
    config = read(line, where)
    yield from (f"{ALLOWED} names an {slip}" for slip in _unknown(config.allowed or ()))
    for one in sorted(config.operators):
        if slip := _slip(one):
            yield slip
    for domain, name in sorted(config.types):
        yield from (f"{name} has an {slip}" for slip in _unknown(each(config.types[domain, name])))


def _unknown(types: Iterable[str]) -> Iterator[str]:
    """What is no type of tensors; those of maps and sequences are left to ONNX Runtime."""
    for name in sorted(name for name in types if name not in KNOWN and "<" not in name):
        yield f"unknown type '{name}'. {did_you_mean(name, sorted(KNOWN))}".rstrip()


def _slip(one: Operator) -> str:
    """What is unknown of an operator: its domain, its name or its opset."""
    names = sorted({name for table in tables().values() for name in table.operators})
    domains = sorted({name.partition(":")[0] for name in names})
    if one.domain not in domains:
        return f"unknown domain '{one.domain}' of {one.name}. {did_you_mean(one.domain, domains)}".rstrip()
    if f"{one.domain}:{one.name}" not in names:
        others = [name.partition(":")[2] for name in names if name.startswith(f"{one.domain}:")]
        return f"unknown operator '{one.name}' of {one.domain}. {did_you_mean(one.name, others)}".rstrip()
    return "" if having(one) else f"{one.name} of {one.domain} has no kernel for opset {one.opset}: {_opsets(one)}"


def _opsets(one: Operator) -> str:
    """``they are for 7 to 13``."""
    spans = {
        (form.since, form.until) for table in tables().values() for form in table.operators.get(f"{one.domain}:{one.name}", ())
    }
    last = max(until or since for since, until in spans)
    return f"they are for {min(since for since, _ in spans)} to {last}"

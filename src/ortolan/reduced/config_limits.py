"""What a minimal build of ONNX Runtime cannot run, whatever its configuration says: no kernel, or switched off by its flags."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from .config import Config, Operator
from .config_kernels import around, foreign, forms, having, span, tables, untaken
from .config_types import each

OFF = frozenset({"OPTIONAL_TYPE", "SPARSE_TENSORS", "FLOAT8_TYPES", "RE2"})
"""What a reduced runtime leaves out: CMake's ``onnxruntime_DISABLE_…``, and the library of regular expressions."""
_OPTIONAL = frozenset({"Optional", "OptionalGetElement", "OptionalHasElement"})
_SPARSE = frozenset({"SparseToDenseMatMul"})
_EXPRESSIONS = frozenset({"RegexFullMatch", "Tokenizer"})


@dataclass(frozen=True)
class Barred:
    """An operator that a minimal build cannot run, or of which nobody here knows whether it can (``sure`` is false)."""

    operator: Operator
    why: str
    sure: bool = True

    def __str__(self) -> str:
        return f"{self.operator}: {self.why}"


def barred(needed: Config, version: str, off: Collection[str] = OFF) -> list[Barred]:
    """The operators of a configuration that a minimal build of ``version`` with ``off`` switched off cannot run, sorted."""
    found = [_flagged(one, needed, off) or _unkerneled(one, version) for one in sorted(needed.operators)]
    known = [one for one in found if one]
    return [*known, *_untaken(needed, version, {one.operator for one in known})]


def _flagged(one: Operator, needed: Config, off: Collection[str]) -> Barred | None:
    float8 = sorted(name for name in each(needed.of(one) or {}) if name.startswith("Float8"))
    reasons = {
        "ML_OPS": "the operators of classical models" if one.domain == "ai.onnx.ml" else "",
        "OPTIONAL_TYPE": "values that may be absent" if one.domain == "ai.onnx" and one.name in _OPTIONAL else "",
        "SPARSE_TENSORS": "sparse tensors" if one.name in _SPARSE else "",
        "FLOAT8_TYPES": f"8-bit floats ({', '.join(float8)})" if float8 else "",
        "RE2": "regular expressions" if one.name in _EXPRESSIONS else "",
    }
    left = [what for flag, what in reasons.items() if what and flag in off]
    return Barred(one, f"a reduced runtime is built without {left[0]}") if left else None


def _unkerneled(one: Operator, version: str) -> Barred | None:
    there = having(one)
    if not there:
        return Barred(one, _unknown(one))
    near = around(version)
    told = {bool(forms(table, one)) for table in near}
    if told == {True}:
        return None
    if told == {False} and not foreign(version):
        return Barred(one, f"ONNX Runtime {version} has no CPU kernel for it; on file {', '.join(there)} have one")
    lacks = ", ".join(table.version for table in near if not forms(table, one))
    has = ", ".join(f"{table.version} has one" for table in near if forms(table, one))
    near_by = ", ".join(part for part in (f"{lacks} has none", has) if part)
    return Barred(one, f"whether {version} has a CPU kernel is not on file: {near_by}", sure=False)


def _unknown(one: Operator) -> str:
    own = not any(name.startswith(f"{one.domain}:") for table in tables().values() for name in table.operators)
    what = f"{one.domain} is a domain of your own" if own else "a function that was not inlined, or an operator without one"
    return f"no CPU kernel in ONNX Runtime {span()}: {what}"


def _untaken(needed: Config, version: str, but: Collection[Operator]) -> Iterator[Barred]:
    for domain, name in sorted(needed.types):
        of = sorted(one for one in needed.operators - set(but) if (one.domain, one.name) == (domain, name))
        missing = [untaken(table, of, needed.types[domain, name]) for table in around(version)]
        if of and (types := [kind for kind in missing[0] if all(kind in one for one in missing)]):
            versions = ", ".join(table.version for table in around(version)) if foreign(version) else version
            why = f"no CPU kernel of ONNX Runtime {versions} takes {', '.join(types)}"
            yield Barred(of[0], why, sure=not foreign(version))

"""Holds a node against a table of kernels: operator, opset, types, shapes and the table's rules, in that order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from . import graphs, op_schemas, signature, table_rules
from .evidence import REGISTERED, UNSUPPORTED, Verdict
from .kernel_table import Form, KernelTable
from .table_rules import Broken, Case
from .tensor_facts import Facts, inner

if TYPE_CHECKING:
    from onnx import NodeProto

Q, DQ = "QuantizeLinear", "DequantizeLinear"
_FLOATS = ("float", "float16", "bfloat16", "double")  # in the order in which another is proposed
_INTEGERS = ("int8", "uint8", "int32", "int64", "uint32", "uint64", "int16", "uint16")


def no(why: str, fix: str = "") -> Verdict:
    """The verdict on a node that is not taken."""
    return Verdict(UNSUPPORTED, why, fix)


def key(node: NodeProto) -> str:
    """How a table names a node's operator."""
    return f"{signature.domain(node.domain)}:{node.op_type}"


class Judge:
    """One table and the facts of one model."""

    def __init__(self, table: KernelTable, facts: Facts) -> None:
        """Ask nothing yet."""
        self.table, self.facts = table, facts
        self.yes = Verdict(table.level)
        self.functions = {(signature.domain(one.domain), one.name) for one in facts.model.functions}

    def node(self, node: NodeProto, *, unit: Collection[str] | None = None, taken: Collection[str] = ()) -> Verdict:
        """The verdict on a node and what it holds. ``unit``: its constants behind DequantizeLinear, when Q/DQ surround it."""
        if node.op_type == "Constant" and key(node) == "ai.onnx:Constant":
            return self.yes
        version = self._version(node)
        if isinstance(version, Verdict):
            return version
        forms = [form for form in self.table.operators[key(node)] if form.covers(version)]
        if not forms:
            return self._wrong_version(node, version)
        case = Case(node, self.facts, unit or (), taken)
        found = [self._form(case, form, typed=unit is None) for form in forms]
        best = next(
            (one for one in found if one.level != UNSUPPORTED), found[0] if len(found) == 1 else self._all(case, forms, found)
        )
        return best if best.level == UNSUPPORTED else self._inside(node, best)

    def _version(self, node: NodeProto) -> int | Verdict:
        """The version of the node's definition, or why it has no place in the table."""
        domain = signature.domain(node.domain)
        if (domain, node.op_type) in self.functions:
            return no(
                f"{node.op_type} is a function of the model's own",
                "inline the model's functions, so that its nodes can be judged",
            )
        opset, limit = self.facts.schemas.opsets.get(domain), self.table.opsets.get(domain)
        if opset is not None and limit is not None and opset > limit:
            return no(f"opset {opset} of {domain}; {self.table.software} goes up to {limit}", f"needs opset {limit} or older")
        if key(node) not in self.table.operators:
            return self._unknown(node, domain)
        schema = self.facts.schemas.find(node)
        if schema is None:
            return no(f"{node.op_type} is not defined in opset {opset} of {domain}", "is the opset import right?")
        return schema.since

    def _unknown(self, node: NodeProto, domain: str) -> Verdict:
        if key(node) in self.table.unseen:
            return no(f"{self.table.software} has {node.op_type}, but for which opsets and types cannot be seen")
        if domain not in op_schemas.domains():
            return no(
                f"unknown domain '{domain}'", f"replace {node.op_type} by operators of ai.onnx, or give the runtime its library"
            )
        name = node.op_type if domain == signature.DEFAULT_DOMAIN else key(node)
        schema = self.facts.schemas.find(node)
        if key(node) in self.table.elsewhere:
            return no(self._lacks(name), f"the provider's option {self.table.elsewhere[key(node)]} takes it")
        body = ", ".join(schema.expands) if schema else ""
        return no(self._lacks(name), f"replace it by what it is defined as: {body}" if body else "")

    def _lacks(self, what: str) -> str:
        return (
            f"{self.table.software} has no kernel for {what}"
            if self.table.level == REGISTERED
            else f"{what} is not in {self.table.software}"
        )

    def _wrong_version(self, node: NodeProto, version: int) -> Verdict:
        forms, domain = self.table.operators[key(node)], signature.domain(node.domain)
        opset = self.facts.schemas.opsets[domain]
        why = self._lacks(f"{node.op_type} of opset {opset}" + (f" (as of {version})" if version != opset else ""))
        known = op_schemas.versions(domain, node.op_type)
        older = [one for one in known if one < version and any(form.covers(one) for form in forms)]
        newer = [one for one in known if one > version and any(form.covers(one) for form in forms)]
        if older:
            last = min(one for one in known if one > older[-1]) - 1
            return no(why, f"needs opset {last} or older")
        return no(why, f"needs opset {newer[0]} or newer" if newer else "")

    def _form(self, case: Case, form: Form, *, typed: bool) -> Verdict:
        wrong = (self._types(case, form) if typed else None) or self._shapes(case) or table_rules.broken(form.rules, case)
        return no(*wrong) if wrong else Verdict(self.table.level, f"not checked: {form.note}" if form.note else "")

    def _types(self, case: Case, form: Form) -> Broken:
        for what, allowed in form.types.items():
            for name in self._tensors(case, what):
                have = self.facts.types.get(name, "")
                if have not in allowed:
                    return _wrong_type(case.node, name, have, allowed) if have else _untyped(name)
        return None

    def _tensors(self, case: Case, what: str) -> Sequence[str]:
        """The tensors that a type of a kernel is about: at a place (``in 0``), or of a type name of the definition."""
        side, _, place = what.partition(" ")
        if place:
            names = case.node.input if side == "in" else case.node.output
            return [name for name in names[int(place) : int(place) + 1] if name]
        schema = self.facts.schemas.find(case.node)
        return self.facts.bound(case.node, schema).get(what, ()) if schema else ()

    def _all(self, case: Case, forms: Sequence[Form], found: Sequence[Verdict]) -> Verdict:
        """Why none of several forms fits: in words on all of them where one tensor's type is the reason."""
        for what in forms[0].types:
            for name in self._tensors(case, what):
                allowed = frozenset().union(*(form.types.get(what, frozenset()) for form in forms))
                have = self.facts.types.get(name, "")
                if have and have not in allowed:
                    return no(*_wrong_type(case.node, name, have, allowed))
        return found[0]

    def _shapes(self, case: Case) -> Broken:
        names = [name for name in (*case.node.input, *case.node.output) if name]
        if self.table.max_rank is not None:
            for name in names:
                rank = len(self.facts.shapes.get(name, ()))
                if rank > self.table.max_rank:
                    return f"'{name}' has {rank} axes; at most {self.table.max_rank} are taken", f"reshape '{name}' to fewer axes"
        return self._loose(name for name in names if self.facts.types.get(name, "") != "") if self.table.fixed else None

    def _loose(self, names: Iterable[str]) -> Broken:
        for name in names:
            shape = self.facts.shapes.get(name)
            if shape is None:
                return table_rules.unknown_rank(name)
            axis = next((place for place, size in enumerate(shape) if not isinstance(size, int)), None)
            if axis is not None:
                why, fix = table_rules.dynamic(name, axis, shape[axis])
                return f"{why}; {self.table.provider} takes fixed shapes only", fix
        return None

    def _inside(self, node: NodeProto, best: Verdict) -> Verdict:
        for each in inner(node):
            found = self.node(each)
            if found.level == UNSUPPORTED:
                return no(f"inside: {graphs.label(each)}: {found.why}", found.fix)
        return best


def _untyped(name: str) -> tuple[str, str]:
    return f"the type of '{name}' is unknown", "declare it, or make the operators before it ones that onnx can infer"


def _wrong_type(node: NodeProto, name: str, have: str, allowed: Collection[str]) -> tuple[str, str]:
    taken = ", ".join(sorted(allowed)) or "no type"
    why = f"'{name}' is {have}; {taken} {'is' if len(allowed) < 2 else 'are'} taken"
    return why, _other_type(node, name, have, allowed)


def _other_type(node: NodeProto, name: str, have: str, allowed: Collection[str]) -> str:
    """What to do about a type: the nearest that is taken, in another quantisation where that makes it."""
    family = _FLOATS if have in _FLOATS else _INTEGERS
    near = next((kind for kind in (*family, *_FLOATS) if kind in allowed), "")
    if node.op_type not in {Q, DQ}:
        return f"cast '{name}' to {near}" if near else ""
    return f"leave '{name}', a bias, in float" if have == "int32" else f"quantise to {near}" if near else ""

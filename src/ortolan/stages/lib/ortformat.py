"""Gives .ort files bytes that depend on the model alone: ONNX Runtime writes one table in the order of a hash map."""

from __future__ import annotations

import importlib
from typing import Any

from .refused import Refused

_IDENTIFIER = b"ORTM"
_SCHEMA = "onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs"
_ALIGNMENT = 16
_VERSION, _MODEL, _RESOLVER = 4, 6, 10  # places in the vtable of InferenceSession


def canonical(data: bytes) -> bytes:
    """The same model with its kernel type string resolver in sorted order.

    A flatbuffer is written from its end to its start: ONNX Runtime writes its version, the model, the resolver, and last the
    table that holds the three. So the bytes from the model on stay as they are, and what stands before them is built anew.
    Raises ``Refused`` for a file that is not built like this.
    """
    if data[4:8] != _IDENTIFIER:
        raise Refused("this is not an .ort file", why=f"its bytes 4 to 8 are {data[4:8]!r}, not {_IDENTIFIER!r}")
    session = _schema("InferenceSession").InferenceSession()
    session.Init(data, int.from_bytes(data[:4], "little"))
    version, model, resolver = (_position(session, field) for field in (_VERSION, _MODEL, _RESOLVER))
    kept = min(model, model - int.from_bytes(data[model : model + 4], "little", signed=True))  # a table follows its vtable
    if not 0 < resolver < kept <= version:
        raise Refused(
            "this .ort file is not laid out as ONNX Runtime lays them out", hint="report it with the onnxruntime version"
        )
    return _rebuild(data[kept:], len(data) - version, len(data) - model, _entries(session.KernelTypeStrResolver()))


def _schema(name: str) -> Any:
    return importlib.import_module(f"{_SCHEMA}.{name}")


def _position(table: Any, field: int) -> int:
    """Where the object stands that a field of a table refers to, 0 when there is none."""
    slot = int(table._tab.Offset(field))  # noqa: SLF001  the generated classes give no positions
    return int(table._tab.Indirect(table._tab.Pos + slot)) if slot else 0  # noqa: SLF001


Entries = list[tuple[bytes, list[tuple[bytes, list[tuple[int, int]]]]]]


def _entries(resolver: Any) -> Entries:
    """``[(operator, [(type string, [(kind, index)])])]``, sorted by operator and by type string."""
    operators = (resolver.OpKernelTypeStrArgs(i) for i in range(resolver.OpKernelTypeStrArgsLength()))
    return sorted((operator.OpId(), _type_strings(operator)) for operator in operators)


def _type_strings(operator: Any) -> list[tuple[bytes, list[tuple[int, int]]]]:
    found = (operator.KernelTypeStrArgs(i) for i in range(operator.KernelTypeStrArgsLength()))
    return sorted(
        (each.KernelTypeStr(), [(arg.ArgType(), arg.Index()) for arg in map(each.Args, range(each.ArgsLength()))])
        for each in found
    )


def _rebuild(kept: bytes, version: int, model: int, entries: Entries) -> bytes:
    """A flatbuffer that ends in ``kept``; ``version`` and ``model`` are distances from its end."""
    import flatbuffers

    builder = flatbuffers.Builder(2 * len(kept) + 4096)
    builder.minalign = _ALIGNMENT
    builder.head -= len(kept)
    builder.Bytes[builder.head : builder.head + len(kept)] = kept
    resolver = _write_resolver(builder, entries)
    session = _schema("InferenceSession")
    session.InferenceSessionStart(builder)
    session.InferenceSessionAddOrtVersion(builder, version)
    session.InferenceSessionAddModel(builder, model)
    session.InferenceSessionAddKernelTypeStrResolver(builder, resolver)
    builder.Finish(session.InferenceSessionEnd(builder), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def _write_resolver(builder: Any, entries: Entries) -> int:
    schema, operator = _schema("KernelTypeStrResolver"), _schema("OpIdKernelTypeStrArgsEntry")
    written = []
    for name, strings in entries:
        inner = _vector(
            builder, operator.OpIdKernelTypeStrArgsEntryStartKernelTypeStrArgsVector, [_write(builder, s) for s in strings]
        )
        text = builder.CreateString(name)
        operator.OpIdKernelTypeStrArgsEntryStart(builder)
        operator.OpIdKernelTypeStrArgsEntryAddOpId(builder, text)
        operator.OpIdKernelTypeStrArgsEntryAddKernelTypeStrArgs(builder, inner)
        written.append(operator.OpIdKernelTypeStrArgsEntryEnd(builder))
    vector = _vector(builder, schema.KernelTypeStrResolverStartOpKernelTypeStrArgsVector, written)
    schema.KernelTypeStrResolverStart(builder)
    schema.KernelTypeStrResolverAddOpKernelTypeStrArgs(builder, vector)
    return int(schema.KernelTypeStrResolverEnd(builder))


def _write(builder: Any, entry: tuple[bytes, list[tuple[int, int]]]) -> int:
    schema, argument = _schema("KernelTypeStrArgsEntry"), _schema("ArgTypeAndIndex")
    written = []
    for kind, index in entry[1]:
        argument.ArgTypeAndIndexStart(builder)
        argument.ArgTypeAndIndexAddArgType(builder, kind)
        argument.ArgTypeAndIndexAddIndex(builder, index)
        written.append(argument.ArgTypeAndIndexEnd(builder))
    vector = _vector(builder, schema.KernelTypeStrArgsEntryStartArgsVector, written)
    text = builder.CreateString(entry[0])
    schema.KernelTypeStrArgsEntryStart(builder)
    schema.KernelTypeStrArgsEntryAddKernelTypeStr(builder, text)
    schema.KernelTypeStrArgsEntryAddArgs(builder, vector)
    return int(schema.KernelTypeStrArgsEntryEnd(builder))


def _vector(builder: Any, start: Any, offsets: list[int]) -> int:
    start(builder, len(offsets))
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())

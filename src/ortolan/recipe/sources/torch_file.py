"""What a file of PyTorch's is, told from the names in its archive and the names in its pickle. Nothing is unpickled."""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Iterator

from .look import Look

PROGRAM, SCRIPT, STATE, OBJECT = "program", "script", "state", "object"
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # what torch.save wrote first before 1.6: a pickle of its magic number
_LARGEST = 1 << 26  # bytes of a pickle that is read
_PICKLES = 4  # in the old format: magic number, protocol, facts of the machine, and the object
_PLAIN = frozenset({
    "collections OrderedDict", "torch Size", "torch device", "torch._utils _rebuild_parameter", "torch._utils _rebuild_qtensor",
    "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor", "torch.serialization _get_layout",
})  # fmt: skip
"""What stands in a pickle of a state dict; all else is a class or a function of whoever saved it."""


def kind(look: Look) -> str:
    """``program`` (an ExportedProgram), ``script``, ``state`` (a state dict), ``object`` (another pickle), or nothing."""
    inner = {name.partition("/")[2] for name in look.members}
    if look.folder:
        return ""
    if "archive_format" in inner or "serialized_exported_program.json" in look.members:
        return PROGRAM
    if "constants.pkl" in inner and any(name.startswith("code/") for name in inner):
        return SCRIPT
    if "data.pkl" in inner or look.head.startswith(_LEGACY):
        return STATE if set(_globals(look)) <= _PLAIN else OBJECT
    return ""


def _globals(look: Look) -> Iterator[str]:
    """``module name`` of what a pickle would import; a word that is none where it cannot be read to its end."""
    stream = io.BytesIO(_pickle(look))
    texts: list[str] = []
    try:
        for _ in range(_PICKLES if look.head.startswith(_LEGACY) else 1):
            for opcode, argument, _at in pickletools.genops(stream):
                if opcode.name == "GLOBAL":
                    yield _known(str(argument))
                elif opcode.name == "STACK_GLOBAL":
                    yield _known(" ".join(texts[-2:]))
                elif isinstance(argument, str):
                    texts.append(argument)
    except Exception:  # noqa: BLE001 - pickletools raises what it likes on bytes that are no pickle
        yield "unreadable"


def _known(name: str) -> str:
    """The storages of PyTorch's types, which are many, are as good as one that is plain."""
    plain = (name.startswith("torch ") and name.endswith("Storage")) or name.startswith("torch.storage ")
    return "torch Size" if plain else name


def _pickle(look: Look) -> bytes:
    if look.head.startswith(_LEGACY):
        with look.path.open("rb") as stream:
            return stream.read(_LARGEST)
    name = next(name for name in look.members if name.partition("/")[2] == "data.pkl")
    try:
        with zipfile.ZipFile(look.path) as archive, archive.open(name) as member:
            return member.read(_LARGEST)
    except (OSError, ValueError, NotImplementedError, RuntimeError, zipfile.BadZipFile):
        return b""

"""Identifiers for tensors and axes that are safe in each language, whatever their names are."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence

_C = (
    "alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl concept const const_cast consteval "
    "constexpr constinit continue co_await co_return co_yield decltype default delete do double dynamic_cast else enum explicit "
    "export extern false float for friend goto if inline int long mutable namespace new noexcept not not_eq nullptr operator or "
    "or_eq private protected public register reinterpret_cast requires restrict return short signed sizeof static static_assert "
    "static_cast struct switch template this thread_local throw true try typedef typeid typename typeof union unsigned using "
    "virtual void volatile wchar_t while xor xor_eq typeof_unqual contract_assert reflexpr synchronized fortran assert complex "
    "imaginary noreturn offsetof alloca linux unix i386 errno stdin stdout stderr main near far huge small hyper pascal cdecl "
    "interface min max "  # from `near` on: macros of Windows' own headers
    "int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t size_t "  # types that stand beside these names
    "math_errhandling sched_priority sa_handler sa_sigaction sigev_notify_attributes sigev_notify_function st_atime st_ctime "
    "st_mtime si_addr si_addr_lsb si_arch si_band si_call_addr si_fd si_int si_lower si_overrun si_pid si_pkey si_ptr si_status "
    "si_stime si_syscall si_timerid si_uid si_upper si_utime si_value"  # macros of glibc 2.36
)
_GO = (
    "break case chan const continue default defer else fallthrough for func go goto if import interface map package range return "
    "select struct switch type var"
)
_JS = (
    "abstract arguments async await boolean break byte case catch char class const constructor continue debugger default delete "
    "do double else enum eval export extends false final finally float for function get goto if implements import in instanceof "
    "int interface let long native new null of package private protected prototype public return set short static super switch "
    "synchronized this throw throws transient true try typeof undefined var void volatile while with yield toString valueOf "
    "toLocaleString hasOwnProperty isPrototypeOf propertyIsEnumerable then"  # what is awaited must not look like a promise
)
_PYTHON = (*keyword.kwlist, *keyword.softkwlist, "self", "cls", "np", "ort", "print", "mro")
_WORD = re.compile(r"[A-Za-z0-9]+")
_LONGEST = 48  # characters, less a number behind them: C promises to tell names of 63 apart


def _snake(words: Sequence[str]) -> str:
    return "_".join(word.lower() for word in words)


def _pascal(words: Sequence[str]) -> str:
    return "".join(word[:1].upper() + word[1:] for word in words)


def _camel(words: Sequence[str]) -> str:
    joined = _pascal(words)
    return joined[:1].lower() + joined[1:]


LANGUAGES: dict[str, tuple[Callable[[Sequence[str]], str], frozenset[str]]] = {
    "c": (_snake, frozenset(_C.split())),
    "go": (_pascal, frozenset(_GO.split())),
    "python": (_snake, frozenset(_PYTHON)),
    "js": (_camel, frozenset(_JS.split())),
}
"""How each language writes a name of several words, and the words that it keeps to itself or that its templates use."""


def identifiers(names: Iterable[str], language: str, kind: str) -> list[str]:
    """One identifier for each name, all different, of ASCII letters, digits and ``_`` only; ``kind`` names what has no letters.

    Equal lists give equal identifiers; a name that comes out as one before it gets the next free number.
    """
    style, reserved = LANGUAGES[language]
    found: dict[str, None] = {}
    last: dict[str, int] = {}
    for name in names:
        base = style(_words(name, kind))[:_LONGEST].rstrip("_")
        number, one = last.get(base, 1), f"{base}_" if base in reserved else base
        while one in found or one in reserved:
            number += 1
            one = f"{base}_{number}"
        found[one], last[base] = None, number
    return list(found)


def _words(name: str, kind: str) -> list[str]:
    """The words of a name; it begins with a letter, where need be that of ``kind``."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    words = _WORD.findall(plain)
    return words if words and words[0][0].isalpha() else [kind, *words]

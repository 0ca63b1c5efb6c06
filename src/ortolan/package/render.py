"""Renders a folder of templates: each ``*.j2`` becomes a file of that name without ``.j2``, all else is copied."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from jinja2 import FunctionLoader, StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from .. import digest
from ..errors import OrtolanError
from ..recipe.nearest import did_you_mean
from .quote import FILTERS, Unquoted, Untrusted

SUFFIX = ".j2"
_LITTER = ("__pycache__", "*.pyc", "*~", ".*.sw?", ".DS_Store")
_WRONG = (TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError, Unquoted)
"""What a mistake in a template raises."""


@dataclass(frozen=True)
class Rendered:
    """The files of one kind, by path below its folder, and the digest of the templates that they come from."""

    kind: str
    files: Mapping[str, bytes]
    templates: str


def find_templates(kind: str, folders: Sequence[Path]) -> Path:
    """The folder of a kind, nearest first. OrtolanError with the nearest name when there is none."""
    for folder in folders:
        if (folder / kind).is_dir():
            return folder / kind
    known = sorted({path.name for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_dir()})
    near = did_you_mean(kind, known) or f"There are: {', '.join(known) or 'none'}."
    raise OrtolanError(f"there are no templates '{kind}'", where=", ".join(map(str, folders)), hint=near)


def render(kind: str, folder: Path, given: Mapping[str, Any]) -> Rendered:
    """Render the templates in ``folder``. OrtolanError with file and line for a mistake in one."""
    sources = {path.relative_to(folder).as_posix(): path.read_bytes() for path in _files(folder)}
    texts = {name: _text(folder / name, data) for name, data in sources.items() if name.endswith(SUFFIX)}
    environment = _environment(texts, folder)
    shared = {name for name in texts if name.rpartition("/")[2].startswith("_")}  # macros that others import
    made = {name: name.removesuffix(SUFFIX) for name in texts if name not in shared}
    twice = next((name for name in made.values() if name in sources), None)
    if twice is not None:
        raise OrtolanError(f"two templates make {twice}", where=str(folder), hint=f"remove {twice} or {twice}{SUFFIX}")
    files = {made[name]: _one(environment, name, folder, given) for name in made}
    files |= {name: data for name, data in sources.items() if name not in texts}
    return Rendered(kind, dict(sorted(files.items())), digest.of_tree({n: digest.of_bytes(d) for n, d in sources.items()}))


def _files(folder: Path) -> list[Path]:
    """The files of a kind, less what editors and Python leave behind."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [path for path in found if not any(fnmatch(part, odd) for part in path.relative_to(folder).parts for odd in _LITTER)]


def _text(path: Path, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise OrtolanError("a template is not text in UTF-8", where=str(path), why=str(error)) from None


class _Environment(SandboxedEnvironment):
    """A template cannot reach into an ``Untrusted`` for its bare text, by whatever way it asks."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return not isinstance(obj, Untrusted) and super().is_safe_attribute(obj, attr, value)


def _environment(texts: Mapping[str, str], folder: Path) -> _Environment:
    environment = _Environment(  # autoescape knows HTML only: Untrusted guards all languages
        loader=FunctionLoader(lambda name: (texts[name], str(folder / name), None) if name in texts else None),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_printable,
    )
    environment.filters = {name: each for name, each in environment.filters.items() if name != "random"}
    environment.globals = {name: each for name, each in environment.globals.items() if name != "lipsum"}  # it is random too
    environment.filters |= {name: _filter(quote) for name, quote in FILTERS.items()}
    return environment


def _printable(value: Any) -> Any:
    """Text and numbers, and lists and tables of them: all else has no text, or one that no filter has seen."""
    for one in value if isinstance(value, list | tuple) else [*value, *value.values()] if isinstance(value, dict) else ():
        if one is not None:  # in a list of Python's
            _printable(one)
    if isinstance(value, Untrusted) or not isinstance(value, str | int | float | list | tuple | dict | StrictUndefined):
        raise TypeError(f"a {type(value).__name__} cannot be printed: {value}")
    return value


def _filter(quote: Callable[[str], str]) -> Callable[[Any], str]:
    def quoted(value: Any) -> str:
        text = value.text if isinstance(value, Untrusted) else value
        if not isinstance(text, str | int | float | StrictUndefined):
            raise TypeError(f"a {type(text).__name__} cannot be quoted as text")
        return quote(str(text))

    return quoted


def _one(environment: _Environment, name: str, folder: Path, given: Mapping[str, Any]) -> bytes:
    try:
        return environment.get_template(name).render(given).encode()
    except _WRONG as error:
        raise OrtolanError("a template cannot be rendered", where=_where(error, folder, name), why=_said(error)) from error


def _said(error: Exception) -> str:
    try:
        return str(error)
    except Unquoted as inside:  # the name of a template that is none
        return str(inside)


def _where(error: BaseException, folder: Path, name: str) -> str:
    """The file and line in which the error came up: of the innermost template, as far as it is known."""
    if getattr(error, "lineno", None):
        return f"{folder / (getattr(error, 'name', None) or name)}:{getattr(error, 'lineno', '')}"
    found, trace = str(folder / name), error.__traceback__
    while trace:
        file = trace.tb_frame.f_code.co_filename
        if file.startswith(f"{folder}/") and file.endswith(SUFFIX):
            found = f"{file}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found

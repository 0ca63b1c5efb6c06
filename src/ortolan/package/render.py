"""Renders a folder of templates: each ``*.j2`` becomes a file of that name without ``.j2``, all else is copied."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, TemplateError
from jinja2.loaders import DictLoader

from .. import digest
from ..errors import OrtolanError
from ..recipe.nearest import did_you_mean
from .quote import FILTERS, Untrusted

SUFFIX = ".j2"


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
    near = did_you_mean(kind, known) or f"There are: {', '.join(known)}."
    raise OrtolanError(f"there are no templates '{kind}'", where=str(folders[0]), hint=near)


def render(kind: str, folder: Path, given: Mapping[str, Any]) -> Rendered:
    """Render the templates in ``folder``. OrtolanError with file and line for a mistake in one."""
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    sources = {name: path.read_bytes() for name, path in paths.items()}
    texts = {name: data.decode() for name, data in sources.items() if name.endswith(SUFFIX)}
    environment = _environment(texts)
    shared = {name for name in texts if name.rpartition("/")[2].startswith("_")}  # macros that others import
    files = {name.removesuffix(SUFFIX): _one(environment, name, folder, given) for name in texts if name not in shared}
    files |= {name: data for name, data in sources.items() if name not in texts}
    return Rendered(kind, dict(sorted(files.items())), digest.of_tree({n: digest.of_bytes(d) for n, d in sources.items()}))


def _environment(texts: Mapping[str, str]) -> Environment:
    environment = Environment(  # noqa: S701  autoescape knows HTML only: Untrusted guards all languages
        loader=DictLoader(dict(texts)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_printable,
    )
    environment.filters |= {name: _filter(quote) for name, quote in FILTERS.items()}
    return environment


def _printable(value: Any) -> Any:
    return str(value) if isinstance(value, Untrusted) else value  # raises: it went through no filter


def _filter(quote: Callable[[str], str]) -> Callable[[Any], str]:
    return lambda value: quote(value.text if isinstance(value, Untrusted) else str(value))


def _one(environment: Environment, name: str, folder: Path, given: Mapping[str, Any]) -> bytes:
    try:
        return environment.get_template(name).render(given).encode()
    except (TemplateError, TypeError) as error:
        line = _line(error)
        raise OrtolanError("a template cannot be rendered", where=f"{folder / name}{line}", why=str(error)) from error


def _line(error: BaseException) -> str:
    """The line of the template in which the error came up, as far as it is known."""
    number, trace = getattr(error, "lineno", None), error.__traceback__
    while trace and number is None:
        number = trace.tb_lineno if trace.tb_frame.f_code.co_filename == "<template>" else None
        trace = trace.tb_next
    return f":{number}" if number else ""

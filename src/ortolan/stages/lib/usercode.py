"""Loads a callable of the user's and says which of its lines failed."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .refused import Refused
from .transient import reraise_if_transient

if TYPE_CHECKING:
    from collections.abc import Iterator


def load(root: Path, reference: str) -> Callable[..., Any]:
    """The callable that ``file.py:name`` refers to, below ``root``. Raises ``Refused`` when there is none.

    The file's folder becomes importable, so that it may import its neighbours.
    """
    file, _, name = reference.rpartition(":")
    path = root / file
    if not path.is_file():
        raise Refused(f"{file} is missing", hint="check the recipe: the path is relative to it")
    module = _import(path, reference)
    found = getattr(module, name, None)
    if callable(found):
        return found  # type: ignore[no-any-return]
    near = get_close_matches(name, [key for key in vars(module) if not key.startswith("_")], n=1)
    raise Refused(f"{file} has no callable {name!r}", hint=f"did you mean {near[0]!r}?" if near else f"define {name}() in {file}")


@contextmanager
def blame(reference: str) -> Iterator[None]:
    """Turn what the user's code raises into a ``Refused`` that names the line; ``Refused`` passes through."""
    try:
        yield
    except Refused:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code may raise anything
        reraise_if_transient(error)
        traceback.print_exc()
        raise Refused(
            f"{reference} raised {_describe(error)}", why=_where(error), hint="run it by itself to see the error"
        ) from None


def _import(path: Path, reference: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise Refused(f"{path.name} is not a Python file", hint="write file.py:callable")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    with blame(reference):
        spec.loader.exec_module(module)
    return module


def _describe(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _where(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"line {error.lineno} of {Path(error.filename or '').name}"
    frames = traceback.extract_tb(error.__traceback__)
    inner = [frame for frame in frames if "/lib/usercode.py" not in frame.filename]
    return f"line {inner[-1].lineno} of {Path(inner[-1].filename).name}: {inner[-1].line}" if inner else ""

"""What every verb is made with: a task under guard, in the one namespace; and the texts of options that several have."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from invoke.collection import Collection
from invoke.program import Program
from invoke.tasks import task

from .. import __version__
from ..cache import Cache, cache_at, user_cache
from ..verbs.guard import guard

TARGET = "name of a target (see: targets); may be given more than once"
MODEL = "name of a model (see: models) or path to a model file; default: all that the target admits"
CACHE = "folder for runtimes, results and work; default: ~/.cache/ortolan"
EMULATION = "do not check what is for 64-bit ARM Linux on an emulated one"
JOBS = "steps at a time; default: one for each processor"
JSON = "print JSON"

namespace = Collection()
program = Program(version=__version__, namespace=namespace, name="ortolan", binary="ortolan")


def verb(**options: Any) -> Callable[[Callable[..., None]], Any]:
    """A task under guard. Invoke takes --help for the word of a verb that wants one; here it is a question."""

    def wrap(function: Callable[..., None]) -> Any:
        @functools.wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> None:
            if kwargs.keys() & set(options.get("positional", ())) and {"-h", "--help"} & {str(v) for v in kwargs.values()}:
                made.help = options["help"]
                program.run(["ortolan", "--help", made.name])
            with guard():
                function(*args, **kwargs)

        made = task(**{**options, "help": dict(options.get("help", {}))})(guarded)  # Invoke empties it as it reads
        namespace.add_task(made)
        return made

    return wrap


def module(name: str) -> Any:
    """The module of a verb, imported when it is asked for."""
    return import_module(f"ortolan.verbs.{name}")


def cache(folder: str | None) -> Cache:
    """The cache that the command line names, or the user's."""
    return cache_at(Path(folder).resolve()) if folder else user_cache()

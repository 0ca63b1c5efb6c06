"""The verbs, shared by tasks.py and the ``ortolan`` console program. Each parses and hands over to its module in ``verbs``.

Only the verb that was asked for is imported (docs/decisions/0003): listing the verbs, and a build with nothing to do,
cost little more than Invoke itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.program import Program
from invoke.tasks import task

from . import __version__, fresh
from .cache import Cache, cache_at, user_cache
from .errors import OrtolanError
from .report import coloured
from .root import find_root
from .verbs.guard import count, guard

_TARGET = "name of a target (see: targets); may be given more than once"
_MODEL = "name of a model (see: models) or path to an .onnx file; default: all that the target admits"
_CACHE = "folder for runtimes, results and work; default: ~/.cache/ortolan"
_JOBS = "steps at a time; default: one for each processor"
_JSON = "print JSON"


def _verb(**options: Any) -> Callable[[Callable[..., None]], Any]:
    """A task under guard. Invoke takes --help for the word of a verb that wants one; here it is a question."""

    def wrap(function: Callable[..., None]) -> Any:
        @functools.wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> None:
            if kwargs.keys() & set(options.get("positional", ())) and {"-h", "--help"} & {str(v) for v in kwargs.values()}:
                made.help = options["help"]
                _program.run(["ortolan", "--help", made.name])
            with guard():
                function(*args, **kwargs)

        made = task(**{**options, "help": dict(options.get("help", {}))})(guarded)  # Invoke empties it as it reads
        return made

    return wrap


def _module(name: str) -> Any:
    return import_module(f"{__package__}.verbs.{name}")


def _cache(folder: str | None) -> Cache:
    return cache_at(Path(folder).resolve()) if folder else user_cache()


@_verb(
    iterable=["target", "model"],
    help={
        "target": _TARGET,
        "model": _MODEL,
        "jobs": _JOBS,
        "json": "print events and the result as lines of JSON",
        "cache": _CACHE,
    },
)
def build(_: Context, target: list[str], model: list[str], jobs: str = "", json: bool = False, cache: str | None = None) -> None:
    """Build the artifacts of a target into build/<target>/<tag>/.

    ./inv build --target raspberry-pi-5
    ./inv build --target x86-cpu --model digits --jobs 2
    ./inv build --target x86-cpu --model path/to/model.onnx
    """
    wide, root, places = count("--jobs", jobs), find_root(Path.cwd()), _cache(cache)
    request = {"root": str(root), "from": str(Path.cwd()), "targets": target, "models": model, "json": json, "colour": coloured()}
    record = fresh.record_path(places.root, request)
    said = fresh.recall(record)
    if said is None:
        _module("build").run(root, target, model, jobs=wide, as_json=json, cache=places, record=record)
    else:
        print(said)


@_verb(
    positional=["model"],
    iterable=["target"],
    help={
        "model": "path to an .onnx file, or name of a model (see: models)",
        "target": "name of a target (see: targets); may be given more than once; default: all",
        "jobs": _JOBS,
        "json": "print events and the result as lines of JSON",
        "cache": _CACHE,
    },
)
def coverage(_: Context, model: str, target: list[str], jobs: str = "", json: bool = False, cache: str | None = None) -> None:
    """Tell which provider of a target gets which node of a model, how that is known, and what falls back.

    ./inv coverage path/to/model.onnx --target android-arm64
    """
    wide = count("--jobs", jobs)
    _module("coverage").run(find_root(Path.cwd()), model, target, _cache(cache), jobs=wide, as_json=json)


@_verb(
    iterable=["target", "model"],
    help={
        "target": _TARGET,
        "model": _MODEL,
        "builder": "docker or buildah; default: the Docker engine that answers, else buildah",
        "jobs": _JOBS,
        "json": "print events and the result as lines of JSON",
        "cache": _CACHE,
    },
)
def image(
    _: Context,
    target: list[str],
    model: list[str],
    builder: str = "",
    jobs: str = "",
    json: bool = False,
    cache: str | None = None,
) -> None:
    """Build a target's container images (and first what goes into them), start each and compare its answers.

    ./inv image --target x86-cpu --model digits
    """
    wide = count("--jobs", jobs)
    _module("image").run(find_root(Path.cwd()), target, model, builder=builder, jobs=wide, as_json=json, cache=_cache(cache))


@_verb(help={"json": _JSON})
def targets(_: Context, json: bool = False) -> None:
    """List the targets: recipes/targets/*.toml."""
    _module("lists").targets(find_root(Path.cwd()), as_json=json)


@_verb(help={"json": _JSON})
def models(_: Context, json: bool = False) -> None:
    """List the models: recipes/models/*.toml."""
    _module("lists").models(find_root(Path.cwd()), as_json=json)


@_verb(
    help={
        "json": _JSON,
        "check": "read every file of those that are made and compare it with its package's record",
        "cache": _CACHE,
    }
)
def runtimes(_: Context, json: bool = False, check: bool = False, cache: str | None = None) -> None:
    """List the pinned environments.

    ./inv runtimes --check
    """
    _module("lists").runtimes(_root_or_here(), _cache(cache), as_json=json, check=check)


@_verb(name="runtime-add", positional=["package"], help={"package": "like onnxruntime==1.22.1"})
def runtime_add(_: Context, package: str) -> None:
    """Lock a new runtime into runtimes/.

    ./inv runtime-add onnxruntime==1.22.1
    """
    _module("project").runtime_add(find_root(Path.cwd()), package)


@_verb(help={"out": "folder to write target.schema.json, model.schema.json and manifest.schema.json to; default: print them"})
def schema(_: Context, out: str | None = None) -> None:
    """The JSON Schemas of recipes and manifests, for editors and other programs.

    ./inv schema --out schemas
    """
    _module("lists").schema(Path(out) if out else None)


@_verb(iterable=["target", "model"], help={"target": _TARGET, "model": _MODEL, "cache": _CACHE, "json": _JSON})
def why(_: Context, target: list[str], model: list[str], cache: str | None = None, json: bool = False) -> None:
    """Tell which key field changed since the last build; runs nothing.

    ./inv why --target x86-cpu
    """
    _module("why").run(find_root(Path.cwd()), target, model, _cache(cache), as_json=json)


@_verb(
    iterable=["target", "model"],
    help={"target": _TARGET, "model": _MODEL, "jobs": _JOBS, "json": _JSON, "cache": f"{_CACHE}; only its runtimes are used"},
)
def reproduce(
    _: Context, target: list[str], model: list[str], jobs: str = "", json: bool = False, cache: str | None = None
) -> None:
    """Build twice, in two empty stores from two folders, and grade every artifact.

    ./inv reproduce --target x86-cpu
    """
    wide = count("--jobs", jobs)
    _module("reproduce").run(find_root(Path.cwd()), target, model, _cache(cache), jobs=wide, as_json=json)


@_verb(positional=["tag"], help={"tag": "tag of a build, as in build/<target>/<tag>/", "json": "print the manifest itself"})
def show(_: Context, tag: str, json: bool = False) -> None:
    """Print a manifest for people.

    ./inv show digits-5f3c9a1b2c4d-opset17-ort1.20.1
    """
    _module("lists").show(find_root(Path.cwd()), tag, as_json=json)


@_verb(help={"cache": _CACHE, "runtimes": "remove the pinned environments as well"})
def clean(_: Context, cache: str | None = None, runtimes: bool = False) -> None:
    """Remove stored results and kept work folders; what is in build/ stays."""
    _module("project").clean(_cache(cache), runtimes=runtimes)


@_verb(help={"folder": "where; default: here"})
def init(_: Context, folder: str = ".") -> None:
    """Make a project: recipes/ with the targets that come with Ortolan and its demo models.

    ortolan init --folder my-project
    """
    _module("project").init(Path(folder))


@_verb(
    help={
        "fast": "unit tests only: no runtimes, under two minutes",
        "no-skips": "a skip that is not on the explained list (tests/skips.toml) is a failure",
    }
)
def test(_: Context, fast: bool = False, no_skips: bool = False) -> None:
    """Set up and run ruff, mypy and the tests of a checkout.

    ./inv test --fast
    """
    code = _module("checks").run(user_cache(), fast=fast, no_skips=no_skips)
    if code:
        raise Exit(code=code)


def _root_or_here() -> Path:
    try:
        return find_root(Path.cwd())
    except OrtolanError:
        return Path.cwd()


namespace = Collection(
    build, coverage, image, targets, models, runtimes, runtime_add, schema, why, reproduce, show, clean, init, test
)
_program = Program(version=__version__, namespace=namespace, name="ortolan", binary="ortolan")


def main() -> None:
    """The console program."""
    _program.run()

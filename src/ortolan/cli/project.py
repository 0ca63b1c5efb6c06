"""The verbs that list, make and check what a project consists of."""

from __future__ import annotations

from pathlib import Path

from invoke.context import Context
from invoke.exceptions import Exit

from ..cache import user_cache
from ..errors import OrtolanError
from ..root import find_root
from .verb import CACHE, JSON, module, verb
from .verb import cache as caches


@verb(help={"json": JSON})
def targets(_: Context, json: bool = False) -> None:
    """List the targets: recipes/targets/*.toml."""
    module("lists").targets(find_root(Path.cwd()), as_json=json)


@verb(help={"json": JSON})
def models(_: Context, json: bool = False) -> None:
    """List the models: recipes/models/*.toml."""
    module("lists").models(find_root(Path.cwd()), as_json=json)


@verb(
    help={
        "json": JSON,
        "check": "read every file of those that are made and compare it with its package's record",
        "cache": CACHE,
    }
)
def runtimes(_: Context, json: bool = False, check: bool = False, cache: str | None = None) -> None:
    """List the pinned environments.

    ./inv runtimes --check
    """
    module("lists").runtimes(_root_or_here(), caches(cache), as_json=json, check=check)


@verb(name="runtime-add", positional=["package"], help={"package": "like onnxruntime==1.22.1"})
def runtime_add(_: Context, package: str) -> None:
    """Lock a new runtime into runtimes/.

    ./inv runtime-add onnxruntime==1.22.1
    """
    module("project").runtime_add(find_root(Path.cwd()), package)


@verb(help={"out": "folder to write {target,model,fleet,manifest}.schema.json to; default: print them"})
def schema(_: Context, out: str | None = None) -> None:
    """The JSON Schemas of recipes and manifests, for editors and other programs.

    ./inv schema --out schemas
    """
    module("lists").schema(Path(out) if out else None)


@verb(help={"cache": CACHE, "runtimes": "remove the pinned environments as well"})
def clean(_: Context, cache: str | None = None, runtimes: bool = False) -> None:
    """Remove stored results and kept work folders; what is in build/ stays."""
    module("project").clean(caches(cache), runtimes=runtimes)


@verb(help={"folder": "where; default: here"})
def init(_: Context, folder: str = ".") -> None:
    """Make a project: recipes/ with the targets that come with Ortolan and its demo models, and a pipeline for GitLab.

    ortolan init --folder my-project
    """
    module("project").init(Path(folder))


@verb(
    help={
        "fast": "unit tests only: no runtimes, under two minutes",
        "lint": "ruff and mypy only: no tests",
        "no-skips": "a skip that is not on the explained list (tests/skips.toml) is a failure",
        "slow": "also what takes many minutes: reduced ONNX Runtimes compiled from nothing to the end",
    }
)
def test(_: Context, fast: bool = False, lint: bool = False, no_skips: bool = False, slow: bool = False) -> None:
    """Set up and run ruff, mypy and the tests of a checkout.

    ./inv test --fast
    """
    code = module("checks").run(user_cache(), fast=fast, lint=lint, no_skips=no_skips, slow=slow)
    if code:
        raise Exit(code=code)


def _root_or_here() -> Path:
    try:
        return find_root(Path.cwd())
    except OrtolanError:
        return Path.cwd()

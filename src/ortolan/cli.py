"""The verbs, shared by tasks.py and the ``ortolan`` console program. Each parses, calls, prints."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.program import Program
from invoke.tasks import task

from . import __version__, checks, manifest, runtime
from . import reproduce as reproducing
from . import why as reasons
from .build import Built, Options, executor_for
from .build import build as run_build
from .cache import cache_at, shipped, user_cache
from .clean import clean as remove
from .errors import GateError, OrtolanError, RecipeError
from .init import init as make_project
from .recipe.jsonschema import schemas
from .recipe.project import Project, admits, find_root, model_from_onnx
from .report.manifest import told
from .report.progress import shown
from .report.tables import gate_table, size, table
from .runtime.lock import add as lock_runtime
from .sources import Job, job

_TARGET = "name of a target (see: targets); may be given more than once"
_MODEL = "name of a model (see: models) or path to an .onnx file; default: all that the target admits"


def _verb(**options: Any) -> Callable[[Callable[..., None]], Any]:
    """A task whose OrtolanErrors become a message and an exit code, without a traceback."""

    def wrap(function: Callable[..., None]) -> Any:
        @functools.wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> None:
            try:
                function(*args, **kwargs)
            except OrtolanError as error:
                print(f"error: {error}", file=sys.stderr)
                raise Exit(code=error.exit_code) from error
            except KeyboardInterrupt:
                print("stopped: nothing half-made was left; the next build goes on from here", file=sys.stderr)
                raise Exit(code=130) from None

        return task(**options)(guarded)

    return wrap


def _options(root: Path, *, cache: str | None = None, jobs: int = 0) -> Options:
    places = cache_at(Path(cache).resolve()) if cache else user_cache()
    return Options(places, root / "build", [root / "runtimes", shipped() / "runtimes"], jobs)


def _jobs(project: Project, targets: Sequence[str], models: Sequence[str]) -> list[Job]:
    if not targets:
        raise RecipeError("which target?", why=f"known are {', '.join(project.targets())}", hint="--target raspberry-pi-5")
    chosen = [(project.target(t), m) for t in targets for m in _models(project, models)]
    fitting = [job(model, target) for target, model in chosen if models or admits(target, model)]
    if not fitting:
        raise RecipeError(f"no model is for {', '.join(targets)}", hint="give one with --model, or look at `models` in the target")
    return fitting


def _models(project: Project, names: Sequence[str]) -> list[Any]:
    given = [model_from_onnx(Path(n)) if n.endswith(".onnx") else project.model(n) for n in names]
    return given or [project.model(name) for name in project.models()]


@_verb(
    iterable=["target", "model"],
    help={
        "target": _TARGET,
        "model": _MODEL,
        "jobs": "steps at a time; default: one for each processor",
        "json": "events and the result as lines of JSON",
        "cache": "folder for runtimes, results and work; default: ~/.cache/ortolan",
    },
)
def build(c: Context, target: list[str], model: list[str], jobs: int = 0, json: bool = False, cache: str | None = None) -> None:
    """Build the artifacts of a target into build/<target>/<tag>/.

    ./inv build --target raspberry-pi-5
    ./inv build --target x86-cpu --model digits --jobs 2
    ./inv build --target x86-cpu --model path/to/model.onnx
    """
    root = find_root(Path.cwd())
    picked = _jobs(Project(root), target, model)
    with shown(as_json=json) as emit:
        built = run_build(picked, _options(root, cache=cache, jobs=jobs), emit)
    for one in built:
        _print_json(one) if json else _print(one, root)
    if not all(one.ok for one in built):
        raise Exit(code=max(error.exit_code for one in built if not one.ok for error in one.errors or [GateError("")]))


def _print(one: Built, root: Path) -> None:
    print(f"\n{one.job.name}")
    for error in one.errors:
        print(f"error: {error}", file=sys.stderr)
    if one.gates:
        print("\n".join(f"  {line}" for line in gate_table(one.gates, colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ)))
    if one.folder is None:
        print("  not built: nothing was put in place" if one.errors else "  not built: a gate failed, nothing was put in place")
        return
    made = manifest.read(one.folder / manifest.NAME)
    files = ", ".join(f"{a.name} {size(a.size)}" for a in made.artifacts)
    print(f"  ships {one.precision} ({made.precision_reason})\n  {one.folder.relative_to(root)}/: {files}")


def _print_json(one: Built) -> None:
    value = {
        "kind": "built", "model": one.job.model.name, "target": one.job.target.name, "ok": one.ok, "tag": one.tag,
        "precision": one.precision, "folder": str(one.folder or ""), "gates": [asdict(gate) for gate in one.gates],
        "errors": [str(error) for error in one.errors],
    }  # fmt: skip
    print(json.dumps(value, sort_keys=True))


@_verb(help={"json": "as JSON"})
def targets(c: Context, json: bool = False) -> None:
    """List the targets: recipes/targets/*.toml."""
    project = Project(find_root(Path.cwd()))
    recipes = {name: project.target(name).recipe for name in project.targets()}
    rows = [(n, r.platform, ", ".join(r.runtime.versions), str(r.runtime.opset), r.description) for n, r in recipes.items()]
    _list(("target", "platform", "onnxruntime", "opset", "description"), rows, as_json=json)


@_verb(help={"json": "as JSON"})
def models(c: Context, json: bool = False) -> None:
    """List the models: recipes/models/*.toml."""
    project = Project(find_root(Path.cwd()))
    recipes = {name: project.model(name).recipe for name in project.models()}
    rows = [(n, r.source.kind, ", ".join(i.name for i in r.input), r.description) for n, r in recipes.items()]
    _list(("model", "source", "inputs", "description"), rows, as_json=json)


@_verb(help={"json": "as JSON", "check": "read every file of the made ones and compare it with its package's record"})
def runtimes(c: Context, json: bool = False, check: bool = False) -> None:
    """List the pinned environments; --check verifies those that are made.

    ./inv runtimes --check
    """
    folders, made = _options(_root_or_here()).runtimes, user_cache().runtimes
    specs = [runtime.find(name, folders) for name in sorted(runtime.known(folders))]
    rows = [(s.name, s.python, runtime.state(s, made, check=check), s.description) for s in specs]
    _list(("runtime", "python", "state", "description"), rows, as_json=json)


@_verb(name="runtime-add", positional=["package"], help={"package": "like onnxruntime==1.22.1"})
def runtime_add(c: Context, package: str) -> None:
    """Lock a new runtime into runtimes/.

    ./inv runtime-add onnxruntime==1.22.1
    """
    spec = lock_runtime(package, find_root(Path.cwd()) / "runtimes")
    print(f"{spec.name}: {len(spec.packages())} packages locked in {spec.lock}")


@_verb(help={"out": "folder to write target.schema.json, model.schema.json and manifest.schema.json to; default: print them"})
def schema(c: Context, out: str | None = None) -> None:
    """The JSON Schemas of recipes and manifests, for editors and other programs.

    ./inv schema --out schemas
    """
    found = schemas() | {"manifest": manifest.Manifest.model_json_schema()}
    if not out:
        print(json.dumps(found, indent=1))
        return
    Path(out).mkdir(parents=True, exist_ok=True)
    for name, value in found.items():
        (Path(out) / f"{name}.schema.json").write_text(json.dumps(value, indent=1) + "\n")
        print(Path(out) / f"{name}.schema.json")


@_verb(iterable=["target", "model"], help={"target": _TARGET, "model": _MODEL, "cache": "as in build", "json": "as JSON"})
def why(c: Context, target: list[str], model: list[str], cache: str | None = None, json: bool = False) -> None:
    """Tell which key field changed since the last build; runs nothing.

    ./inv why --target x86-cpu
    """
    root = find_root(Path.cwd())
    picked, options = _jobs(Project(root), target, model), _options(root, cache=cache)
    with shown(as_json=False) as emit:
        executor = executor_for(picked, options, emit)
    found = [(one, reasons.why(one, reasons.last_keys(options.output, one), executor)) for one in picked]
    if json:
        _dump([{"job": one.name, "steps": [asdict(change) for change in changes]} for one, changes in found])
    for one, changes in [] if json else found:
        print(f"{one.name}: " + reasons.summary(changes))
        for change in changes:
            if change.state != "same":
                print("\n".join(f"  {line}" for line in (f"{change.state:6}{change.label}", *(f"      {f}" for f in change.fields))))


@_verb(iterable=["target", "model"], help={"target": _TARGET, "model": "name of a model", "json": "as JSON"})
def reproduce(c: Context, target: list[str], model: list[str], json: bool = False) -> None:
    """Build twice, in two empty stores from two folders, and grade every artifact.

    ./inv reproduce --target x86-cpu
    """
    root = find_root(Path.cwd())
    with shown(as_json=False) as emit:
        grades = reproducing.reproduce(root, lambda at: _jobs(Project(at), target, model), _options(root), emit)
    _list(("model", "artifact", "grade"), [(g.model, g.artifact, g.verdict) for g in grades], as_json=json)
    if not all(grade.same for grade in grades):
        raise GateError("the builds differ")


@_verb(positional=["tag"], help={"tag": "tag of a build, as in build/<target>/<tag>/", "json": "the manifest itself"})
def show(c: Context, tag: str, json: bool = False) -> None:
    """Print a manifest for people.

    ./inv show digits-5f3c9a1b2c4d-opset17-ort1.20.1
    """
    found = manifest.find(find_root(Path.cwd()) / "build", tag)
    for path in found:
        print(path.read_text() if json else "\n".join(told(manifest.read(path), manifest.damage(path.parent, manifest.read(path)))))


@_verb(help={"cache": "as in build", "runtimes": "the pinned environments as well"})
def clean(c: Context, cache: str | None = None, runtimes: bool = False) -> None:
    """Remove stored results and kept work folders; what is in build/ stays."""
    freed = remove(_options(_root_or_here(), cache=cache).cache, runtimes=runtimes)
    print(f"freed {size(freed)}")


@_verb(positional=["folder"], optional=["folder"], help={"folder": "where; default: here"})
def init(c: Context, folder: str = ".") -> None:
    """Make a project: recipes/ with the targets that come with Ortolan and a demo model.

    ortolan init my-project
    """
    for path in make_project(Path(folder)):
        print(path)


@_verb(help={"fast": "unit tests only: no runtimes, under two minutes", "no-skips": "a skip that is not on the explained list is a failure"})
def test(c: Context, fast: bool = False, no_skips: bool = False) -> None:
    """Set up and run ruff, mypy and the tests of a checkout.

    ./inv test --fast
    """
    code = checks.run(shipped(), user_cache().runtimes, fast=fast, no_skips=no_skips)
    if code:
        raise Exit(code=code)


def _root_or_here() -> Path:
    try:
        return find_root(Path.cwd())
    except OrtolanError:
        return Path.cwd()


def _list(header: Sequence[str], rows: Sequence[Sequence[str]], *, as_json: bool) -> None:
    if as_json:
        _dump([dict(zip(header, row, strict=True)) for row in rows])
    else:
        print("\n".join(table(header, rows)))


def _dump(value: Any) -> None:
    print(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False))


namespace = Collection(build, targets, models, runtimes, runtime_add, schema, why, reproduce, show, clean, init, test)
_program = Program(version=__version__, namespace=namespace, name="ortolan", binary="ortolan")


def main() -> None:
    """The console program."""
    _program.run()

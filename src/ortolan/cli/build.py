"""The verbs that build artifacts and tell about them."""

from __future__ import annotations

from pathlib import Path

from invoke.context import Context

from .. import fresh
from ..report import coloured
from ..root import find_root
from ..verbs.guard import count
from .devices import HOST, PYTHON
from .verb import CACHE, EMULATION, JOBS, JSON, MODEL, TARGET, module, verb
from .verb import cache as caches


@verb(
    iterable=["target", "model", "host"],
    help={
        "target": TARGET,
        "model": MODEL,
        "jobs": JOBS,
        "json": "print events and the result as lines of JSON",
        "cache": CACHE,
        "emulation": EMULATION,
        "host": f"also check what ships there, and let its TensorRT build the engines: {HOST}",
        "python": PYTHON,
        "device-limit": "seconds that a step may take on the device (1800)",
    },
)
def build(
    _: Context,
    target: list[str],
    model: list[str],
    jobs: str = "",
    json: bool = False,
    cache: str | None = None,
    emulation: bool = True,
    host: list[str] = [],  # noqa: B006  Invoke's own list
    python: str = "",
    device_limit: str = "1800",
) -> None:
    """Build the artifacts of a target into build/<target>/<tag>/.

    ./inv build --target raspberry-pi-5
    ./inv build --target raspberry-pi-5 --host pi@pi5 --python '~/venv/bin/python'
    ./inv build --target x86-cpu --model digits --jobs 2
    ./inv build --target x86-cpu --model path/to/model.onnx
    """
    wide, root, places = count("--jobs", jobs), find_root(Path.cwd()), caches(cache)
    request = {"root": str(root), "from": str(Path.cwd()), "targets": target, "models": model, "json": json, "colour": coloured()}
    request |= {} if emulation else {"emulation": False}
    record = fresh.record_path(places.root, request)
    said = None if host else fresh.recall(record)  # a device may have changed meanwhile
    if said is None:
        there = {"hosts": host, "python": python, "limit": count("--device-limit", device_limit)}
        module("build").run(
            root, target, model, jobs=wide, as_json=json, cache=places, record=record, emulated=emulation, **there
        )
    else:
        print(said)


@verb(
    positional=["model"],
    iterable=["target"],
    help={
        "model": "path to a model file, or name of a model (see: models)",
        "target": "name of a target (see: targets); may be given more than once; default: all",
        "jobs": JOBS,
        "json": "print events and the result as lines of JSON",
        "cache": CACHE,
    },
)
def coverage(_: Context, model: str, target: list[str], jobs: str = "", json: bool = False, cache: str | None = None) -> None:
    """Tell which provider of a target gets which node of a model, how that is known, and what falls back.

    ./inv coverage path/to/model.onnx --target android-arm64
    """
    wide = count("--jobs", jobs)
    module("coverage").run(find_root(Path.cwd()), model, target, caches(cache), jobs=wide, as_json=json)


@verb(
    iterable=["target", "model"],
    help={
        "target": TARGET,
        "model": MODEL,
        "builder": "docker or buildah; default: the Docker engine that answers, else buildah",
        "jobs": JOBS,
        "json": "print events and the result as lines of JSON",
        "cache": CACHE,
        "emulation": EMULATION,
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
    emulation: bool = True,
) -> None:
    """Build a target's container images (and first what goes into them), start each and compare its answers.

    ./inv image --target x86-cpu --model digits
    """
    wide, root = count("--jobs", jobs), find_root(Path.cwd())
    where = caches(cache)
    module("image").run(root, target, model, builder=builder, jobs=wide, as_json=json, cache=where, emulation=emulation)


@verb(
    iterable=["target", "model"],
    help={"target": TARGET, "model": MODEL, "cache": CACHE, "json": JSON, "emulation": EMULATION},
)
def why(
    _: Context, target: list[str], model: list[str], cache: str | None = None, json: bool = False, emulation: bool = True
) -> None:
    """Tell which key field changed since the last build; runs nothing.

    ./inv why --target x86-cpu
    """
    module("why").run(find_root(Path.cwd()), target, model, caches(cache), as_json=json, emulation=emulation)


@verb(
    iterable=["target", "model"],
    help={"target": TARGET, "model": MODEL, "jobs": JOBS, "json": JSON, "cache": f"{CACHE}; only its runtimes are used"},
)
def reproduce(
    _: Context, target: list[str], model: list[str], jobs: str = "", json: bool = False, cache: str | None = None
) -> None:
    """Build twice, in two empty stores from two folders, and grade every artifact.

    ./inv reproduce --target x86-cpu
    """
    wide = count("--jobs", jobs)
    module("reproduce").run(find_root(Path.cwd()), target, model, caches(cache), jobs=wide, as_json=json)


@verb(positional=["tag"], help={"tag": "tag of a build, as in build/<target>/<tag>/", "json": "print the manifest itself"})
def show(_: Context, tag: str, json: bool = False) -> None:
    """Print a manifest for people.

    ./inv show digits-5f3c9a1b2c4d-opset17-ort1.20.1
    """
    module("lists").show(find_root(Path.cwd()), tag, as_json=json)

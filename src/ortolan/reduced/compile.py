"""Compiles a tree for a configuration: operators reduced, CMake, ninja, strip. What did not change is not compiled again."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Mapping
from pathlib import Path

from ..disk import check_room, disk, part_of, remove
from ..errors import OrtolanError, StoreError
from .config import NAME, Config
from .flags import BUILD, Knobs, shims
from .tree import LOG, Tree

LIBRARY = "libonnxruntime.so"
_REDUCED = "op_reduction.generated"
_FULL = "No space left on device"


def library(
    tree: Tree, config: Config, knobs: Knobs, flags: Mapping[str, str], jobs: int, line: Callable[[str], object] = str
) -> Path:
    """The stripped library. OrtolanError with the compiler's words when it fails; the tree stays, and the next call goes on."""
    configure(tree, config, knobs, flags)
    _step(tree, "compiling", ["ninja", "-C", "obj", "-j", str(jobs), "onnxruntime"], line)
    made = ["--strip-unneeded", "--remove-section=.comment", "-o", LIBRARY, f"obj/{LIBRARY}"]
    _step(tree, "stripping", [f"{tree.root.platform.triple}-strip", *made])
    return tree.place / LIBRARY


def configure(tree: Tree, config: Config, knobs: Knobs, flags: Mapping[str, str]) -> None:
    """Up to a tree that ninja compiles. A configuration that was stopped half way starts clean."""
    with disk(tree.place):
        (tree.place / NAME).write_text(config.text())
    extended = ["--is_extended_minimal_build_or_higher"] if "onnxruntime_EXTENDED_MINIMAL_BUILD" in flags else []
    script = "onnxruntime/tools/ci_build/reduce_op_kernels.py"
    limited = ["--enable_type_reduction", *extended]
    _step(tree, "reducing operators", ["python3", script, NAME, "--cmake_build_dir", f"{BUILD}/reduced", *limited])
    if tree.configured is None:
        remove(tree.objects)
    with disk(tree.place):
        update(tree.place / "reduced" / _REDUCED, tree.objects / _REDUCED)
    if tree.configured != flags:
        tree.forget()
        for name in shims(knobs):
            _shim(tree, name)
        told = [f"-D{name}={value}" for name, value in flags.items()]
        fixed = ["cmake", "-S", "onnxruntime/cmake", "-B", "obj", "-G", "Ninja", "--compile-no-warning-as-error"]
        _step(tree, "configuring", [*fixed, *told])
        tree.now_configured(flags)


def update(new: Path, old: Path) -> list[str]:
    """Make ``old`` hold the files of ``new``; those that are equal keep their times, so that nothing compiles for them.

    Which were written or removed.
    """
    wanted = {path.relative_to(new).as_posix(): path.read_bytes() for path in new.rglob("*") if path.is_file()}
    there = {path.relative_to(old).as_posix(): path.read_bytes() for path in old.rglob("*") if path.is_file()}
    for name, data in wanted.items():
        if there.get(name) != data:
            (old / name).parent.mkdir(parents=True, exist_ok=True)
            part = part_of(old / name)
            part.write_bytes(data)
            part.replace(old / name)
    for name in there.keys() - wanted.keys():
        (old / name).unlink()
    return sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))


def cpu_seconds() -> float:
    """Processor time of all processes that this one has started and seen end."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def _shim(tree: Tree, name: str) -> None:
    """What stands in for functions that only a newer C or C++ runtime has."""
    made = ["-Os", "-fPIC", "-fvisibility=hidden", "-ffunction-sections", "-c", f"glue/{name}.c", "-o", f"{name}.o"]
    _step(tree, "compiling", [f"{tree.root.platform.triple}-gcc", f"-ffile-prefix-map={BUILD}=.", *made])


def _step(tree: Tree, doing: str, command: list[str], line: Callable[[str], object] = str) -> None:
    code = tree.run(command, line)
    if not code:
        return
    check_room(tree.place)
    said = [one for one in tree.tail(400).splitlines() if "error" in one.lower() or "FAILED" in one or _FULL in one]
    log = tree.place / LOG
    if any(_FULL in one for one in said):
        raise StoreError(
            f"{doing} filled the disk", where=str(tree.place), why=_FULL, hint="free 2 GB and run the same command again"
        )
    why = "\n       ".join((said or tree.tail(6).splitlines())[-6:]) or f"exit code {code}"
    raise OrtolanError(
        f"{doing} failed", where=str(log), why=why, hint="the log there tells all; the same command goes on from here"
    )

"""A build with nothing to do: recognised without a plan, without pydantic, without a process; any change is a real build."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import ROOT, Workspace
from ortolan import fresh
from ortolan.cache import Cache
from ortolan.recipe.project import Project
from ortolan.verbs import build as verb
from ortolan.verbs import pick
from program import PROGRAM, call, environment

WORDS = ("build", "--target", "arm64-cpu", "--model", "digits-mlp", "--no-emulation")
BUILD = (*WORDS, "--json")
SPY = """
import sys
started = []
starts = {"subprocess.Popen", "os.posix_spawn", "os.fork", "os.exec"}
sys.addaudithook(lambda name, args: name in starts and started.append(args[0]))
sys.argv = ["ortolan", *sys.argv[1:]]
from ortolan.cli import main
try:
    main()
finally:
    heavy = {"pydantic", "rich", "tomllib", "uv", "ortolan.plan", "ortolan.store", "ortolan.runtime"} & set(sys.modules)
    print([str(program) for program in started], sorted(heavy), file=sys.stderr)
"""


def events(workspace: Workspace, *words: str) -> list[str]:
    """The kinds of event of a build by the program; a build that is recognised as finished has only ``built``."""
    done = call(workspace, *(words or BUILD))
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["kind"] for line in done.stdout.splitlines()]


def records(workspace: Workspace) -> list[Path]:
    """What the program remembers of this workspace."""
    found = (workspace.cache.root / "fresh").iterdir()
    return [path for path in found if str(workspace.root) in path.read_text()]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, shared_cache: Cache) -> Workspace:
    """A project with a runtime of its own that the program has built."""
    root = tmp_path_factory.mktemp("finished") / "project"
    shutil.copytree(ROOT / "recipes", root / "recipes", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "runtimes" / "onnxruntime-1.20.1", root / "runtimes" / "onnxruntime-1.20.1")
    workspace = Workspace(root, shared_cache, [])
    assert "plan" in events(workspace)
    return workspace


@pytest.fixture
def finished(built: Workspace, tmp_path: Path) -> Iterator[Workspace]:
    """The same for each test, whatever the others do to it."""
    shutil.copytree(built.root, tmp_path / "before")
    (record,) = records(built)
    remembered = record.read_bytes()
    yield built
    shutil.rmtree(built.root)
    (tmp_path / "before").rename(built.root)
    for path in records(built):
        path.unlink()
    record.write_bytes(remembered)


# --- nothing to do -------------------------------------------------------------------------------------------------


def spied(workspace: Workspace) -> subprocess.CompletedProcess[str]:
    """A build that ends with the programs that it started and the heavy modules that it imported."""
    command = [sys.executable, "-c", SPY, *BUILD]
    return subprocess.run(
        command, cwd=workspace.root, env=environment(workspace), capture_output=True, text=True, check=True, timeout=60
    )


def test_a_second_build_says_the_same_and_starts_and_imports_nothing(finished: Workspace) -> None:
    done = spied(finished)
    assert done.stderr == "[] []\n"
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["ok"]


def test_the_spy_sees_what_a_real_build_does(finished: Workspace) -> None:
    finished.edit("models/digits-mlp.toml", 'metric   = "top1"', 'metric   = "top5"')
    started, _, heavy = spied(finished).stderr.rpartition("\n[")[2].partition("] [")
    assert "bin/python" in started
    assert all(name in heavy for name in ("pydantic", "ortolan.plan"))


def test_another_question_is_not_answered_with_this_one(finished: Workspace) -> None:
    assert call(finished, *WORDS).stdout.startswith("digits-mlp for arm64-cpu\n")
    assert events(finished) == ["built"]


def test_colours_are_for_the_terminal_alone(finished: Workspace) -> None:
    """What a terminal was told, a pipe is told without colour."""
    assert b"\x1b[32mpass\x1b[0m" in on_a_terminal(finished)
    assert "\x1b" not in call(finished, *WORDS).stdout


def on_a_terminal(workspace: Workspace) -> bytes:
    """What a build prints there."""
    master, slave = pty.openpty()
    seen = bytearray()
    env = environment(workspace, TERM="xterm", NO_COLOR="")
    with subprocess.Popen([*PROGRAM, *WORDS], cwd=workspace.root, env=env, stdout=slave, stderr=slave) as process:
        os.close(slave)
        while chunk := read(master):
            seen += chunk
    os.close(master)
    assert process.returncode == 0, seen
    return bytes(seen)


def read(master: int) -> bytes:
    """The next bytes from a pseudo-terminal; none when its other end is closed, which Linux says with an error."""
    try:
        return os.read(master, 65536)
    except OSError:
        return b""


# --- something to do -----------------------------------------------------------------------------------------------


def change_recipe(workspace: Workspace) -> None:
    workspace.add("targets/arm64-cpu.toml", "# a remark\n")


def change_another_recipe(workspace: Workspace) -> None:
    workspace.add("targets/x86-cpu.toml", "# a remark\n")


def add_recipe(workspace: Workspace) -> None:
    shutil.copy(workspace.root / "recipes/models/digits-mlp.toml", workspace.root / "recipes/models/another.toml")


def remove_recipe(workspace: Workspace) -> None:
    (workspace.root / "recipes/models/digits.toml").unlink()


def change_weights(workspace: Workspace) -> None:
    path = workspace.root / "recipes/models/digits-mlp.onnx"
    path.write_bytes(path.read_bytes() + b"\0")


def add_external_weights(workspace: Workspace) -> None:
    (workspace.root / "recipes/models/digits-mlp.onnx.data").touch()


def flip_a_bit_in_an_artifact(workspace: Workspace) -> None:
    (path,) = (workspace.root / "build").glob("*/*/model.onnx")
    data = path.read_bytes()
    path.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])


def remove_an_artifact(workspace: Workspace) -> None:
    next((workspace.root / "build").glob("*/*/session.json")).unlink()


def add_to_the_artifacts(workspace: Workspace) -> None:
    (next((workspace.root / "build").glob("*/digits*/")) / "more.txt").touch()


def change_a_lock(workspace: Workspace) -> None:
    path = workspace.root / "runtimes/onnxruntime-1.20.1/requirements.txt"
    path.write_text(path.read_text() + "# a remark\n")


def add_a_runtime(workspace: Workspace) -> None:
    shutil.copytree(ROOT / "runtimes" / "onnxruntime-1.31.1", workspace.root / "runtimes" / "onnxruntime-1.31.1")


CHANGES = [
    change_recipe, change_another_recipe, add_recipe, remove_recipe, change_weights, add_external_weights,
    flip_a_bit_in_an_artifact, remove_an_artifact, add_to_the_artifacts, change_a_lock, add_a_runtime,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_is_noticed(finished: Workspace, change: Callable[[Workspace], None]) -> None:
    (record,) = records(finished)
    assert fresh.recall(record)
    change(finished)
    assert fresh.recall(record) is None


def test_what_is_noticed_is_a_real_build(finished: Workspace) -> None:
    (path,) = (finished.root / "build").glob("*/*/model.onnx")
    good = path.read_bytes()
    flip_a_bit_in_an_artifact(finished)
    assert "plan" in events(finished)
    assert path.read_bytes() == good
    assert events(finished) == ["built"]


def test_a_new_folder_of_images_is_seen(workspace: Workspace) -> None:
    """A new class is a folder, beside which no file was read before."""
    images = workspace.root / "recipes/models/photos"
    for path in (images / "0" / "a.png", images / "1" / "a.png"):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
    workspace.edit(
        "models/digits-mlp.toml", '{ npz = "digits-calibration.npz" }', '{ images = "photos", size = [8, 8], color = "L" }'
    )
    (images / "empty" / "deeper").mkdir(parents=True)
    record = workspace.root / "record.json"
    seen = verb._sources(pick.jobs(Project(workspace.root), ["arm64-cpu"], ["digits-mlp"]))
    fresh.remember(record, "said", seen)
    for new in (images / "2", images / "empty" / "b.png", images / "empty" / "deeper" / "b.png"):
        assert fresh.recall(record) == "said"
        new.mkdir()
        assert fresh.recall(record) is None, new
        new.rmdir()


def test_what_changes_while_a_build_runs_is_built_next(finished: Workspace) -> None:
    finished.edit("targets/arm64-cpu.toml", "64 MB", "65 MB")
    with subprocess.Popen(
        [*PROGRAM, *BUILD], cwd=finished.root, env=environment(finished), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert json.loads(process.stdout.readline())["kind"] == "plan"
        finished.edit("targets/arm64-cpu.toml", "65 MB", "66 MB")
        process.stdout.read()
    assert process.returncode == 0
    assert "plan" in events(finished)


def test_a_failed_build_is_never_remembered(finished: Workspace) -> None:
    finished.edit("targets/arm64-cpu.toml", 'max_size = "64 MB"', 'max_size = "1 B"')
    assert [call(finished, *BUILD).returncode for _ in range(2)] == [3, 3]


@pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b"null", b'{"said": 1, "machine": [], "files": 3}', b"\xff"])
def test_a_damaged_record_is_no_record(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(damage)
    assert fresh.recall(path) is None


def test_another_processor_or_python_is_another_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh.remember(tmp_path / "record.json", "said", fresh.look([], []))
    assert fresh.recall(tmp_path / "record.json") == "said"
    monkeypatch.setattr("ortolan.fresh.cpu_features", lambda: ("x86_64", "avx512_of_the_future"))
    assert fresh.recall(tmp_path / "record.json") is None

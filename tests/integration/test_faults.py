"""Faults: kills, full disks, flipped bits, two builds at once, user code that goes wrong."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from conftest import ROOT, SmallDisk, Workspace
from ortolan import digest, manifest
from ortolan.cache import Cache, user_cache
from ortolan.errors import StoreError

COMMAND = [sys.executable, "-m", "ortolan", "build", "--target", "x86-cpu", "--model", "digits-mlp"]


def start(workspace: Workspace) -> subprocess.Popen[bytes]:
    """A build as a process of its own, with the workspace's cache."""
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    quiet = subprocess.DEVNULL
    command = [*COMMAND, "--cache", str(workspace.cache.root)]
    return subprocess.Popen(command, cwd=workspace.root, env=env, stdout=quiet, stderr=quiet, start_new_session=True)


@pytest.fixture
def linked(own_cache: Workspace) -> Workspace:
    """A workspace whose cache folder holds the user's runtimes, as the command line wants it."""
    own_cache.cache.root.mkdir()
    (own_cache.cache.root / "runtimes").symlink_to(user_cache().runtimes)
    own_cache.cache = Cache(own_cache.cache.root, own_cache.cache.root / "runtimes")
    return own_cache


def half_written(workspace: Workspace) -> list[Path]:
    """Folders in build/ that are not what their manifest says."""
    folders = [path for path in (workspace.root / "build").glob("*/*") if path.is_dir() and not path.name.startswith(".")]
    return [folder for folder in folders if not complete(folder)]


def complete(folder: Path) -> bool:
    """Whether every artifact is there with its digest."""
    made = manifest.read(folder / manifest.NAME)
    return all(digest.of_file(folder / artifact.name) == artifact.digest for artifact in made.artifacts)


@pytest.mark.slow
def test_a_build_killed_at_any_moment_leaves_a_store_that_the_next_one_uses(linked: Workspace) -> None:
    chance = random.Random(20261121)
    for _ in range(12):
        process = start(linked)
        time.sleep(chance.uniform(0.1, 5.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert half_written(linked) == []
    (built,) = linked.build("x86-cpu", "digits-mlp")
    assert built.ok
    assert half_written(linked) == []
    assert not list((linked.root / "build").rglob(".part-*"))


def workers(cache: Path) -> list[int]:
    """The processes that work in a cache."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve().is_relative_to(cache / "work"):
                found.append(int(process.name))
        except OSError:
            continue  # it has ended, or is not ours
    return found


@pytest.mark.slow
def test_a_killed_build_leaves_no_process_behind(linked: Workspace) -> None:
    process = start(linked)
    deadline = time.monotonic() + 30
    while not workers(linked.cache.root) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert workers(linked.cache.root)
    process.send_signal(signal.SIGKILL)
    process.wait()
    while workers(linked.cache.root) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert workers(linked.cache.root) == []


@pytest.mark.slow
def test_two_builds_at_once_both_succeed_and_share_their_work(linked: Workspace) -> None:
    processes = [start(linked) for _ in range(2)]
    assert [process.wait(120) for process in processes] == [0, 0]
    assert half_written(linked) == []


def test_an_artifact_with_a_flipped_bit_is_noticed_and_rebuilt(linked: Workspace) -> None:
    (built,) = linked.build("x86-cpu", "digits-mlp")
    assert built.folder
    model = built.folder / "model.onnx"
    good = model.read_bytes()
    model.write_bytes(good[:100] + bytes([good[100] ^ 1]) + good[101:])
    stored = linked.cache.store / "objects" / digest.short(digest.of_bytes(good), 64)
    stored.write_bytes(model.read_bytes())
    (built,) = linked.build("x86-cpu", "digits-mlp")
    assert built.ok
    assert model.read_bytes() == good
    assert stored.read_bytes() == good
    assert any("damaged" in event.text for event in linked.events)


def test_a_full_disk_is_one_clear_error(workspace: Workspace, small_disk: SmallDisk) -> None:
    workspace.cache = Cache(small_disk("700k") / "cache", user_cache().runtimes)
    try:
        errors = workspace.build("x86-cpu", "digits-mlp")[0].errors
    except StoreError as error:
        errors = [error]
    assert errors
    assert "No space left on device" in str(errors[0])
    assert half_written(workspace) == []
    assert not list((workspace.root / "build").glob("*/*/manifest.json"))


FACTORIES = {
    "raises": ("def build():\n    raise RuntimeError('no weights today')\n", "no weights today"),
    "exits": ("import sys\ndef build():\n    sys.exit(3)\n", "exit"),
    "hangs": ("import time\ndef build():\n    time.sleep(600)\n", "time limit of 5 s"),
    "is no module": ("def build():\n    return 7\n", "Module"),
    "has a syntax error": ("def build(:\n", "SyntaxError"),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", FACTORIES)
def test_a_factory_that_goes_wrong_is_one_clear_error(workspace: Workspace, how: str) -> None:
    code, words = FACTORIES[how]
    (workspace.root / "recipes/models/digits.py").write_text(code)
    limit = 5 if how == "hangs" else 120
    workspace.edit("models/digits.toml", "[source]", f"[source]\ntime_limit = {limit}")
    (built,) = workspace.build("x86-cpu", "digits")
    assert not built.ok
    assert any(words in str(error) for error in built.errors), [str(error) for error in built.errors]
    assert len(built.errors) == 1
    assert not list((workspace.root / "build").glob("*/*/manifest.json"))


@pytest.mark.slow
def test_a_factory_that_prints_does_no_harm(workspace: Workspace) -> None:
    path = workspace.root / "recipes/models/digits.py"
    path.write_text(path.read_text() + "\nprint('{\"facts\": 1}')\n")
    (built,) = workspace.build("x86-cpu", "digits")
    assert built.ok


@pytest.mark.slow
def test_weights_that_do_not_fit_are_named(workspace: Workspace) -> None:
    wrapped = (
        "\n_plain = build\n\n\ndef build():\n    model = _plain()\n    model.surplus = torch.nn.Linear(3, 3)\n    return model\n"
    )
    path = workspace.root / "recipes/models/digits.py"
    path.write_text(path.read_text() + "\nimport torch" + wrapped)
    (built,) = workspace.build("x86-cpu", "digits")
    assert not built.ok
    assert "surplus" in str(built.errors[0])


def bad_data(workspace: Workspace, change: str) -> None:
    """Write calibration data that is wrong in one way."""
    path = workspace.root / "recipes/models/digits-calibration.npz"
    arrays = {name: array.copy() for name, array in np.load(path).items()}
    name = next(name for name, array in arrays.items() if array.ndim > 1)
    data = arrays[name]
    changed = {
        "shape": data[:, :, :-1] if data.ndim > 2 else data[:, :-1],
        "dtype": data.astype(np.float64),
        "range": data * 255,
        "empty": data[:0],
        "nan": np.where(np.arange(len(data)).reshape(-1, *[1] * (data.ndim - 1)) == 3, np.nan, data).astype(data.dtype),
    }[change]
    np.savez(path, **{**arrays, name: changed})


@pytest.mark.parametrize(
    ("change", "words"),
    [("shape", "shape"), ("dtype", "float64"), ("range", "range"), ("empty", "holds no sample"), ("nan", "NaN")],
)
def test_bad_calibration_data_is_one_clear_error_even_when_int8_is_only_preferred(
    workspace: Workspace, change: str, words: str
) -> None:
    bad_data(workspace, change)
    (built,) = workspace.build("x86-cpu", "digits-mlp")
    assert not built.ok
    assert len(built.errors) == 1, [str(error) for error in built.errors]
    assert words in str(built.errors[0]), str(built.errors[0])
    assert "digits-calibration.npz" in str(built.errors[0])

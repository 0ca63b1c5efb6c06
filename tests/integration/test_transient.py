"""What is wrong with the machine is never stored as a verdict on the model."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto

import models
from conftest import ROOT, SmallDisk
from ortolan import runtime
from ortolan.cache import user_cache
from ortolan.place import Local, Reply
from ortolan.sandbox import copy_from, prepare
from ortolan.stages.lib import usercode
from ortolan.stages.lib.refused import Refused
from ortolan.stages.lib.transient import reraise_if_transient

FULL = {"style": "fixed", "type_reduction": True, "platform": "linux/amd64"}
SIDE = 512  # 1 MiB of weights


def large() -> ModelProto:
    """One matrix product with a MiB of weights, and something to fuse after it."""
    text = f"(float[1,{SIDE}] image) => (float[1,{SIDE}] scores) {{ a = MatMul(image, w) b = Add(a, c) scores = Relu(b) }}"
    random = np.random.default_rng(0)
    values = {"w": random.normal(size=(SIDE, SIDE)).astype(np.float32), "c": np.ones(SIDE, np.float32)}
    return models.graph(text, 17, weights=values)


def run(folder: Path, stage: str, name: str, params: dict[str, object], model: Path) -> Reply:
    """Run a stage in ``folder``, as a build does."""
    made = runtime.ensure(runtime.find(name, [ROOT / "runtimes"]), user_cache().runtimes)
    prepare(folder, stage, {"model": "in/model.onnx"}, {"in/model.onnx": copy_from(model)}, params)
    return Local().run(folder, made.interpreter, 300)


@pytest.mark.parametrize(("stage", "name", "params", "size"), [
    ("preprocess", "tools", {}, "3000k"),  # ONNX Runtime cannot write the optimised model, and only logs it
    ("preprocess", "tools", {}, "4200k"),  # onnx cannot write the shapes, and does not say so
    ("ort_convert", "onnxruntime-1.20.1", FULL, "2700k"),
    ("ort_convert", "onnxruntime-1.20.1", FULL | {"style": "runtime"}, "4200k"),  # the second of its two files
])  # fmt: skip
def test_a_full_disk_is_a_crash_and_no_verdict(
    small_disk: SmallDisk, tmp_path: Path, stage: str, name: str, params: dict[str, object], size: str
) -> None:
    reply = run(small_disk(size) / "step", stage, name, params, models.write(large(), tmp_path / "m.onnx"))
    assert reply.facts is None, reply
    assert reply.refused is None, reply
    assert "No space left" in reply.crash or "is the disk full?" in reply.crash


@pytest.mark.parametrize(("stage", "name", "params"), [("preprocess", "tools", {}), ("ort_convert", "onnxruntime-1.20.1", FULL)])
def test_a_disk_with_room_is_none(
    small_disk: SmallDisk, tmp_path: Path, stage: str, name: str, params: dict[str, object]
) -> None:
    reply = run(small_disk("12m") / "step", stage, name, params, models.write(large(), tmp_path / "m.onnx"))
    assert reply.facts is not None, reply
    assert reply.facts.get("skipped", "") == ""


def test_users_code_that_finds_the_disk_full_is_a_crash(tmp_path: Path) -> None:
    """``/dev/full`` is a disk that is always full."""
    (tmp_path / "rows.py").write_text("with open('/dev/full', 'w') as out:\n    out.write('a')\n")
    with pytest.raises(OSError, match="No space left"):
        usercode.load(tmp_path, "rows.py:rows")


@pytest.mark.parametrize("error", [
    MemoryError(),
    ConnectionResetError("by peer"),
    TimeoutError(),
    *(OSError(code, os.strerror(code)) for code in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOMEM, errno.EMFILE)),
    RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : std::bad_alloc"),
    RuntimeError("bfc_arena.cc:376 Failed to allocate memory for requested buffer of size 1024"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
    RuntimeError("mmap: Cannot allocate memory"),
    RuntimeError("write failed: No space left on device"),
], ids=repr)  # fmt: skip
@pytest.mark.parametrize("how", ["itself", "cause", "hidden"])
def test_what_may_go_better_next_time_is_raised(error: Exception, how: str) -> None:
    with pytest.raises(type(error)) as found:
        reraise_if_transient(wrapped(error, how))
    assert found.value is error


def wrapped(error: Exception, how: str) -> Exception:
    """The error, or one that came from it, ``from`` it or ``from None``."""
    if how == "itself":
        return error
    try:
        try:
            raise error  # noqa: TRY301
        except Exception as caught:  # noqa: BLE001
            raise Refused("cannot", why="so") from (caught if how == "cause" else None)
    except Refused as refused:
        return refused


@pytest.mark.parametrize("error", [
    ValueError("bad shape"),
    FileNotFoundError(errno.ENOENT, "No such file"),
    OSError("image file is truncated"),
    RuntimeError("[ONNXRuntimeError] : 10 : INVALID_GRAPH : no Op registered for NoSuch"),
    Refused("the model is odd"),
], ids=repr)  # fmt: skip
def test_what_the_input_is_to_blame_for_stays_a_verdict(error: Exception) -> None:
    reraise_if_transient(error)
    reraise_if_transient(wrapped(error, "cause"))


def test_a_nearly_full_disk_makes_every_error_suspect(small_disk: SmallDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = small_disk("2m")
    monkeypatch.chdir(disk)
    error = RuntimeError("Protobuf serialization failed")
    reraise_if_transient(error)
    with pytest.raises(OSError, match="No space left") as needed:
        reraise_if_transient(error, 3 * 2**20)
    assert (needed.value.errno, needed.value.__cause__) == (errno.ENOSPC, error)
    (disk / "filling").write_bytes(bytes(3 * 2**19))
    with pytest.raises(OSError, match="No space left"):
        reraise_if_transient(error)

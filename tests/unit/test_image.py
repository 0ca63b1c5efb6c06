"""Images without containers: rendered Dockerfiles, contexts that are the same everywhere, comparisons of answers, gates."""

from __future__ import annotations

import io
import math
import os
import struct
import tarfile
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT
from manifests import FILES, manifest, tensor
from ortolan.artifact import Outcome
from ortolan.image import ask, buildah, engine, gates, wheels
from ortolan.image.gates import Bytes
from ortolan.manifest import GoldenPart
from ortolan.package import pack
from ortolan.recipe.docker import Docker
from ortolan.recipe.outputs import Outputs

INSTRUCTIONS = {"FROM", "ENV", "COPY", "USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "ARG", "LABEL"}
GOLDEN = ROOT / "tests" / "golden"
BASE = "python:3.11-slim-bookworm@sha256:" + "ab" * 32
MB = 10**6

TABLES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "docker": ({"base": BASE}, {}),
    "docker-l4t": (
        {"base": "dustynv/onnxruntime:1.20.2-r36.4.0", "python": "3.10", "runtime": "base", "port": 9000, "user": 1000},
        {"package": "onnxruntime-gpu", "platform": "linux/arm64", "providers": {"CUDAExecutionProvider": {}}},
    ),
    "docker-web": (
        {"base": BASE, "templates": "docker-web"},
        {"package": "onnxruntime-web", "platform": "web", "files": [*FILES, "model.web.onnx", "web.json"]},
    ),
}


def rendered(name: str, **more: Any) -> dict[str, str]:
    table, about = TABLES[name]
    outputs = Outputs(docker=Docker.model_validate(table))
    made = pack(manifest((tensor("x"),), **about | more), outputs, [ROOT / "templates"], [ROOT / "runtimes"])
    return {path.partition("/")[2]: data.decode() for path, data in made.files.items()}


@pytest.mark.parametrize("name", TABLES)
def test_the_dockerfile(name: str, request: pytest.FixtureRequest) -> None:
    found, kept = rendered(name)["Dockerfile"], GOLDEN / f"{name}.Dockerfile"
    if request.config.getoption("--update"):
        kept.write_text(found)
    assert found == kept.read_text(), "pytest tests/unit/test_image.py --update, if this is meant"


@pytest.mark.parametrize("name", TABLES)
def test_nothing_runs_while_an_image_is_built_and_all_that_is_copied_is_let_in(name: str) -> None:
    files = rendered(name)
    lines = files["Dockerfile"].replace("\\\n", "").splitlines()
    words = [line.split() for line in lines if line and not line.startswith("#")]
    assert {word[0] for word in words} <= INSTRUCTIONS
    copied = [name for word in words if word[0] == "COPY" for name in word[1:-1]]
    allowed = {line[1:] for line in files["Dockerfile.dockerignore"].splitlines() if line.startswith("!")}
    folder = TABLES[name][0].get("templates", "docker")
    assert {one.partition("/")[0] for one in copied} <= allowed
    own = {one.removeprefix(f"{folder}/") for one in copied if one.startswith(f"{folder}/") and not one.endswith("/")}
    assert own <= set(files)


def test_the_requirements_are_those_of_the_lock_and_no_more() -> None:
    text = rendered("docker")["requirements.txt"]
    assert [line.split("==")[0] for line in text.splitlines() if "==" in line] == ["numpy", "onnxruntime"]
    assert text.count("--hash=sha256:") > 20
    assert "dustynv/onnxruntime:1.20.2-r36.4.0 brings onnxruntime-gpu" in rendered("docker-l4t")["requirements.txt"]


# --- contexts ----------------------------------------------------------------------------------------------------


def test_a_context_is_the_same_bytes_whoever_packs_it_and_when(tmp_path: Path) -> None:
    packed = []
    for name, umask in (("a", 0o077), ("b", 0o022)):
        before = os.umask(umask)
        folder = tmp_path / name / "context"
        (folder / "docker").mkdir(parents=True)
        for file in sorted(("docker/Dockerfile", "model.onnx"), reverse=name == "b"):
            (folder / file).write_text(file)
        os.umask(before)
        if name == "b":
            os.link(folder / "model.onnx", tmp_path / "another-name")
            os.link(folder / "model.onnx", folder / "second.onnx")
        else:
            (folder / "second.onnx").write_text("model.onnx")
        os.utime(folder / "model.onnx", (1, 1) if name == "a" else None)
        stream = io.BytesIO()
        engine._pack(folder, stream, 315532800)
        packed.append(stream.getvalue())
    assert packed[0] == packed[1]
    with tarfile.open(fileobj=io.BytesIO(packed[0])) as tar:
        assert {(entry.name, entry.mode, entry.mtime, entry.uid) for entry in tar} == {
            ("docker", 0o755, 315532800, 0), ("docker/Dockerfile", 0o644, 315532800, 0), ("model.onnx", 0o644, 315532800, 0),
            ("second.onnx", 0o644, 315532800, 0),
        }  # fmt: skip


def test_unpacked_wheels_name_nothing_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "f2py").write_text("#!/home/somebody/python")
    info = tmp_path / "numpy-2.0.dist-info"
    info.mkdir(mode=0o700)
    (info / "RECORD").write_text("bin/f2py,sha256=other,322\nnumpy/bin/x.py,sha256=0,1\nnumpy/__init__.py,sha256=0,1\n")
    wheels._same_everywhere(tmp_path)
    assert not (tmp_path / "bin").exists()
    assert (info / "RECORD").read_text() == "numpy/bin/x.py,sha256=0,1\nnumpy/__init__.py,sha256=0,1\n"
    assert info.stat().st_mode & 0o777 == 0o755
    assert (info / "RECORD").stat().st_mode & 0o777 == 0o644


def test_a_configuration_forgets_the_container_that_it_was_made_in() -> None:
    told = {
        "container": "0123", "container_config": {"Hostname": "0123"}, "created": "1980", "rootfs": {"diff_ids": ["sha256:1"]},
        "config": {"Hostname": "0123", "Image": "", "User": "10001", "Healthcheck": {"Test": ["CMD", "x"]}},
    }  # fmt: skip
    assert buildah._without_container(told) == {
        "created": "1980", "rootfs": {"diff_ids": ["sha256:1"]},
        "config": {"User": "10001", "Healthcheck": {"Test": ["CMD", "x"]}},
    }  # fmt: skip


# --- answers -----------------------------------------------------------------------------------------------------


def about(min_snr_db: float | None = None, rtol: float = 1e-3, atol: float = 1e-5) -> GoldenPart:
    return GoldenPart(runtime="1.20.1", rtol=rtol, atol=atol, min_snr_db=min_snr_db, samples=[])


def compared(found: list[Any], wanted: list[Any], dtype: str = "float32", **tolerance: Any) -> ask.Answers:
    letter = ask._FORMATS[dtype]
    entry = {"dtype": dtype, "shape": [len(wanted)], "offset": 4, "size": len(wanted) * struct.calcsize(letter)}
    bodies = [bytes(4) + struct.pack(f"<{len(values)}{letter}", *values) for values in (found, wanted)]
    return ask._one(entry, bodies[0], entry, bodies[1], about(**tolerance))


def test_equal_bytes_are_equal_even_where_they_are_no_numbers() -> None:
    assert compared([math.nan, 1.0], [math.nan, 1.0]) == ask.Answers(equal=1)


@pytest.mark.parametrize(
    ("found", "wanted", "dtype", "tolerance", "near"),
    [
        ([1.0009, 2.0], [1.0, 2.0], "float32", {}, True),
        ([1.0011, 2.0], [1.0, 2.0], "float32", {}, False),
        ([0.00001, -0.00001], [0.0, 0.0], "float32", {"atol": 1.1e-5}, True),
        ([math.nan, 2.0], [1.0, 2.0], "float32", {}, False),
        ([1.0, 2.0], [math.nan, 2.0], "float32", {"min_snr_db": 1.0}, False),
        ([math.inf, 2.0], [math.inf, 2.001], "float32", {}, True),
        ([math.inf, 2.0], [-math.inf, 2.0], "float32", {"min_snr_db": 1.0}, False),
        ([1000, 1], [1001, 1], "int64", {}, False),
        ([1000, 1], [1001, 1], "int64", {"atol": 1.0}, True),
        ([1, 0], [1, 1], "bool", {}, False),
        ([1.0, 2.0], [1.01, 2.0], "float16", {"min_snr_db": 30.0}, True),
        ([1.0, 2.0], [1.2, 2.0], "float16", {"min_snr_db": 30.0}, False),
    ],
)
def test_near_is_as_numpy_has_it_and_int8_models_have_their_noise(
    found: list[Any], wanted: list[Any], dtype: str, tolerance: dict[str, Any], near: bool
) -> None:
    assert (compared(found, wanted, dtype, **tolerance).why == "") is near


def test_another_shape_or_type_is_named() -> None:
    wanted = {"dtype": "float32", "shape": [2], "offset": 0, "size": 8}
    told = {"dtype": "float16", "shape": [1, 2], "offset": 0, "size": 4}
    assert ask._one(told, b"", wanted, b"", about()).why == "float16 [1, 2], expected float32 [2]"
    assert ask._one(None, b"", wanted, b"", about()).why == "it is missing"


def test_texts_stand_in_the_header() -> None:
    wanted = {"dtype": "str", "shape": [1], "offset": 0, "size": 0, "values": ["a"]}
    assert ask._one(wanted, b"", wanted, b"", about()).equal == 1
    assert ask._one(wanted | {"values": ["b"]}, b"", wanted, b"", about()).why == "other texts"


# --- gates -------------------------------------------------------------------------------------------------------


def test_an_image_may_be_15_percent_larger_than_what_it_must_hold() -> None:
    good, bad = (Bytes(whole * MB, 80 * MB, 15 * MB, 5 * MB) for whole in (115, 116))
    assert (good.rest, bad.ratio) == (15 * MB, 1.16)
    assert gates.sized(good).outcome is Outcome.PASS
    assert gates.sized(bad).outcome is Outcome.FAIL
    assert gates.sized(bad).measured == "1.16×, 116.0 MB: base 80.0, runtime 15.0, model 5.0, rest 16.0"

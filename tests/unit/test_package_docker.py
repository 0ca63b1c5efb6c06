"""What templates of images see: the recipe's words, and the entries of a lock for what a session imports."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from conftest import ROOT
from ortolan import runtime
from ortolan.errors import OrtolanError
from ortolan.manifest import TargetPart
from ortolan.package.docker import docker, entries
from ortolan.recipe.docker import Docker

RUNTIMES = [ROOT / "runtimes"]


def target(platform: str = "linux/amd64", package: str = "onnxruntime", version: str = "1.17.3") -> TargetPart:
    versions = [version, "1.31.1"]
    return TargetPart(
        name="x", recipe="recipe:0", platform=platform, package=package, versions=versions, opset=17, providers=["CPU"]
    )


@pytest.mark.parametrize(
    "lock", sorted((ROOT / "runtimes").glob("onnxruntime-1.*/requirements.txt")), ids=lambda p: p.parent.name
)
def test_an_image_gets_onnxruntime_and_numpy_with_every_hash_of_the_lock(lock: Path) -> None:
    found = entries(lock, "onnxruntime")
    assert [re.split("[= ]", one)[0] for one in found] == ["numpy", "onnxruntime"]
    text = lock.read_text()
    for one in found:
        name = one.partition("=")[0]
        behind = text.partition(f"\n{name}==")[2] or text.partition(f"{name}==")[2]
        wanted = re.match(r".*(?:\n    .*)*", behind)
        assert wanted
        assert re.findall("sha256:[0-9a-f]{64}", one) == re.findall("sha256:[0-9a-f]{64}", wanted[0])
        assert one.count("--hash=sha256:") > 5


def test_the_fleets_oldest_version_is_what_an_image_runs() -> None:
    seen = docker(target(), Docker(base="debian:12-slim"), RUNTIMES)
    assert seen["lock"] == "onnxruntime-1.17.3"
    assert any(one.startswith("onnxruntime==1.17.3 ") for one in seen["requirements"])
    assert seen["wheels"] == "x86_64-manylinux_2_28"
    assert (seen["port"], seen["user"], seen["python"]) == (8080, 10001, "3.11")


@pytest.mark.parametrize(("platform", "source"), [("web", "wheels"), ("linux/arm64", "base"), ("linux/arm/v7", "base")])
def test_no_wheels_where_the_base_or_the_page_brings_the_runtime(platform: str, source: str) -> None:
    table = Docker.model_validate({"base": "debian:12-slim", "runtime": source})
    seen = docker(target(platform), table, RUNTIMES)
    assert (seen["requirements"], seen["wheels"], seen["lock"]) == ([], "", "")


def test_nvidias_libraries_come_with_the_gpu_runtime(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text(
        "numpy==2.4.6 \\\n    --hash=sha256:00\nnvidia-cublas==13 \\\n    --hash=sha256:11\nonnxruntime-gpu==1.31.1\nzlib==1\n"
    )
    found = entries(lock, "onnxruntime-gpu")
    assert found == [
        "numpy==2.4.6 \\\n    --hash=sha256:00",
        "nvidia-cublas==13 \\\n    --hash=sha256:11",
        "onnxruntime-gpu==1.31.1",
    ]


def test_a_lock_that_lacks_one_of_them_is_refused(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text("onnxruntime==1.20.1 \\\n    --hash=sha256:00\n")
    with pytest.raises(OrtolanError, match="the lock has no numpy"):
        entries(lock, "onnxruntime")


def test_a_version_that_nobody_locked_says_how_to() -> None:
    with pytest.raises(OrtolanError) as caught:
        docker(target(version="1.21.9"), Docker(base="debian:12-slim"), RUNTIMES)
    assert caught.value.hint == "./inv runtime-add onnxruntime==1.21.9"
    assert runtime.known(RUNTIMES)

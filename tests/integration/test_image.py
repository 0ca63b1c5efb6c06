"""Container images for real: built with a Docker engine and with buildah, started, asked, judged, and removed again."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

import containers
from conftest import ROOT, Workspace
from ortolan import digest, manifest
from ortolan.artifact import Gate, Outcome
from ortolan.errors import OrtolanError
from ortolan.image import Imaged, image, pick
from ortolan.image.context import fill, size
from ortolan.image.order import Order, order
from program import call

pytestmark = pytest.mark.slow
WELL = dict.fromkeys(("image-builds", "image-answers", "image-stops", "image-size", "image-reproducible"), "pass")
TAG = r"digits-mlp-[0-9a-f]{12}-opset17-ort1\.17\.3"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Docker engine with the base image in it."""
    base = containers.base("amd64")
    with containers.engine(tmp_path_factory.mktemp("engine")) as url:
        client = docker.DockerClient(url)
        client.images.load(base.read_bytes())
        yield url


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A storage of buildah's with the base images in it."""
    files = [containers.base("amd64"), containers.base("arm64")]
    with containers.storage(tmp_path_factory.mktemp("storage")) as conf:
        for file in files:
            buildah(conf, "pull", "--quiet", f"docker-archive:{file}")
        yield conf


@pytest.fixture
def with_engine(engine: str, monkeypatch: pytest.MonkeyPatch) -> docker.DockerClient:
    """The engine is the one that DOCKER_HOST names; nothing but images may be left in it."""
    monkeypatch.setenv("DOCKER_HOST", engine)
    return docker.DockerClient(engine)


@pytest.fixture
def with_buildah(storage: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """buildah keeps images in the tests' storage."""
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(storage))
    return storage


def buildah(conf: Path, *words: str) -> str:
    environment = os.environ | {"CONTAINERS_STORAGE_CONF": str(conf)}
    return subprocess.run(["buildah", *words], env=environment, capture_output=True, text=True, check=True).stdout


def ordered(workspace: Workspace, target: str, model: str = "digits-mlp") -> Order:
    [built] = workspace.build(target, model)
    assert built.folder, built.errors
    options = workspace.options()
    return order(built.job.target, built.folder, workspace.cache, options.runtimes, "0123abc")


def gates(made: Imaged) -> dict[str, Gate]:
    return {gate.name: gate for gate in made.gates}


def outcomes(made: Imaged) -> dict[str, str]:
    return {gate.name: str(gate.outcome) for gate in made.gates}


def nothing_left(client: docker.DockerClient) -> None:
    assert client.containers.list(all=True) == []
    assert {network.name for network in client.networks.list()} <= {"bridge", "host", "none"}
    assert not [name for one in client.images.list() for name in one.tags if "trial" in name]


# --- a Docker engine ---------------------------------------------------------------------------------------------


def test_the_verb_builds_an_image_starts_it_and_tells(workspace: Workspace, with_engine: docker.DockerClient) -> None:
    done = call(workspace, "image", "--target", "x86-cpu", "--model", "digits-mlp", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert {gate["name"]: gate["outcome"] for gate in told["gates"]} == WELL | {"image-reproducible": "not-run"}
    assert (told["ok"], told["same_twice"], told["base"]) == (True, None, containers.BASE)
    assert re.fullmatch(f"ortolan/x86-cpu:{TAG}", told["image"])
    answers = next(gate for gate in told["gates"] if gate["name"] == "image-answers")
    assert answers["measured"].startswith("2 of 2 outputs equal, max error 0; Docker: read-only root, no capabilities")
    beside = workspace.root / "build" / "x86-cpu" / f"{told['tag']}.image.json"
    kept = json.loads(beside.read_text())
    assert kept == {key: told[key] for key in kept}
    assert kept["bytes"]["whole"] == sum(kept["bytes"][part] for part in ("base", "runtime", "model", "rest"))
    assert kept["bytes"]["rest"] < 200_000
    assert with_engine.images.get(told["image"]).id == told["id"]
    nothing_left(with_engine)
    again = call(workspace, "image", "--target", "x86-cpu", "--model", "digits-mlp")
    assert again.returncode == 0, again.stderr
    assert f"ortolan/x86-cpu:{told['tag']}  (build/x86-cpu/{told['tag']}.image.json)" in again.stdout
    nothing_left(with_engine)


def test_the_image_says_what_it_is_and_runs_as_nobody(workspace: Workspace, with_engine: docker.DockerClient) -> None:
    workspace.edit("models/digits-mlp.toml", '"Apache-2.0"', json.dumps(HOSTILE))
    given = ordered(workspace, "x86-cpu")
    made = image(given, pick("docker"))
    config = with_engine.images.get(made.name).attrs["Config"]
    about = given.manifest
    assert about.model.licence == HOSTILE
    assert config["User"] == "10001:10001"
    assert config["Labels"] == {
        "org.opencontainers.image.title": "digits-mlp",
        "org.opencontainers.image.version": about.tag,
        "org.opencontainers.image.revision": "0123abc",
        "org.opencontainers.image.licenses": HOSTILE.replace("\n", " "),
        "org.opencontainers.image.base.name": containers.BASE,
        "ortolan.target": "x86-cpu",
        "ortolan.model.hash": about.model.hash,
        "ortolan.model.file": digest.of_file(given.folder / "model.onnx"),
        "ortolan.precision": about.precision,
        "ortolan.opset": "17",
        "ortolan.runtime": "onnxruntime 1.17.3",
    }
    whole = with_engine.containers.run(made.name, ["-c", LOOK], entrypoint="python3", read_only=True, remove=True)
    seen = json.loads(whole)
    assert seen["uid"] == [10001, 10001]
    assert seen["packages"] == ["numpy", "numpy.libs", "onnxruntime", "onnxruntime.libs"]
    assert seen["scripts"] is False
    assert seen["writable"] == []
    assert seen["model"] == ["golden.bin", "golden.json", "model.onnx", "session.json"]
    assert seen["pwned"] is False
    finds_healthy(with_engine, made.name)


HOSTILE = 'MIT" evil="1" \\ $(touch x) ${REVISION} $REVISION `id`\nRUN touch /pwned\n# escape=`'
LOOK = """
import json, os, pathlib
root = pathlib.Path("/opt/ortolan")
writable = [str(path) for path in root.rglob("*") if os.access(path, os.W_OK)]
packages = sorted(path.name for path in (root / "site-packages").iterdir() if not path.name.endswith(".dist-info"))
print(json.dumps({
    "uid": [os.getuid(), os.getgid()], "packages": packages, "scripts": (root / "site-packages/bin").exists(),
    "pwned": os.path.exists("/pwned"), "writable": writable, "model": sorted(os.listdir(root / "model")),
}))
"""


def finds_healthy(client: docker.DockerClient, name: str) -> None:
    """The engine itself runs the health check, without any network."""
    running = client.containers.run(
        name, detach=True, read_only=True, cap_drop=["ALL"], network_mode="none", healthcheck={"interval": 1_000_000_000}
    )
    try:
        assert health(running) == "healthy"
        code, said = running.exec_run(["python3", "-c", "open('/opt/ortolan/x', 'w')"])
        assert code == 1
        assert b"Read-only file system" in said
    finally:
        running.remove(force=True)


def health(running: Any) -> str:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        running.reload()
        if running.attrs["State"]["Health"]["Status"] != "starting":
            break
        time.sleep(0.2)
    return str(running.attrs["State"]["Health"]["Status"])


def own_templates(workspace: Workspace, old: str, new: str, file: str = "serve.py") -> None:
    """The project has templates of its own, with one mistake."""
    folder = workspace.root / "templates" / "docker"
    shutil.copytree(ROOT / "templates" / "docker", folder, ignore=shutil.ignore_patterns("__pycache__"))
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))


def test_an_image_that_answers_otherwise_gets_no_name(workspace: Workspace, with_engine: docker.DockerClient) -> None:
    own_templates(workspace, "name: np.asarray(value)", "name: np.asarray(value) * np.float32(1.01)")
    done = call(workspace, "image", "--target", "x86-cpu", "--model", "digits-mlp", "--json")
    assert done.returncode == 3
    told = json.loads(done.stdout.splitlines()[-1])
    answers = next(gate for gate in told["gates"] if gate["name"] == "image-answers")
    assert answers["outcome"] == "fail"
    assert re.search(r"sample 0, probabilities: \d+ of 10 values beyond tolerance", answers["why"])
    assert told["image"] == ""
    assert not [name for one in with_engine.images.list("ortolan/x86-cpu") for name in one.tags if told["id"] == one.id and name]
    nothing_left(with_engine)


@pytest.mark.parametrize(
    ("file", "old", "new", "gate", "why"),
    [
        ("serve.py", "import numpy as np", "import nunpy as np", "image-answers", "cannot start: No module named 'nunpy'"),
        (
            "healthcheck.py",
            'sample["outputs"].items()',
            '{"lost": sample}.items()',
            "image-answers",
            "its health check ends with 1",
        ),
        ("Dockerfile.j2", "COPY docker/serve.py", "COPY docker/gone.py", "image-builds", "gone.py"),
        ("serve.py", "signal.signal(one, stop)", "signal.signal(one, signal.SIG_IGN)", "image-stops", ""),
    ],
)
def test_what_is_wrong_with_an_image_is_said(
    workspace: Workspace, with_engine: docker.DockerClient, file: str, old: str, new: str, gate: str, why: str
) -> None:
    own_templates(workspace, old, new, file)
    made = image(ordered(workspace, "x86-cpu"), pick("docker"))
    assert gates(made)[gate].outcome is Outcome.FAIL
    assert why in gates(made)[gate].why
    assert [one.name for one in made.gates if one.outcome is Outcome.FAIL] == [gate]
    nothing_left(with_engine)


def test_a_page_is_served_isolated_and_runs_in_a_browser(workspace: Workspace, with_engine: docker.DockerClient) -> None:
    made = image(ordered(workspace, "web"), pick("docker"))
    assert outcomes(made) == WELL | {"image-page": "pass", "image-reproducible": "not-run"}
    assert "2 samples, 2 threads" in gates(made)["image-page"].measured
    nothing_left(with_engine)


@pytest.mark.parametrize(
    ("file", "old", "new", "gate", "why"),
    [
        (
            "static.py",
            '    "Cross-Origin-Embedder-Policy": "require-corp",\n',
            "",
            "image-answers",
            "Cross-Origin-Embedder-Policy",
        ),
        ("page.mjs", "session.run(feeds)", "session.run({})", "image-page", "feed"),
        ("page.mjs", "(a[at] - b[at])", "(a[at] + 1 - b[at])", "image-page", "probabilities differs"),
    ],
)
def test_what_is_wrong_with_a_page_is_said(
    workspace: Workspace, with_engine: docker.DockerClient, file: str, old: str, new: str, gate: str, why: str
) -> None:
    folder = workspace.root / "templates" / "docker-web"
    shutil.copytree(ROOT / "templates" / "docker-web", folder, ignore=shutil.ignore_patterns("__pycache__"))
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))
    made = image(ordered(workspace, "web"), pick("docker"))
    assert gates(made)[gate].outcome is Outcome.FAIL
    assert why in gates(made)[gate].why
    assert with_engine.containers.list(all=True) == []


def test_a_base_that_nobody_has_is_said(workspace: Workspace, with_engine: docker.DockerClient) -> None:
    workspace.edit("targets/x86-cpu.toml", containers.BASE, "registry.invalid/nothing:1")
    with pytest.raises(OrtolanError, match=r"there is no base image registry\.invalid/nothing:1 for linux/amd64") as caught:
        image(ordered(workspace, "x86-cpu"), pick("docker"))
    assert caught.value.hint.startswith("docker pull --platform linux/amd64 registry.invalid/nothing:1")
    nothing_left(with_engine)


def test_a_gpu_that_is_not_here_is_no_failure(workspace: Workspace, with_engine: docker.DockerClient) -> None:
    """The Jetson's base brings its own runtime: the tests' base stands in for it, as only the start is asked about."""
    workspace.edit("targets/jetson-orin.toml", "dustynv/onnxruntime:1.20.2-r36.4.0", containers.BASE_ARM)
    with_engine.images.load(containers.base("arm64").read_bytes())
    given = ordered(workspace, "jetson-orin")
    made = image(given, pick("docker"))
    assert outcomes(made)["image-builds"] == "pass"
    assert outcomes(made)["image-answers"] == "not-run"
    assert "this engine has no NVIDIA runtime" in gates(made)["image-answers"].why
    assert made.bytes
    assert made.bytes.runtime == 0


# --- buildah -----------------------------------------------------------------------------------------------------


def test_buildah_gives_the_same_image_twice_and_runc_starts_it(workspace: Workspace, with_buildah: Path) -> None:
    given = ordered(workspace, "x86-cpu")
    made, again = image(given, pick("buildah")), image(given, pick("buildah"))
    assert outcomes(made) == WELL
    assert made.id == again.id
    assert made.told()["same_twice"] is True
    assert "runc: read-only root, no capabilities, no network" in gates(made)["image-answers"].measured
    about = json.loads(buildah(with_buildah, "inspect", "--type", "image", made.name))
    assert f"sha256:{about['FromImageID']}" == made.id
    assert about["Docker"]["config"]["Healthcheck"]["Test"] == ["CMD", "python3", "/opt/ortolan/healthcheck.py"]
    assert about["Docker"]["config"]["Labels"]["org.opencontainers.image.revision"] == "0123abc"
    assert about["Docker"]["created"] == "1980-01-01T00:00:00Z"
    assert buildah(with_buildah, "containers", "--quiet").split() == []
    assert "trial" not in buildah(with_buildah, "images")


@pytest.mark.usefixtures("with_buildah")
def test_an_image_for_arm_is_built_without_an_emulator_and_starts_with_one(workspace: Workspace) -> None:
    workspace.edit("targets/raspberry-pi-5.toml", containers.BASE, containers.BASE_ARM)
    given = ordered(workspace, "raspberry-pi-5")
    with containers.emulator():
        made = image(given, pick("buildah"))
    assert outcomes(made) == WELL
    assert "linux/arm64" in gates(made)["image-builds"].measured
    assert gates(made)["image-answers"].measured.endswith("emulated")
    assert made.id == json.loads(given.folder.with_name(f"{given.folder.name}.image.json").read_text())["id"]


def test_without_an_emulator_nothing_is_claimed_of_an_image_for_arm(
    workspace: Workspace, with_engine: docker.DockerClient
) -> None:
    if list(Path("/proc/sys/fs/binfmt_misc").glob("*aarch64*")):
        pytest.skip("this kernel takes no emulator away: it has one for all programs")
    with_engine.images.load(containers.base("arm64").read_bytes())
    workspace.edit("targets/raspberry-pi-5.toml", containers.BASE, containers.BASE_ARM)
    made = image(ordered(workspace, "raspberry-pi-5"), pick("docker"))
    assert outcomes(made)["image-builds"] == "pass"
    assert outcomes(made)["image-answers"] == "not-run"
    assert "this machine cannot run linux/arm64 programs" in gates(made)["image-answers"].why
    nothing_left(with_engine)


# --- who builds, and from what -----------------------------------------------------------------------------------


def test_without_a_builder_it_says_what_to_install(workspace: Workspace) -> None:
    def said(*words: str) -> str:
        words = ("image", "--target", "x86-cpu", "--model", "digits-mlp", *words)
        done = call(workspace, *words, DOCKER_HOST="unix:///nowhere.sock", PATH="/nowhere")
        assert done.returncode == 1
        return done.stderr

    assert "nothing here builds images" in said()
    assert "apt-get install buildah" in said()
    assert said("--builder", "docker").startswith("error: docker does not answer")
    assert "there is no buildah on PATH" in said("--builder", "buildah")
    assert "there is no builder 'podman'" in said("--builder", "podman")


def test_a_target_without_an_image_says_how_to_get_one(workspace: Workspace) -> None:
    done = call(workspace, "image", "--target", "android-arm64", "--model", "digits-mlp")
    assert done.returncode == 1
    assert "android-arm64 has no image" in done.stderr
    assert "[outputs.docker]" in done.stderr


def test_the_context_holds_the_same_files_whatever_the_umask(workspace: Workspace, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        given = ordered(workspace, "x86-cpu")
        library = fill(given, tmp_path / "context")
    finally:
        os.umask(before)
    assert library == tmp_path / "context" / "docker" / "site-packages"
    assert size(library) > 50_000_000
    files = [path for path in (tmp_path / "context").rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o644}
    assert not [path for path in files if b"#!" in path.open("rb").read(2) and "/bin/" in str(path)]
    assert manifest.read(given.folder / manifest.NAME) == given.manifest


def test_a_library_that_is_not_the_builds_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    given = ordered(workspace, "web")
    path = given.folder / "web.json"
    path.write_text(re.sub(r'"digest": "sha256:[0-9a-f]{4}', '"digest": "sha256:0000', path.read_text()))
    with pytest.raises(OrtolanError, match="of onnxruntime-web is not the one that the build names"):
        fill(given, tmp_path / "context")

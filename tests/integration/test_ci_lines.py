"""Every line of the pipelines is run, in order, in a clean clone, up to a promoted release in a registry."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml

from conftest import ROOT
from gitlab_runner import Ran, Runner, host
from ortolan.cache import user_cache
from ortolan.runtime.uv import uv
from program import PROGRAM
from registry import PASSWORD, htpasswd, running

TARGET, MODEL = "arm64-cpu", "digits-mlp"
CHECKS = {"lint": ["./inv test --lint"], "test": [".ci/run"]}
"""The lines of jobs that run what this test is a part of: they would run it, and so themselves."""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("registry")
    with running(folder / "own", htpasswd(folder)) as made:
        yield made.host


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone, with what is not committed yet, in which one target and one model are left: whole pipelines take a minute."""
    place = tmp_path_factory.mktemp("clone") / "ortolan"
    git(ROOT, "clone", "--quiet", "--no-hardlinks", ".", str(place))
    for name in git(ROOT, "ls-files", "-z", "--deleted", "--modified", "--others", "--exclude-standard").split("\0"):
        if name and (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place / name)
        elif name:
            (place / name).unlink(missing_ok=True)
    return small(place)


@pytest.fixture(scope="module")
def wheel(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Ortolan as users install it."""
    folder = tmp_path_factory.mktemp("wheel")
    uv(["build", "--quiet", "--wheel", "--out-dir", str(folder), str(clone)], doing="the wheel")
    (made,) = folder.glob("*.whl")
    return str(made)


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    return subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def small(project: Path) -> Path:
    """The same project with one job."""
    for path in (project / "recipes").glob("*/*.toml"):
        if path.stem not in {TARGET, MODEL}:
            path.unlink()
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "-m", "one job")
    return project


def runner(project: Path, folder: Path, registry: str, **more: str) -> Runner:
    """A machine that has the runtimes in its cache, and a release key in a file variable as GitLab makes one."""
    key = folder / "ORTOLAN_KEY"
    folder.mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-b", "256", "-m", "PKCS8", "-N", "", "-f", folder / "made"], check=True)
    shutil.copyfile(folder / "made", key)
    key.chmod(0o666)
    (folder / "home").mkdir()
    given = {
        "CI": "true", "GITLAB_CI": "true", "CI_PROJECT_DIR": str(project), "CI_DEFAULT_BRANCH": "main",
        "CI_COMMIT_SHA": git(project, "rev-parse", "HEAD"), "CI_REGISTRY": registry, "CI_REGISTRY_USER": "maintainer",
        "CI_REGISTRY_PASSWORD": PASSWORD, "CI_REGISTRY_IMAGE": f"{registry}/group/{folder.name}", "ORTOLAN_KEY": str(key),
        "GITLAB_USER_LOGIN": "somebody",
    }  # fmt: skip
    made = Runner(project, folder / "kept", {**given, **more}, host(folder / "home"))
    text = Path(project / ".gitlab-ci.yml").read_text()
    assert "XDG_CACHE_HOME: $CI_PROJECT_DIR/.cache" in text
    made.seed(".cache/ortolan/runtimes", user_cache().runtimes)
    return made


def start(made: Runner) -> list[str]:
    made.pipeline((made.checkout / ".gitlab-ci.yml").read_text())
    return [one.name for one in made.ran]


def job(made: Runner, name: str) -> Ran:
    return next(one for one in reversed(made.ran) if one.name == name)


def released(made: Runner) -> Path:
    (folder,) = (made.kept / "artifacts" / f"release {MODEL} for {TARGET}" / "dist" / TARGET).glob("*/")
    return folder


def channel(made: Runner) -> str:
    """Where the channel leads, asked with the login of somebody else."""
    login = made.checkout.parent / "docker"
    login.mkdir(exist_ok=True)
    encoded = base64.b64encode(f"maintainer:{PASSWORD}".encode()).decode()
    (login / "config.json").write_text(json.dumps({"auths": {made.predefined["CI_REGISTRY"]: {"auth": encoded}}}))
    at = f"oci://{made.predefined['CI_REGISTRY_IMAGE']}"
    env = {**made.host, "PYTHONPATH": str(ROOT / "src"), "DOCKER_CONFIG": str(login)}
    command = [*PROGRAM, "channels", "--at", at, "--target", TARGET, "--model", MODEL]
    said = subprocess.run(command, cwd=made.checkout, env=env, capture_output=True, text=True, check=True).stdout
    match = re.search(r"^stable +(\S+) +(\S+)", said, re.MULTILINE)
    assert match, said
    return " by ".join(match.groups())


BUILDS = [f"{verb} {MODEL} for {TARGET}" for verb in ("build", "release", "promote")]


@pytest.mark.slow
def test_every_line_of_our_own_pipeline_runs_for_a_tag(clone: Path, tmp_path: Path, registry: str) -> None:
    made = runner(clone, tmp_path / "own", registry, CI_COMMIT_TAG="v1", CI_COMMIT_REF_NAME="v1")
    made.replace = lambda name, lines: [":"] if CHECKS.get(name) == lines else lines
    assert start(made) == ["lint", "test", "ci-jobs", *BUILDS]
    reports(made)
    folder = released(made)
    assert {"SHA256SUMS.sig", "model.sig", "bundle.tar.zst"} <= {path.name for path in folder.iterdir()}
    assert channel(made) == f"{folder.name} by somebody"
    assert not (folder.parent / "changes.md").exists()
    git(clone, "commit", "--quiet", "--allow-empty", "-m", "other words")
    start(made)
    assert "nothing to publish" in job(made, BUILDS[1]).said
    recipe = clone / "recipes" / "targets" / f"{TARGET}.toml"
    text = recipe.read_text()
    recipe.write_text(text.replace('["1.20.1", "1.31.1"]', '["1.31.1"]'))
    git(clone, "commit", "--quiet", "--all", "-m", "a younger fleet")
    shutil.rmtree(made.kept / "artifacts")
    start(made)
    recipe.write_text(text)
    git(clone, "commit", "--quiet", "--all", "-m", "as before")
    assert folder.name != released(made).name
    assert folder.name in (released(made).parent / "changes.md").read_text(), "the next release tells what changed"
    assert channel(made) == f"{released(made).name} by somebody"


def reports(made: Runner) -> None:
    left = made.kept / "artifacts" / BUILDS[0] / "build"
    suite = ET.parse(left / "junit.xml").getroot()[0]
    assert suite.attrib["name"] == f"{MODEL} for {TARGET}"
    assert int(suite.attrib["tests"]) > 10
    assert suite.attrib["failures"] == suite.attrib["errors"] == "0"
    assert json.loads((left / "code-quality.json").read_text()) == []
    assert f"{MODEL} for {TARGET}: built" in job(made, BUILDS[0]).after


@pytest.mark.slow
def test_every_line_of_a_users_pipeline_runs_for_a_tag(wheel: str, tmp_path: Path, registry: str) -> None:
    project = tmp_path / "project"
    env = {**host(tmp_path), "PYTHONPATH": str(ROOT / "src")}
    subprocess.run([*PROGRAM, "init", "--folder", project], env=env, capture_output=True, check=True)
    (project / "tests").mkdir()
    (project / "tests" / "requirements.txt").write_text("# nothing\n")
    (project / "tests" / "test_own.py").write_text(
        "import unittest\n\n\nclass Own(unittest.TestCase):\n    def test_it(self) -> None:\n        pass\n"
    )
    git(project, "init", "--quiet", "--initial-branch=main")
    small(project)
    made = runner(project, tmp_path / "users", registry, CI_COMMIT_TAG="v1", ORTOLAN=wheel)
    assert start(made) == ["lint", "test", "ci-jobs", *BUILDS]
    reports(made)
    assert "Ran 1 test" in job(made, "test").said
    assert channel(made) == f"{released(made).name} by somebody"


@pytest.mark.slow
def test_a_failed_gate_fails_its_job_is_reported_and_releases_nothing(clone: Path, tmp_path: Path, registry: str) -> None:
    recipe = clone / "recipes" / "targets" / f"{TARGET}.toml"
    text = recipe.read_text()
    try:
        recipe.write_text(text.replace("64 MB", "1 B"))
        git(clone, "commit", "--quiet", "--all", "-m", "too small")
        made = runner(clone, tmp_path / "failing", registry, CI_COMMIT_TAG="v2")
        made.replace = lambda name, lines: [":"] if name in CHECKS else lines
        with pytest.raises(AssertionError, match=f"{BUILDS[0]} exits with 3"):
            start(made)
    finally:
        recipe.write_text(text)
        git(clone, "commit", "--quiet", "--all", "-m", "as before")
    left = made.kept / "artifacts" / BUILDS[0] / "build"
    assert ET.parse(left / "junit.xml").getroot().attrib["failures"] == "1"
    (finding,) = json.loads((left / "code-quality.json").read_text())
    assert finding["location"]["path"] == f"recipes/targets/{TARGET}.toml"
    assert text.splitlines()[finding["location"]["lines"]["begin"] - 1].startswith("max_size")
    assert [one.name for one in made.ran][-1] == BUILDS[0]


@pytest.mark.slow
def test_a_merge_request_builds_what_it_touches(clone: Path, tmp_path: Path, registry: str) -> None:
    base = git(clone, "rev-parse", "HEAD")
    merge = {"CI_MERGE_REQUEST_IID": "1", "CI_MERGE_REQUEST_DIFF_BASE_SHA": base}
    (clone / "README.md").write_text("words\n")
    git(clone, "commit", "--quiet", "--all", "-m", "words")
    made = runner(clone, tmp_path / "words", registry, **merge)
    made.replace = lambda name, lines: [":"] if name in CHECKS else lines
    assert start(made) == ["lint", "test", "ci-jobs", "nothing to build"]
    assert "0 of 1 jobs are touched" in job(made, "ci-jobs").said
    recipe = clone / "recipes" / "models" / f"{MODEL}.toml"
    recipe.write_text(recipe.read_text() + "\n")
    git(clone, "commit", "--quiet", "--all", "-m", "a recipe")
    assert start(made)[4:] == ["lint", "test", "ci-jobs", BUILDS[0]]


def test_what_is_not_run_here_is_what_contributors_run() -> None:
    found = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())
    for name, lines in CHECKS.items():
        assert found[name]["script"] == lines
    assert "\n    .ci/run " in (ROOT / "CONTRIBUTING.md").read_text()
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith("./inv test --no-skips")

"""``ci-jobs`` and ``gates`` as people and CI systems call them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml

from conftest import Workspace
from program import call

TARGET, MODEL = "arm64-cpu", "digits-mlp"


@pytest.fixture
def project(workspace: Workspace) -> Workspace:
    """A project in git."""
    env = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull}
    for words in (
        ("init", "--quiet"),
        ("add", "--all"),
        ("-c", "user.name=A", "-c", "user.email=a@b", "commit", "--quiet", "-m", "1"),
    ):
        subprocess.run(["git", *words], cwd=workspace.root, env=env, check=True)
    return workspace


def picked(text: str) -> list[tuple[str, str, list[str]]]:
    return [(one["target"], one["model"], one["why"]) for one in json.loads(text)]


def test_a_change_picks_its_jobs_and_says_why(project: Workspace) -> None:
    project.edit(f"targets/{TARGET}.toml", "64 MB", "65 MB")
    done = call(project, "ci-jobs", "--since", "HEAD", "--json")
    assert done.returncode == 0, done.stderr
    why = [f"recipes/targets/{TARGET}.toml"]
    assert picked(done.stdout) == [(TARGET, "digits", why), (TARGET, MODEL, why)]
    assert done.stderr == "2 of 26 jobs are touched by what changed since HEAD\n"
    shown = call(project, "ci-jobs", "--since", "HEAD", "--out", "build/ci-jobs.yml")
    assert [line.split() for line in shown.stdout.splitlines()][1:] == [[TARGET, "digits", *why], [TARGET, MODEL, *why]]
    written = yaml.safe_load((project.root / "build" / "ci-jobs.yml").read_text())
    assert written == yaml.safe_load(call(project, "ci-jobs", "--since", "HEAD").stdout)
    assert f"build {MODEL} for {TARGET}" in written


@pytest.mark.parametrize("since", ["", "0" * 40, "no-such-branch"])
def test_where_the_change_is_not_known_all_jobs_are_there(project: Workspace, since: str) -> None:
    done = call(project, "ci-jobs", "--since", since, "--json")
    assert done.returncode == 0, done.stderr
    assert len(picked(done.stdout)) == 26
    assert done.stderr.startswith("all 26 jobs: ")
    assert since in done.stderr


def test_a_folder_without_git_has_all_jobs(workspace: Workspace) -> None:
    done = call(workspace, "ci-jobs", "--since", "HEAD", "--json", GIT_CEILING_DIRECTORIES=str(workspace.root.parent))
    assert len(picked(done.stdout)) == 26
    assert "not a git repository" in done.stderr


def test_a_project_that_is_reached_by_a_link_is_the_same(project: Workspace, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(project.root)
    (project.root / "README.md").write_text("words\n")
    done = call(project, "ci-jobs", "--since", "HEAD", "--json", cwd=tmp_path / "link", PWD=str(tmp_path / "link"))
    assert (done.returncode, done.stdout) == (0, "[]\n")
    assert done.stderr == "0 of 26 jobs are touched by what changed since HEAD\n"


def test_a_broken_recipe_stops_the_pipeline(project: Workspace) -> None:
    project.edit("targets/web.toml", "[gates]", "[gate]")
    done = call(project, "ci-jobs", "--since", "HEAD", "--out", "jobs.yml")
    assert done.returncode == 2
    assert "recipes/targets/web.toml:" in done.stderr
    assert not (project.root / "jobs.yml").exists()


def test_one_target_is_enough(project: Workspace) -> None:
    assert [one[:2] for one in picked(call(project, "ci-jobs", "--target", "web", "--json").stdout)] == [
        ("web", "digits"),
        ("web", MODEL),
    ]
    assert call(project, "ci-jobs", "--target", "wep").returncode == 2


# --- gates ---------------------------------------------------------------------------------------------------------


def test_gates_tell_of_the_last_builds(project: Workspace) -> None:
    project.build(TARGET, MODEL)
    done = call(project, "gates", "--target", TARGET)
    assert done.returncode == 0, done.stderr
    head, header, *rows = done.stdout.splitlines()
    assert head.startswith(f"{MODEL} for {TARGET}: built, ")
    assert header.split()[:3] == ["gate", "of", "outcome"]
    assert any(row.split()[:3] == ["size", "shipped", "pass"] for row in rows)
    (told,) = json.loads(call(project, "gates", "--json").stdout)
    assert (told["target"], told["model"], told["ok"], told["errors"]) == (TARGET, MODEL, True, [])
    assert call(project, "gates", "--strict").returncode == 0


def test_a_failed_gate_is_reported_and_strict_ends_with_three(project: Workspace, tmp_path: Path) -> None:
    project.edit(f"targets/{TARGET}.toml", "64 MB", "1 B")
    project.build(TARGET, MODEL)
    reports = ("--junit", str(tmp_path / "new" / "junit.xml"), "--code-quality", str(tmp_path / "quality.json"))
    done = call(project, "gates", *reports, "--strict")
    assert done.returncode == 3
    assert done.stdout.startswith(f"{MODEL} for {TARGET}: not built, ")
    assert ET.parse(tmp_path / "new" / "junit.xml").getroot().attrib["failures"] == "1"
    (finding,) = json.loads((tmp_path / "quality.json").read_text())
    assert finding["location"]["path"] == f"recipes/targets/{TARGET}.toml"
    text = (project.root / finding["location"]["path"]).read_text().splitlines()
    assert text[finding["location"]["lines"]["begin"] - 1].startswith("max_size")
    assert call(project, "gates").returncode == 0, "it is a report"


def test_a_waived_gate_is_a_finding_and_no_failure(project: Workspace, tmp_path: Path) -> None:
    project.edit(f"targets/{TARGET}.toml", "64 MB", "1 B")
    project.build(TARGET, MODEL)
    words = ("--reason", "EDGE-17", "--who", "a@example.com", "--expires", "2999-12-31")
    waived = call(project, "waive", "size", "--target", TARGET, "--model", MODEL, *words)
    assert waived.returncode == 0, waived.stderr
    assert call(project, "build", "--target", TARGET, "--model", MODEL, "--no-emulation").returncode == 0
    quality = tmp_path / "quality.json"
    assert call(project, "gates", "--strict", "--code-quality", str(quality)).returncode == 0
    (finding,) = json.loads(quality.read_text())
    assert finding["severity"] == "minor"
    assert "EDGE-17" in finding["description"]


def test_nothing_built_is_no_report(project: Workspace, tmp_path: Path) -> None:
    done = call(project, "gates", "--junit", str(tmp_path / "junit.xml"))
    assert done.returncode == 1
    assert "nothing that is asked for was built" in done.stderr
    assert not (tmp_path / "junit.xml").exists()

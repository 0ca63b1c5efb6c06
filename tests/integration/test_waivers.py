"""Builds with waivers: a failed gate ships with one, is listed, and fails again when it expires or the model changes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from conftest import Workspace
from ortolan import manifest
from program import call

BUILD = ("build", "--target", "arm64-cpu", "--model", "digits-mlp", "--no-emulation")
DAY = datetime.now(UTC).date() + timedelta(days=30)
WHO = ("--who", "the release manager", "--reason", "fits after EDGE-17")


@pytest.fixture
def too_large(workspace: Workspace) -> Workspace:
    """A project whose size gate fails."""
    workspace.edit("targets/arm64-cpu.toml", 'max_size = "64 MB"', 'max_size = "1 kB"')
    return workspace


def waive(project: Workspace, *more: str) -> Path:
    words = ("waive", "size", "--target", "arm64-cpu", "--model", "digits-mlp", "--expires", str(DAY), *WHO, *more)
    done = call(project, *words)
    assert done.returncode == 0, done.stderr
    return project.root / "waivers" / "arm64-cpu-digits-mlp-size.toml"


def test_a_failed_gate_ships_with_a_waiver_and_only_then(too_large: Workspace) -> None:
    failed = call(too_large, *BUILD)
    assert failed.returncode == 3
    path = waive(too_large)
    done = call(too_large, *BUILD)
    assert done.returncode == 0, done.stderr
    assert f"waived by the release manager until {DAY}: fits after EDGE-17" in done.stdout
    (made,) = manifest.find(too_large.root / "build", next((too_large.root / "build" / "arm64-cpu").glob("digits-mlp-*")).name)
    kept = manifest.read(made)
    assert [(w.gate, w.subject, w.who, w.expires) for w in kept.waivers] == [("size", "shipped", "the release manager", str(DAY))]
    assert {gate.name: gate.outcome for gate in kept.gates}["size"] == "waived"

    path.write_text(path.read_text().replace(str(DAY), "2026-01-01"))
    expired = call(too_large, *BUILD)
    assert expired.returncode == 3
    assert "waivers/arm64-cpu-digits-mlp-size.toml does not count: it expired on 2026-01-01" in expired.stdout


def test_another_model_needs_another_waiver(too_large: Workspace) -> None:
    call(too_large, *BUILD)
    path = waive(too_large)
    text = path.read_text()
    start = text.index("sha256:") + len("sha256:")
    path.write_text(text[:start] + "0" * 64 + text[text.index('"', start) :])
    done = call(too_large, *BUILD)
    assert done.returncode == 3
    assert "does not count: it is for the model sha256:0000" in done.stdout


def test_a_build_with_waivers_is_judged_anew_each_time(too_large: Workspace) -> None:
    """Tomorrow they may have expired: such a build is never taken for up to date without looking."""
    call(too_large, *BUILD)
    waive(too_large)
    assert call(too_large, *BUILD).returncode == 0
    events = [json.loads(line)["kind"] for line in call(too_large, *BUILD, "--json").stdout.splitlines()]
    assert "plan" in events


def test_the_list_says_which_count_today(too_large: Workspace) -> None:
    call(too_large, *BUILD)
    path = waive(too_large)
    (listed,) = json.loads(call(too_large, "waivers", "--json").stdout)
    assert (listed["gate"], listed["target"], listed["today"]) == ("size", "arm64-cpu", "counts")
    path.write_text(path.read_text().replace(str(DAY), "2026-01-01"))
    assert "expired" in call(too_large, "waivers").stdout


def test_a_gate_that_did_not_fail_and_a_second_waiver_are_refused(too_large: Workspace) -> None:
    nothing = call(too_large, "waive", "size", "--target", "arm64-cpu", "--model", "digits-mlp", "--expires", str(DAY), *WHO)
    assert (nothing.returncode, "no build of digits-mlp for arm64-cpu" in nothing.stderr) == (1, True)
    call(too_large, *BUILD)
    waive(too_large)
    again = call(too_large, "waive", "size", "--target", "arm64-cpu", "--model", "digits-mlp", "--expires", str(DAY), *WHO)
    assert "there is a waiver already" in again.stderr
    other = call(too_large, "waive", "opset", "--target", "arm64-cpu", "--model", "digits-mlp", "--expires", str(DAY), *WHO)
    assert (other.returncode, "opset did not fail" in other.stderr, "failed were: size" in other.stderr) == (1, True, True)


def test_no_waivers_are_told_in_a_sentence(workspace: Workspace) -> None:
    assert call(workspace, "waivers").stdout == f"no waivers in {workspace.root}/waivers: nothing ships with a failed gate\n"
    assert json.loads(call(workspace, "waivers", "--json").stdout) == []


def test_a_mistake_in_a_waiver_stops_the_build_with_its_line(too_large: Workspace) -> None:
    (too_large.root / "waivers").mkdir()
    (too_large.root / "waivers" / "one.toml").write_text('gate = "size"\n')
    done = call(too_large, *BUILD)
    assert done.returncode == 2
    assert "waivers/one.toml:1: " in done.stderr

"""The wrapper ``inv``, run for real in copies whose path has a blank, with a small lock and tasks of their own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TASKS = """
import json, os, sys, time
from invoke import task

@task
def tell(c, text=""):
    import ortolan
    print(json.dumps({"text": text, "cwd": os.getcwd(), "ortolan": ortolan.__file__, "python": sys.executable, "path": sys.path}))

@task
def fail(c, code=7):
    sys.exit(code)

@task
def wait(c):
    print("waiting", flush=True)
    time.sleep(60)
"""
TOOLS = ("sh", "cat", "cmp", "cp", "mkdir", "mv", "readlink", "rm", "tail")


def copy(folder: Path) -> Path:
    """A checkout with the wrapper, only Invoke in its lock, and three tasks."""
    (folder / "src" / "ortolan").mkdir(parents=True)
    (folder / "src" / "ortolan" / "__init__.py").touch()
    shutil.copy(ROOT / "inv", folder)
    (folder / "tasks.py").write_text(TASKS)
    stanza = re.search(r"^invoke==.*?(?=^\S|\Z)", (ROOT / "requirements.lock").read_text(), re.DOTALL | re.MULTILINE)
    assert stanza
    (folder / "requirements.lock").write_text(stanza[0])
    return folder / "inv"


@pytest.fixture(scope="module")
def inv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that is set up."""
    path = copy(tmp_path_factory.mktemp("made") / "a b")
    first = call([path, "fail", "--code=0"])
    assert first.returncode == 0, first.stderr
    assert first.stdout == ""
    assert len(first.stderr.splitlines()) <= 2
    assert "setting up .venv with Python 3." in first.stderr
    return path


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A PATH with the few tools that the wrapper needs, and no Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found
        (folder / tool).symlink_to(found)
    return folder


def call(
    command: Sequence[str | Path], cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)), cwd=cwd, env=os.environ | (env or {}), capture_output=True, text=True, check=False, timeout=300
    )


def told(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    answer: dict[str, str] = json.loads(done.stdout)
    return answer


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.slow
def test_arguments_and_the_current_folder_pass_through(inv: Path, tmp_path: Path) -> None:
    answer = told(call([inv, "tell", "--text", "two  blanks, 'quotes' and a $"], cwd=tmp_path))
    assert answer["text"] == "two  blanks, 'quotes' and a $"
    assert answer["cwd"] == str(tmp_path)
    assert answer["ortolan"] == str(inv.parent / "src" / "ortolan" / "__init__.py")
    assert answer["python"] == str(inv.parent / ".venv" / "bin" / "python")


@pytest.mark.slow
def test_exit_codes_pass_through(inv: Path) -> None:
    assert call([inv, "fail", "--code=9"]).returncode == 9
    assert call([inv, "no-such-verb"]).returncode == 1


@pytest.mark.slow
def test_ctrl_c_passes_through(inv: Path) -> None:
    with subprocess.Popen([inv, "wait"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout
        assert running.stdout.readline() == "waiting\n"
        running.send_signal(signal.SIGINT)
        start = time.monotonic()
        assert running.wait(30) != 0
        assert time.monotonic() - start < 30


@pytest.mark.slow
@pytest.mark.parametrize("start", ["./a b/inv", "link", "./deep/link", "chain"])
def test_it_works_through_links_and_from_any_folder(inv: Path, start: str) -> None:
    top = inv.parent.parent
    (top / "deep").mkdir(exist_ok=True)
    links = {"link": "a b/inv", "deep/link": "../a b/inv", "chain": "deep/link"}
    for name, target in links.items():
        if not (top / name).is_symlink():
            (top / name).symlink_to(target)
    assert told(call(["sh", start, "tell"], cwd=top))["cwd"] == str(top)
    assert told(call([top / start, "tell"], cwd=top / "deep"))["cwd"] == str(top / "deep")


@pytest.mark.slow
def test_it_works_from_path(inv: Path) -> None:
    assert told(call(["inv", "tell"], env={"PATH": f"{inv.parent}:{os.environ['PATH']}"}))["text"] == ""


@pytest.mark.slow
def test_nothing_outside_shadows_what_is_locked(inv: Path, tmp_path: Path) -> None:
    (tmp_path / "invoke.py").write_text("raise SystemExit('shadowed')")
    assert str(tmp_path) not in told(call([inv, "tell"], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}))["path"]


@pytest.mark.slow
def test_later_calls_need_neither_network_nor_python(inv: Path, bare: Path) -> None:
    answer = told(call([inv, "tell"], env={"PATH": str(bare), "PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_FIND_LINKS": ""}))
    assert answer["python"].startswith(str(inv.parent))


@pytest.mark.slow
def test_a_changed_lock_is_installed_anew(inv: Path, tmp_path: Path) -> None:
    path = copy(tmp_path / "checkout")
    shutil.copytree(inv.parent / ".venv", path.parent / ".venv", symlinks=True)
    told(call([path, "tell"]))
    with (path.parent / "requirements.lock").open("a") as lock:
        lock.write("# one more line\n")
    assert "setting up" in call([path, "tell"]).stderr
    told(call([path, "tell"]))


@pytest.mark.slow
def test_an_environment_without_its_python_is_made_anew(inv: Path, tmp_path: Path) -> None:
    path = copy(tmp_path / "checkout")
    shutil.copytree(inv.parent / ".venv", path.parent / ".venv", symlinks=True)
    for python in (path.parent / ".venv" / "bin").glob("python*"):
        python.unlink()
        python.symlink_to("/nonexistent/python")
    assert "setting up" in call([path, "tell"]).stderr
    told(call([path, "tell"]))


@pytest.mark.slow
def test_two_first_calls_at_once_and_one_that_was_killed(tmp_path: Path) -> None:
    path = copy(tmp_path / "a b")
    killed = subprocess.Popen([path, "tell"], start_new_session=True, stderr=subprocess.DEVNULL)
    while not (path.parent / ".venv" / "bin").is_dir():
        assert killed.poll() is None
        time.sleep(0.05)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    both = [subprocess.Popen([path, "tell"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [one.communicate(timeout=300) for one in both]
    assert [one.returncode for one in both] == [0, 0], outputs
    assert all(json.loads(out)["text"] == "" for out, _ in outputs)
    assert sorted("setting up .venv with" in err for _, err in outputs) == [False, True]


@pytest.mark.slow
def test_what_pip_says_is_shown_when_it_fails_and_the_next_call_tries_again(tmp_path: Path) -> None:
    path = copy(tmp_path / "checkout")
    lock = path.parent / "requirements.lock"
    good = lock.read_text()
    lock.write_text(re.sub(r"sha256:[0-9a-f]{64}", "sha256:" + "0" * 64, good))
    done = call([path, "tell"])
    assert done.returncode == 1
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in done.stderr
    assert f"could not install requirements.lock; above is the end of {path.parent}/.venv/setup.log" in done.stderr
    lock.write_text(good)
    assert call([path, "tell"]).returncode == 0


@pytest.mark.parametrize("names", [[], ["python3"], ["python3", "python3.11", "python"]])
def test_no_python_or_too_old_a_one_is_one_line(tmp_path: Path, bare: Path, names: list[str]) -> None:
    for name in names:
        script(bare / name, "exit 1")
    done = call([copy(tmp_path / "checkout"), "tell"], env={"PATH": str(bare)})
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert "Python 3.11 or newer is needed" in done.stderr
    assert not (tmp_path / "checkout" / ".venv").exists()


def test_a_python_without_venv_names_the_package(tmp_path: Path, bare: Path) -> None:
    script(bare / "python3", f'case "$*" in *ensurepip*) exit 1 ;; esac\nexec "{sys.executable}" "$@"')
    done = call([copy(tmp_path / "checkout"), "tell"], env={"PATH": str(bare)})
    assert done.returncode == 1
    assert done.stderr == "inv: python3 has no venv module; on Debian and Ubuntu: apt install python3-venv\n"


@pytest.mark.slow
def test_a_second_python_that_has_venv_is_taken(tmp_path: Path, bare: Path) -> None:
    script(bare / "python3.11", f'case "$*" in *ensurepip*) exit 1 ;; esac\nexec "{sys.executable}" "$@"')
    script(bare / "python3", f'exec "{sys.executable}" "$@"')
    done = call([copy(tmp_path / "checkout"), "tell"], env={"PATH": str(bare)})
    assert done.returncode == 0, done.stderr


def test_it_is_a_script_for_any_posix_shell() -> None:
    text = (ROOT / "inv").read_text()
    assert text.startswith("#!/bin/sh\n")
    assert not re.search(r"\[\[|\blocal\b|\bfunction\b|\bsource\b|=\(|<<<|\$'", text)
    for shell in filter(None, map(shutil.which, ("dash", "bash", "busybox"))):
        flags = ["sh", "-n"] if shell.endswith("busybox") else ["-n"]
        assert call([shell, *flags, ROOT / "inv"]).returncode == 0

"""Where the kernel cannot confine a model's code, Python's audit hook stops its accidents."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "ortolan"
ENTER = """
import os, sys, shutil, tempfile
from pathlib import Path
sys.path.insert(0, {package!r})
from stages.lib import confine
OUT = Path({outside!r})
before = os.getcwd()
assert confine.enter(Path("out")) == {{"network": "audit hook", "files": "audit hook"}}
{code}
"""


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Somebody's folder with a file, beside the step's own."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine").write_text("mine")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "there").write_text("theirs")
    return tmp_path / "outside"


def run(outside: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Code in a process whose environment says what keeps it in, as enter leaves it where the kernel has nothing."""
    by = '{"network": "audit hook", "files": "audit hook"}'
    script = ENTER.format(package=str(PACKAGE), outside=str(outside), code=code)
    return subprocess.run(
        [sys.executable, "-B", "-c", script], cwd=outside.parent / "own", env={"PATH": os.defpath, "ORTOLAN_CONFINED": by},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "code",
    [
        "os.chdir(OUT)",
        "os.chdir(os.open(OUT, os.O_RDONLY))",
        "os.chdir(OUT)\nopen('there', 'w')",
        "os.rename('mine', OUT / 'new')",
        "os.rename(OUT / 'there', 'new')",
        "os.replace('mine', str(OUT / 'there'))",
        "os.rename('mine', 'there', dst_dir_fd=os.open(OUT, os.O_RDONLY))",
        "os.link(OUT / 'there', 'new')",
        "os.link('mine', OUT / 'new')",
        "os.symlink(OUT / 'there', 'new')",
        "os.symlink('../outside/there', 'new')",
        "os.symlink('there', OUT / 'new')",
        "os.remove(OUT / 'there')",
        "os.remove('there', dir_fd=os.open(OUT, os.O_RDONLY))",
        "os.mkdir(OUT / 'new')",
        "os.mkdir('../outside/new')",
        "os.truncate(OUT / 'there', 0)",
        "os.chmod(OUT / 'there', 0)",
        "os.utime(OUT / 'there')",
        "open(OUT / 'new', 'w')",
        "open(OUT / 'there', 'r+')",
        "os.open(OUT / 'there', os.O_RDONLY | os.O_TRUNC)",
        "import socket\nsocket.socket()",
        "import subprocess\nsubprocess.run(['true'])",
        "os.fork()",
        "os.kill(os.getppid(), 0)",
    ],
)
def test_what_leads_outside_is_refused(outside: Path, code: str) -> None:
    ran = run(outside, code)
    assert ran.returncode == 1
    assert "PermissionError" in ran.stderr
    assert "is refused to code from a model file" in ran.stderr
    assert [path.name for path in outside.iterdir()] == ["there"]
    assert (outside / "there").read_text() == "theirs"
    assert (outside.parent / "own" / "mine").read_text() == "mine"


def test_its_own_folder_is_its_own_wherever_in_it_the_code_stands(outside: Path) -> None:
    code = """
os.makedirs('a/b')
os.chdir('a')
open('b/x', 'w').close()
os.rename('b/x', '../y')
os.symlink('../y', 'z')
os.link('../y', 'w')
os.chmod('w', 0o600)
os.chdir(os.open('b', os.O_RDONLY))
tempfile.mkdtemp(dir='.')
open(os.devnull, 'w').close()
os.chdir(before)
shutil.rmtree('a')
"""
    ran = run(outside, code)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert sorted(path.name for path in (outside.parent / "own").iterdir()) == ["mine", "y"]


def test_reads_stay_free(outside: Path) -> None:
    assert run(outside, "print((OUT / 'there').read_text())").stdout == "theirs\n"

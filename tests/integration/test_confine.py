"""Code from a trusted pickle: what it tries outside its folder fails, and the kernel is what stops it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import RunStage, StageRun, Workspace
from estimator_models import made
from ortolan.stages.lib import confine

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="seccomp and Landlock are Linux's")
_SAVE = """
import sys, joblib
class Evil:
    def __reduce__(self):
        return (exec, (CODE,))
joblib.dump(Evil(), sys.argv[1])
"""


def load(run_stage: RunStage, folder: Path, code: str, *, trust: bool = True) -> StageRun:
    folder = folder / "m"
    folder.mkdir()
    made(folder / "evil.pkl", _SAVE.replace("CODE", repr(code)))
    params = {"framework": "sklearn", "file": "evil.pkl", "trust": trust, "inputs": [], "outputs": [], "opset": 17}
    return run_stage("export_estimator", "sklearn", {"source": folder}, params)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "kept_in_by"),
    [
        ("import socket; socket.create_connection(('127.0.0.1', PORT), 2)", "PermissionError"),
        ("import socket; socket.socket(socket.AF_UNIX)", "PermissionError"),
        ("open('OUTSIDE/written', 'w')", "PermissionError"),
        ("import os; os.mkdir('OUTSIDE/made')", "PermissionError"),
        ("import os; os.remove('OUTSIDE/there')", "PermissionError"),
        ("open('OUTSIDE/there').read()", "PermissionError"),
        ("import os; os.chmod('OUTSIDE/there', 0o777)", "PermissionError"),
        ("import subprocess; subprocess.run('echo x > OUTSIDE/written', shell=True, check=True)", "CalledProcessError"),
        ("import os; os.kill(os.getppid(), 0)", "PermissionError"),
        ("import ctypes, os; assert ctypes.CDLL(None).open(b'OUTSIDE/written', 65, 0o600) >= 0", "AssertionError"),
        ("import os; open(f'/proc/{os.getppid()}/environ').read()", "PermissionError"),
        ("import os; os.listdir('/dev')", "PermissionError"),
        ("import subprocess; subprocess.run(['true'], start_new_session=True)", "PermissionError"),
        ("import subprocess; subprocess.run(['true'], process_group=0)", "PermissionError"),
        ("import os, fcntl; fcntl.fcntl(os.pipe()[0], fcntl.F_SETOWN, os.getppid())", "PermissionError"),
        ("import os, fcntl; fcntl.fcntl(os.pipe()[0], 10, 9)", "PermissionError"),
        ("import os, fcntl, struct; fcntl.fcntl(os.pipe()[0], 15, struct.pack('ii', 1, os.getppid()))", "PermissionError"),
        (
            "import os, socket, fcntl, struct; fcntl.ioctl(socket.socketpair()[0], 0x8901, struct.pack('i', os.getppid()))",
            "PermissionError",
        ),
        ("import os, resource; resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE)", "PermissionError"),
        ("import os; open('own', 'w').write('x'); os.truncate('own', 0)", "PermissionError"),
        ("import threading, os\nt = threading.enumerate()\nos.listdir('OUTSIDE')", "PermissionError"),
    ],
)
def test_what_a_pickle_does_outside_its_folder_is_stopped(
    tmp_path: Path, run_stage: RunStage, code: str, kept_in_by: str
) -> None:
    source, outside = tmp_path / "source", tmp_path / "outside"
    source.mkdir()
    outside.mkdir()
    (outside / "there").write_text("mine")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        script = code.replace("PORT", str(server.getsockname()[1])).replace("OUTSIDE", str(outside))
        refused = load(run_stage, source, script).refused
        with pytest.raises(TimeoutError):
            server.accept()
    assert refused, "it was not stopped"
    assert refused["what"] == "loading evil.pkl failed"
    assert kept_in_by in refused["why"]
    assert [path.name for path in outside.iterdir()] == ["there"]
    assert (outside / "there").read_text() == "mine"
    assert (outside / "there").stat().st_mode & 0o777 != 0o777


@pytest.mark.slow
def test_what_libraries_need_is_left(tmp_path: Path, run_stage: RunStage) -> None:
    code = (
        "import os, resource, subprocess\nresource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.prlimit(os.getpid(), resource.RLIMIT_NOFILE)\nopen('/dev/urandom', 'rb').read(1)\n"
        "open('/dev/null', 'w').write('x')\n"
        "subprocess.run(['true'], check=True)\n"
        "os.ftruncate(os.open('own', os.O_RDWR | os.O_CREAT), 3)\nraise ValueError('all of it')"
    )
    refused = load(run_stage, tmp_path, code).refused
    assert refused
    assert "ValueError: all of it" in refused["why"]


@pytest.mark.slow
def test_a_child_does_not_outlive_the_step(tmp_path: Path, run_stage: RunStage) -> None:
    code = (
        "import os, time\nif child := os.fork():\n    raise ValueError(f'child {child}.')\n"
        "for leave, given in ((os.setsid, ()), (os.setpgid, (0, 0))):\n"
        "    try:\n        leave(*given)\n    except OSError:\n        pass\n"
        "time.sleep(600)"
    )
    refused = load(run_stage, tmp_path, code).refused
    assert refused
    assert "child " in refused["why"]
    about = Path("/proc") / refused["why"].partition("child ")[2].partition(".")[0] / "stat"
    until = time.monotonic() + 20
    while running(about) and time.monotonic() < until:
        time.sleep(0.05)
    assert not running(about)


def running(about: Path) -> bool:
    """Whether a process is there that has not ended: one that waits to be reaped has (proc(5))."""
    try:
        return about.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


_SIGNAL = """
import ctypes, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from stages.lib import landlock, syscalls
if syscalls.call("landlock_create_ruleset", None, ctypes.c_size_t(0), ctypes.c_uint32(1)) < 6:
    sys.exit(77)
syscalls.give_up_privileges()
os.kill(os.getppid(), 0)
landlock.restrict([Path("/")], [])
os.kill(os.getpid(), 0)
try:
    os.kill(os.getppid(), 0)
except PermissionError:
    sys.exit(0)
sys.exit(1)
"""


def test_landlock_by_itself_keeps_signals_in_where_it_can() -> None:
    """Whatever way to a signal the filter of system calls forgets."""
    package = Path(confine.__file__).parents[2]
    ran = subprocess.run([sys.executable, "-c", _SIGNAL, package], capture_output=True, text=True, check=False)
    assert ran.returncode in {0, 77}, ran.stderr  # 77: Linux before 6.12 has no such scope


@pytest.mark.slow
def test_a_link_in_place_of_an_output_is_no_output(workspace: Workspace, tmp_path: Path) -> None:
    """Code may end the step by itself and leave a link to what it cannot read; the builder could."""
    secret = tmp_path / "secret"
    secret.write_text("mine")
    code = (
        f"import os, json\nos.symlink({str(secret)!r}, 'out/model.onnx')\n"
        "json.dump({'facts': {}}, open('result.json', 'w'))\nos._exit(0)"
    )
    made(workspace.root / "recipes" / "models" / "evil.pkl", _SAVE.replace("CODE", repr(code)))
    workspace.add("models/evil.toml", '[source]\nfile = "evil.pkl"\ntrust = true\n')
    (built,) = workspace.build("x86-cpu", "evil")
    assert not built.ok
    assert "left what is no plain file: out/model.onnx" in str(built.errors[0])


@pytest.mark.slow
def test_without_trust_nothing_of_it_runs(tmp_path: Path, run_stage: RunStage) -> None:
    refused = load(run_stage, tmp_path, f"open('{tmp_path}/written', 'w')", trust=False).refused
    assert refused
    assert "a pickle runs what its author put in" in refused["why"]
    assert not (tmp_path / "written").exists()


@pytest.mark.slow
def test_its_home_and_its_folder_are_its_own(tmp_path: Path, run_stage: RunStage) -> None:
    code = "import os, pathlib\npathlib.Path.home().joinpath('x').write_text('x')\nraise ValueError(os.environ['HOME'])"
    refused = load(run_stage, tmp_path, code).refused
    assert refused
    assert "ValueError: home" in refused["why"], "it stands in the step's folder, which a refusal leaves out"
    assert str(Path.home()) not in refused["why"]


@pytest.mark.slow
def test_a_thread_that_was_there_before_is_no_way_out(tmp_path: Path, run_stage: RunStage) -> None:
    """The worker's own thread is started anew under the restrictions: it calls os._exit, which code can replace."""
    outside = tmp_path / "outside"
    outside.mkdir()
    code = (
        "import os, sys, time\n"
        f"os._exit = lambda code: open('{outside}/written', 'w')\n"
        "os.write(os.open(f'/proc/self/fd/{sys.argv[1]}', os.O_WRONLY), b'x')\n"
        "time.sleep(0.5)\nraise ValueError('done')"
    )
    (tmp_path / "source").mkdir()
    load(run_stage, tmp_path / "source", code)
    assert not list(outside.iterdir())

"""The emulated ARM as a device: errands are carried out there as on a host over ssh; ``doctor`` and ``bench`` take it by name."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import emulation
import ssh_device
from conftest import ROOT, Workspace
from ortolan.cache import Cache
from ortolan.devices.fleet import Emulators, side_by_side
from ortolan.errors import RuntimeSetupError
from ortolan.place import Errand, Host, HostError, emulated
from ortolan.platforms import host_platform
from ortolan.recipe.fleet import NamedDevice
from ortolan.runtime import emulated as runtimes
from ortolan.runtime.rootfs import RECIPE
from ortolan.verbs import project
from program import call

pytestmark = pytest.mark.skipif(host_platform() == "linux/arm64", reason="no emulated ARM here: this is one")
RUNTIME = "onnxruntime-1.20.1"
EMULATORS = Emulators([ROOT / "runtimes"], emulation.CACHE)


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Host]:
    """The emulated ARM, with a folder of its own for what is sent to it."""
    emulation.arm(RUNTIME)
    with emulated("emulated", "arm64", RUNTIME, EMULATORS.folders, EMULATORS.runtimes, sent=tmp_path / "cache") as made:
        yield made


def errand(code: str, limit: float = 60, files: dict[str, Path] | None = None, outputs: tuple[str, ...] = ("log.txt",)) -> Errand:
    return Errand(("{python}", "-c", code), files or {}, limit, outputs)


def test_a_command_runs_there_with_its_files_and_leaves_its_outputs(there: Host, tmp_path: Path) -> None:
    file = tmp_path / "given"
    file.write_bytes(os.urandom(1000))
    code = "import platform, onnxruntime, shutil; shutil.copy('in/x', 'out'); print(platform.machine(), onnxruntime.__version__)"
    ended = there.run(errand(code, files={"in/x": file}, outputs=("out", "log.txt")), tmp_path)
    assert (ended.code, ended.late) == (0, False)
    assert (tmp_path / "log.txt").read_text() == "aarch64 1.20.1\n"
    assert (tmp_path / "out").read_bytes() == file.read_bytes()
    assert there.emulates.startswith("cortex-a76 by qemu-aarch64 version")
    assert list((tmp_path / "cache" / "ortolan-worker" / "jobs").iterdir()) == []


def test_a_command_is_ended_there_by_its_time_limit_and_with_its_host(there: Host, tmp_path: Path) -> None:
    ended = there.run(errand("import time; print('up', flush=True); time.sleep(600)", limit=1), tmp_path)
    assert ended.late
    there.close()
    assert list((tmp_path / "cache" / "ortolan-worker" / "jobs").iterdir()) == []
    with pytest.raises(Exception, match="was stopped"):
        there.run(errand("print(1)"), tmp_path)


def test_what_it_was_sent_lies_beside_the_runtimes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So ``clean --runtimes`` removes it, too, and the user's own folder is left as it is."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "users"))
    cache = Cache(tmp_path / "cache", tmp_path / "cache" / "runtimes")
    (tmp_path / "given").write_text("x")
    made = SimpleNamespace(
        interpreter=Path(sys.executable), programs={}, root=SimpleNamespace(spec=SimpleNamespace(cpu="this machine"))
    )
    monkeypatch.setattr(runtimes, "ensure", lambda *_: made)
    with emulated("emulated", "arm64", RUNTIME, EMULATORS.folders, cache.runtimes) as there:
        there.run(errand("import os; print(os.environ['XDG_CACHE_HOME'])", files={"x": tmp_path / "given"}), tmp_path)
    sent = cache.runtimes / "arm64-sent"
    assert (tmp_path / "log.txt").read_text().strip() == str(sent)
    assert len(list((sent / "ortolan-worker" / "objects").iterdir())) == 2, "the file, and its note"
    assert not (tmp_path / "users").exists()
    project.clean(cache, runtimes=True)
    assert not sent.exists()


def test_a_folder_that_cannot_be_written_is_told(there: Host, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(HostError, match=r"cannot write .*ortolan-worker: Not a directory"):
        there.run(errand("print(1)"), tmp_path)


def test_what_cannot_be_emulated_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a device over ssh, each of them in its own way."""
    with ssh_device.running(tmp_path / "device") as device:
        monkeypatch.setenv("ORTOLAN_SSH", device.variables["ORTOLAN_SSH"])
        devices = [
            NamedDevice("ssh", "device", sys.executable),
            NamedDevice("other", "emulated:riscv64", RUNTIME),
            NamedDevice("lost", "emulated", "onnxruntime-0.0.1"),
        ]
        answers = {
            one.device.name: one for one in side_by_side(devices, EMULATORS, lambda _, host: host.run(errand("1"), tmp_path))
        }
    assert answers["ssh"].value
    assert isinstance(answers["other"].error, RuntimeSetupError)
    assert "there is no emulated machine 'riscv64'" in str(answers["other"].error)
    assert "onnxruntime-0.0.1" in str(answers["lost"].error)


# --- by name ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_doctor_tells_of_the_emulated_arm(workspace: Workspace) -> None:
    emulation.arm("onnxruntime-1.31.1")
    done = call(workspace, "doctor", "--host", "emulated", "--target", "raspberry-pi-5", "--target", "x86-cpu", "--json")
    assert done.returncode == 1, done.stdout + done.stderr
    told = json.loads(done.stdout)
    about = told["about"]
    assert about["emulated"].startswith("cortex-a76 by qemu")
    assert (about["board"], about["gpus"], about["thermal"]) == (f"emulated {about['emulated']}", [], [])
    assert [one["onnxruntime"] for one in about["pythons"]] == [{"onnxruntime": "1.31.1"}]
    assert told["targets"]["raspberry-pi-5"]["fits"]
    assert not told["targets"]["x86-cpu"]["fits"]


def test_without_an_emulator_doctor_says_what_to_install(workspace: Workspace) -> None:
    folder = workspace.root / "runtimes" / "arm64"
    folder.mkdir(parents=True)
    text = (ROOT / "runtimes" / "arm64" / RECIPE).read_text()
    (folder / RECIPE).write_text(text.replace('["qemu-aarch64-static", "qemu-aarch64"]', '["no-such-emulator"]'))
    done = call(workspace, "doctor", "--host", "emulated")
    assert done.returncode == 1
    assert "apt-get install qemu-user-static" in done.stderr

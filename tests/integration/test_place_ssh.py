"""A host over ssh as a place: a real sshd, real stages in a pinned runtime, and what goes wrong on real devices."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fakes
import models
import pythons
import ssh_device
from conftest import ROOT, SmallDisk
from device_programs import interpreter
from ortolan.errors import StepError
from ortolan.place import Errand, Host, HostError, Local, Ssh, connection, host, link
from ortolan.sandbox import copy_from, prepare
from ortolan.stages.lib import tensors
from ortolan.step import Ref
from ssh_device import SshDevice

assert fakes.STAGES, "the stages that misbehave are found"
SLEEP = ("{python}", "-c", "import time; print('up', flush=True); time.sleep(600)")
_MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshDevice]:
    with ssh_device.running(tmp_path_factory.mktemp("device")) as device:
        yield device


@pytest.fixture
def device(server: SshDevice, monkeypatch: pytest.MonkeyPatch) -> SshDevice:
    for name, value in server.variables.items():
        monkeypatch.setenv(name, value)
    return server


@pytest.fixture
def there(device: SshDevice) -> Iterator[Host]:
    """The device, with the Python that runs the tests."""
    del device
    with Host("device", sys.executable) as made:
        yield made


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """``(digest, bytes)`` of every file that is sent from here on."""
    found: list[tuple[str, int]] = []
    real = link.Link.send

    def send(self: link.Link, header: Any, pieces: Any = ()) -> None:
        if "digest" in header:
            found.append((header["digest"], header["size"]))
        real(self, header, pieces)

    monkeypatch.setattr(link.Link, "send", send)
    return found


def eventually(true: Callable[[], object], what: str) -> None:
    late = time.monotonic() + 20
    while not true():
        assert time.monotonic() < late, what
        time.sleep(0.02)


def python(code: str, files: dict[str, Path] | None = None, limit: float = 60, **more: Any) -> Errand:
    return Errand(("{python}", "-c", code), files or {}, limit, **more)


# --- what works ---------------------------------------------------------------------------------------------------------


def test_a_stage_gives_there_what_it_gives_here(there: Host, device: SshDevice, tmp_path: Path) -> None:
    """The device's own ONNX Runtime opens and runs the model: the facts and the files are those of a local run."""
    opened, python = models.write(models.convnet(), tmp_path / "model.onnx"), Path(interpreter("onnxruntime-1.20.1"))
    tensors.write_samples(tmp_path / "samples.npz", [{"image": np.ones((2, 1, 8, 8), np.float32)}])
    replies = []
    for name, place in (("here", Local()), ("there", Ssh(there))):
        folder = tmp_path / name
        folder.mkdir()
        samples = {"model": "in/model/model.onnx", "samples": "in/samples/samples.npz"}
        files = {samples["model"]: copy_from(opened), samples["samples"]: copy_from(tmp_path / "samples.npz")}
        prepare(folder, "golden", samples, files, {"session": None})
        replies.append((place.run(folder, python, 120), {p.name: p.read_bytes() for p in (folder / "out").iterdir()}))
    assert replies[0] == replies[1]
    assert replies[0][0].facts
    assert replies[0][0].facts["runtime"] == "1.20.1"
    assert device.jobs() == []
    assert device.processes() == []


def test_an_executor_runs_a_graph_of_steps_there(there: Host, tmp_path: Path) -> None:
    runner, _ = fakes.executor(tmp_path)
    place: Any = Ssh(there)
    runner.place = place
    first = fakes.write("a")
    last = fakes.write("b", before=Ref(first, "text.txt"))
    bad = fakes.misbehave("refuse")
    results = runner.run([last, bad])
    assert results[last.id].ok
    assert results[bad.id].refused
    runner.fetch(Ref(last, "text.txt"), tmp_path / "text", results)
    assert (tmp_path / "text").read_text() == "ab"


def test_files_are_sent_once_and_so_is_the_worker(
    there: Host, device: SshDevice, tmp_path: Path, sent: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "model"
    file.write_bytes(os.urandom(_MEGABYTE))
    errand = python(
        "print(len(open('a').read()) if 0 else open('b/c', 'rb').read() == open('a', 'rb').read())", {"a": file, "b/c": file}
    )
    there.run(errand, tmp_path)
    assert (tmp_path / "log.txt").read_text() == "True\n"
    assert [size for _, size in sent] == [_MEGABYTE], "two names of one file are one file"
    monkeypatch.setattr(link.Link, "_write", _only_small(link.Link._write))
    there.run(errand, tmp_path)
    with Host("device", sys.executable) as other:
        other.run(errand, tmp_path)
    assert len(sent) == 1
    assert sent[0][0] in device.objects


def _only_small(real: Any) -> Any:
    def write(self: link.Link, data: bytes) -> Any:
        assert len(data) < 2_000, "neither the worker nor a file"
        return real(self, data)

    return write


def test_a_damaged_file_and_a_damaged_worker_are_sent_again(
    there: Host, device: SshDevice, tmp_path: Path, sent: list[tuple[str, int]]
) -> None:
    file = tmp_path / "model"
    file.write_bytes(os.urandom(1000))
    errand = python("print(open('model', 'rb').read().hex())", {"model": file})
    there.run(errand, tmp_path)
    with (device.worker / "objects" / sent[0][0]).open("r+b") as stream:
        stream.write(b"damage")
    for worker in device.worker.glob("worker-*.py"):
        worker.write_text("raise SystemExit(9)")
    there.run(errand, tmp_path)
    assert len(sent) == 2
    assert (tmp_path / "log.txt").read_text().strip() == file.read_bytes().hex()


def test_a_step_that_writes_into_its_input_spoils_no_other(there: Host, tmp_path: Path) -> None:
    file = tmp_path / "model"
    file.write_bytes(b"as it was")
    there.run(python("open('model', 'r+b').write(b'XX')", {"model": file}), tmp_path)
    there.run(python("print(open('model').read())", {"model": file}), tmp_path)
    assert (tmp_path / "log.txt").read_text() == "as it was\n"


def test_what_the_shell_of_the_host_prints_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chatty = '\nForceCommand echo Welcome to the lab, $USER; eval "$SSH_ORIGINAL_COMMAND"'
    with ssh_device.running(tmp_path / "device", chatty) as device:
        monkeypatch.setenv("ORTOLAN_SSH", device.variables["ORTOLAN_SSH"])
        with Host("device", sys.executable) as there:
            there.run(python("print(1)"), tmp_path)
    assert (tmp_path / "log.txt").read_text() == "1\n"


def test_only_what_ended_here_is_swept(there: Host, device: SshDevice, tmp_path: Path) -> None:
    """Devices that share a home folder know nothing of each other's processes; neither do containers of one machine."""
    there.run(python("import os; print(os.getcwd())"), tmp_path)
    where, owner, _ = Path((tmp_path / "log.txt").read_text().strip()).name.split("-")
    gone = subprocess.Popen(["true"])
    gone.wait()
    jobs = device.worker / "jobs"
    names = {
        "killed here": f"{where}-{owner}-00", "killed": f"{where}-{gone.pid}-00", "runs here": f"{where}-{os.getpid()}-00",
        "elsewhere": f"0123456789ab-{gone.pid}-00", "long ago": f"abcdef012345-{os.getpid()}-00",
        "earlier form": f"{gone.pid}-00",
    }  # fmt: skip
    for name in names.values():
        (jobs / name).mkdir()
    os.utime(jobs / names["long ago"], (0, 0))
    there.run(python("pass"), tmp_path)
    left = {key for key, name in names.items() if (jobs / name).exists()}
    for folder in jobs.iterdir():
        folder.rmdir()
    assert left == {"runs here", "elsewhere", "earlier form"}


def test_links_are_not_sent_back(there: Host, tmp_path: Path) -> None:
    code = "import os; os.mkdir('out'); os.symlink('/etc/passwd', 'out/a'); os.symlink('/etc', 'out/b'); open('out/c', 'w')"
    there.run(python(code, outputs=("out",)), tmp_path)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["c"]


# --- ends ---------------------------------------------------------------------------------------------------------------


def test_a_time_limit_ends_all_that_was_started(there: Host, device: SshDevice, tmp_path: Path) -> None:
    code = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).wait()"
    assert there.run(python(code, limit=1), tmp_path).late
    eventually(lambda: not device.processes(), "a process was left")
    assert device.jobs() == []


def test_a_stage_that_hangs_is_a_crash_in_words(there: Host, tmp_path: Path) -> None:
    prepare(tmp_path, "fake_misbehave", {}, {}, {"how": "hang"})
    reply = Ssh(there).run(tmp_path, there.interpreter(), 1)
    assert "still running after its time limit of 1 s" in reply.crash


@pytest.mark.parametrize(("how", "said"), [("die", "SIGABRT"), ("exit", "exit code 7"), ("raise", "something unforeseen")])
def test_crashes_are_told_as_here(there: Host, tmp_path: Path, how: str, said: str) -> None:
    prepare(tmp_path, "fake_misbehave", {}, {}, {"how": how})
    assert said in Ssh(there).run(tmp_path, there.interpreter(), 60).crash


def _in_background(there: Host, tmp_path: Path) -> tuple[threading.Thread, list[BaseException]]:
    raised: list[BaseException] = []

    def work() -> None:
        try:
            there.run(Errand(SLEEP, {}, 600), tmp_path)
        except BaseException as error:  # noqa: BLE001  what it was is what the test looks at
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    return thread, raised


def test_stop_ends_what_runs_there(there: Host, device: SshDevice, tmp_path: Path) -> None:
    thread, raised = _in_background(there, tmp_path)
    eventually(device.processes, "it did not start")
    there.stop()
    thread.join(20)
    assert isinstance(raised[0], StepError)
    eventually(lambda: not device.processes() and not device.jobs(), "something was left")
    with pytest.raises(StepError, match="was stopped"):
        there.run(python("pass"), tmp_path)


def test_a_dropped_link_ends_what_runs_there(there: Host, device: SshDevice, tmp_path: Path) -> None:
    thread, raised = _in_background(there, tmp_path)
    eventually(device.processes, "it did not start")
    device.cut()
    thread.join(20)
    assert isinstance(raised[0], HostError)
    assert "the connection was lost" in str(raised[0])
    eventually(lambda: not device.processes() and not device.jobs(), "something was left")


def test_a_link_that_falls_silent_ends_what_runs_there(device: SshDevice, tmp_path: Path) -> None:
    """As when the network goes away: nobody closes anything, nothing arrives."""
    with Host("device", sys.executable, silence=1) as there:
        thread, raised = _in_background(there, tmp_path)
        eventually(device.processes, "it did not start")
        stopped = device.servers()
        for process in stopped:
            os.kill(process, signal.SIGSTOP)
        eventually(lambda: not device.processes() and not device.jobs(), "something was left")
        for process in stopped:
            os.kill(process, signal.SIGCONT)
        thread.join(20)
    assert isinstance(raised[0], HostError)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_client_that_ends_leaves_no_process(device: SshDevice, tmp_path: Path, number: signal.Signals) -> None:
    code = f"""
import sys; from pathlib import Path; from ortolan.place import Errand, Host
with Host("device", sys.executable) as there:
    there.run(Errand({SLEEP!r}, {{}}, 600), Path({str(tmp_path)!r}))
"""
    client = subprocess.Popen(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, stderr=subprocess.PIPE
    )
    eventually(device.processes, "it did not start")
    client.send_signal(number)
    client.communicate(timeout=20)
    eventually(lambda: not device.processes() and not device.jobs(), "something was left")


# --- what goes wrong ----------------------------------------------------------------------------------------------------


def test_a_transfer_that_was_cut_goes_on_where_it_ended(
    device: SshDevice, there: Host, tmp_path: Path, sent: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, real = tmp_path / "model", host._pieces
    file.write_bytes(os.urandom(8 * _MEGABYTE))

    def part() -> int:
        return sum(path.stat().st_size for path in device.worker.glob("objects/*.part"))

    def cut_in_the_middle(path: Path, start: int) -> Iterator[bytes]:
        for number, piece in enumerate(real(path, start)):
            if number == 16:
                eventually(lambda: part() >= _MEGABYTE, "nothing arrived")
                device.cut()
            yield piece

    monkeypatch.setattr(host, "_pieces", cut_in_the_middle)
    errand = python("print(open('model', 'rb').read()[-9:].hex())", {"model": file})
    with pytest.raises(HostError, match="the connection was lost"):
        there.run(errand, tmp_path)
    monkeypatch.setattr(host, "_pieces", real)
    eventually(lambda: not device.jobs(), "something was left")
    have = part()
    assert have >= _MEGABYTE
    there.run(errand, tmp_path)
    assert (tmp_path / "log.txt").read_text().strip() == file.read_bytes()[-9:].hex()
    assert sent[-1][1] == 8 * _MEGABYTE - have
    assert part() == 0


def test_a_part_of_other_bytes_is_refused_and_sent_whole(
    device: SshDevice, there: Host, tmp_path: Path, sent: list[tuple[str, int]]
) -> None:
    file = tmp_path / "model"
    file.write_bytes(os.urandom(1000))
    there.run(python("pass", {"model": file}), tmp_path)
    name = sent[0][0]
    shutil.move(device.worker / "objects" / name, device.worker / "objects" / f"{name}.part")
    (device.worker / "objects" / f"{name}.part").write_bytes(b"other")
    with pytest.raises(HostError, match="has the digest"):
        there.run(python("pass", {"model": file}), tmp_path)
    there.run(python("pass", {"model": file}), tmp_path)
    assert [size for _, size in sent] == [1000, 995, 1000]


def test_a_full_disk_there_is_told_and_holds_no_half_file(
    small_disk: SmallDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, file = small_disk("2m"), tmp_path / "model"
    file.write_bytes(os.urandom(5 * _MEGABYTE))
    with ssh_device.running(tmp_path / "device") as device:
        (device.folder / "cache").symlink_to(disk)
        monkeypatch.setenv("ORTOLAN_SSH", device.variables["ORTOLAN_SSH"])
        with Host("device", sys.executable) as there:
            with pytest.raises(HostError, match=r"No space left on device(.|\n)*MB are free there"):
                there.run(python("pass", {"model": file}), tmp_path)
            there.run(python("print('small ones still go')"), tmp_path)
        assert (tmp_path / "log.txt").read_text() == "small ones still go\n"
        assert list(device.worker.glob("objects/*")) == []


@pytest.mark.parametrize("hangs", ["cat >/dev/null", "echo Welcome; cat >/dev/null"])
def test_a_login_that_hangs_is_told_and_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hangs: str) -> None:
    """As where a start-up file waits, or the disk below the home folder does; whoever waits for the connection has its turn."""
    with ssh_device.running(tmp_path / "device", f"\nForceCommand {hangs}") as device:
        monkeypatch.setenv("ORTOLAN_SSH", device.variables["ORTOLAN_SSH"])
        with Host("device", sys.executable, patience=0.5) as there:
            for _ in range(2):
                with pytest.raises(HostError, match=r"nothing came from it for 0\.5 s(.|\n)*does ssh device true end at once"):
                    there.run(python("pass"), tmp_path)
        eventually(lambda: not device.servers(), "a connection was left")


@pytest.mark.parametrize(("shell", "why"), [("echo This account is closed.; exit 1", "This account is closed."), ("exit 1", "")])
def test_a_login_that_runs_no_commands_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str, why: str) -> None:
    """As of a user whose shell is nologin, or false."""
    with ssh_device.running(tmp_path / "device", f"\nForceCommand {shell}") as device:
        monkeypatch.setenv("ORTOLAN_SSH", device.variables["ORTOLAN_SSH"])
        with Host("device", sys.executable) as there, pytest.raises(HostError) as told:
            there.run(python("pass"), tmp_path)
    assert told.value.why == (why or "it said nothing")
    assert "does ssh device echo yes say yes?" in told.value.hint


def test_a_python_that_hangs_before_it_answers_is_told(there: Host, device: SshDevice, tmp_path: Path) -> None:
    """It says that it is the worker, and then nothing; as one whose disk hangs at the first file."""
    slow = tmp_path / "python"
    slow.write_text("#!/bin/sh\nprintf '\\0ortolan\\0!'\nexec cat >/dev/null\n")
    slow.chmod(0o755)
    there.run(python("pass"), tmp_path)
    with Host("device", str(slow), patience=0.5) as hangs, pytest.raises(HostError, match=r"nothing came from it for 0\.5 s"):
        hangs.run(python("pass"), tmp_path)
    assert device.jobs() == []


def test_a_command_may_be_silent_for_longer_than_a_host(there: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it runs its own time limit counts, before and after it the watch does."""
    real, seen = Host._waited, list[float]()

    def waited(self: Host, made: link.Link, limit: float) -> Any:
        header = real(self, made, limit)
        seen.append(made.watch._due)
        return header

    monkeypatch.setattr(Host, "_waited", waited)
    monkeypatch.setattr(host, "_take", lambda made, *_: seen.append(made.watch._due))
    there.run(python("print('done')"), tmp_path)
    assert seen[0] == math.inf
    assert seen[1] < math.inf


def test_an_interpreter_that_is_not_there_is_no_full_disk(there: Host, tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"cannot start /no/such/python: No such file(.|\n)*--python") as told:
        there.run(Errand(("/no/such/python", "x"), {}, 60), tmp_path)
    assert "free" not in str(told.value)


def test_a_disk_that_is_read_only_is_no_full_one(small_disk: SmallDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, file = small_disk("2m"), tmp_path / "model"
    file.write_bytes(os.urandom(100))
    with ssh_device.running(tmp_path / "device") as device:
        (device.folder / "cache").symlink_to(disk)
        monkeypatch.setenv("ORTOLAN_SSH", device.variables["ORTOLAN_SSH"])
        with Host("device", sys.executable) as there:
            there.run(python("pass"), tmp_path)
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
            with pytest.raises(HostError, match=r"Read-only file system(.|\n)*mount it for writing") as told:
                there.run(python("pass", {"model": file}), tmp_path)
    assert "free" not in str(told.value)


@pytest.mark.parametrize(("number", "what", "hint"), [
    (errno.ENOSPC, "cannot write there/x: words", "free some space"), (errno.EDQUOT, "cannot write", "free some space"),
    (errno.EACCES, "cannot write", "must be able to write"), (errno.EIO, "there/x: words", "dmesg"), (0, "words", "run it again"),
])  # fmt: skip
def test_what_the_worker_could_not_do_has_its_own_words(there: Host, number: int, what: str, hint: str) -> None:
    header = {"error": "words", "where": "there/x", "number": number, "free": 5_000_000}
    with there._link() as made:
        told = str(made._told(header))
    assert what in told
    assert hint in told
    assert ("5.0 MB are free there" in told) == (number in link.FULL)


def test_an_ssh_that_hangs_at_its_end_holds_up_no_other(
    device: SshDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_FAREWELL", 0.2)
    ssh = tmp_path / "ssh"
    real = device.variables["ORTOLAN_SSH"]
    ssh.write_text(f'#!/bin/sh\ncase " $* " in *" -O exit "*) exec sleep 600 ;; esac\nexec {real} "$@"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("ORTOLAN_SSH", str(ssh))
    hosts = [Host("device", sys.executable) for _ in range(2)]
    folders = []
    for one in hosts:
        one.run(python("pass"), tmp_path)
        assert isinstance(one.connection, connection.Connection)
        folders.append(one.connection._folder)
    for one in hosts:
        one.close()
    assert not any(folder.exists() for folder in folders)


def test_a_wrong_host_key_is_refused(device: SshDevice, tmp_path: Path) -> None:
    known = device.folder / "known_hosts"
    right = known.read_text()
    try:
        known.write_text("device " + (device.folder / "user_key.pub").read_text())
        with Host("device") as there, pytest.raises(HostError, match="not the one that is known for it"):
            there.run(python("pass"), tmp_path)
        known.write_text("")
        with Host("device") as there, pytest.raises(HostError, match="its host key is not known"):
            there.run(python("pass"), tmp_path)
        assert known.read_text() == "", "nothing is trusted by itself"
    finally:
        known.write_text(right)


def test_a_key_that_is_not_allowed_and_a_name_that_is_not_there(device: SshDevice, tmp_path: Path) -> None:
    del device
    with Host("nobody@device") as there, pytest.raises(HostError, match=r"does not let you in(.|\n)*ssh-copy-id nobody@device"):
        there.run(python("pass"), tmp_path)
    with Host("no-such-host.invalid") as there, pytest.raises(HostError, match="no host of that name"):
        there.run(python("pass"), tmp_path)
    with pytest.raises(HostError, match="is not a host"):
        Host("-oProxyCommand=touch /tmp/x")


def test_no_python_is_told(device: SshDevice, tmp_path: Path) -> None:
    del device
    for name in ("python-that-is-not-there", "/no/such/python", "~/no such/python"):
        with Host("device", name) as there, pytest.raises(HostError, match="it has no such Python"):
            there.run(python("pass"), tmp_path)


def old(version: str) -> str:
    return pythons.find(version) or pytest.skip("no Python of that version here")


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.7"])
def test_a_python_that_is_too_old_is_refused(device: SshDevice, tmp_path: Path, version: str) -> None:
    del device
    with Host("device", old(version)) as there, pytest.raises(HostError, match=f"Python {version}.* is too old"):
        there.run(python("pass"), tmp_path)


def test_the_oldest_python_will_do(device: SshDevice, tmp_path: Path) -> None:
    file = tmp_path / "given"
    file.write_bytes(os.urandom(_MEGABYTE))
    with Host("device", old("3.8")) as there:
        code = "import sys; print(sys.version[:3]); open('left', 'w').write('x')"
        there.run(python(code, {"given": file}, outputs=("left", "log.txt")), tmp_path)
        assert (tmp_path / "log.txt").read_text() == "3.8\n"
        assert there.run(python("import time; time.sleep(99)", limit=0.5), tmp_path).late
    assert (tmp_path / "left").read_text() == "x"
    assert device.jobs() == []


def test_several_steps_share_one_connection(there: Host, device: SshDevice, tmp_path: Path) -> None:
    results: list[str] = []

    def work(number: int) -> None:
        (tmp_path / str(number)).mkdir()
        there.run(python(f"print({number})"), tmp_path / str(number))
        results.append((tmp_path / str(number) / "log.txt").read_text())

    before = (device.folder / "sshd.log").read_text().count("Accepted publickey")
    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(results, key=int) == [f"{number}\n" for number in range(12)]
    assert (device.folder / "sshd.log").read_text().count("Accepted publickey") == before + 1


def test_a_host_may_send_only_what_was_asked_for(there: Host, tmp_path: Path) -> None:
    """A worker that was tampered with: it is replaced on the device, and told to be the right one."""
    for path in ("../outside", "/tmp/outside", "log.txt/../../outside", "other"):
        header = {"path": path, "size": 0}
        fake: Any = type("Told", (), {"receive": lambda _, header=header: header, "pieces": lambda *_: ()})()
        with pytest.raises(HostError, match="was not asked for"):
            host._take(fake, ("log.txt", "out"), tmp_path)
    del there


def test_json_of_a_result_comes_back(there: Host, tmp_path: Path) -> None:
    prepare(tmp_path, "fake_write", {}, {}, {"text": "a"})
    assert Ssh(there).run(tmp_path, there.interpreter(), 60).crash == ""
    assert json.loads((tmp_path / "result.json").read_text())["facts"] is not None

"""Real containers for tests: base images by mmdebstrap, a Docker engine of its own, storage for buildah, an emulator for ARM."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ortolan.cache import user_cache

BASE = "python:3.11-slim-bookworm"
"""What the recipes stand on; here it is Debian with its own Python 3.11, under that name."""

BASE_ARM = "arm64v8/python:3.11-slim-bookworm"
"""The same for 64-bit ARM. An engine keeps one platform under each name, so that this one has another."""

_DAY = "1980-01-01T00:00:00Z"
_PACKAGES = (
    "base-files", "base-passwd", "coreutils", "dash", "libc-bin", "libexpat1", "libpython3-stdlib", "libstdc++6",
    "python3-minimal", "zlib1g",
)  # fmt: skip
_EMULATOR = "/usr/bin/qemu-aarch64-static"
_BINFMT = Path("/proc/sys/fs/binfmt_misc")
_ELF = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
_MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"


def need(*programs: str) -> None:
    """Skip where containers cannot be; fail where root has not installed what .ci/run installs."""
    if os.geteuid():
        pytest.skip("containers need root")
    for program in programs:
        assert shutil.which(program), f"{program} is not installed; .ci/run names its package"


def base(arch: str) -> Path:
    """A base image as ``docker save`` writes one, made once and kept in the user's cache: 15 seconds and 100 MB."""
    need("mmdebstrap")
    folder = user_cache().root / "test-bases"
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{arch}-{hashlib.sha256(repr(_PACKAGES).encode()).hexdigest()[:12]}.tar"
    with (folder / f"{arch}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            root, part = folder / f"{arch}.root.tar", folder / f"{arch}.part"
            wanted = [f"--architectures={arch}", f"--include={','.join(_PACKAGES)}"]
            subprocess.run(["mmdebstrap", "--quiet", "--variant=extract", *wanted, "bookworm", root], check=True)
            _saved(root, BASE if arch == "amd64" else BASE_ARM, arch, part)
            root.unlink()
            part.rename(place)
    return place


def _saved(root: Path, name: str, arch: str, to: Path) -> None:
    """One layer, a configuration with a search path, and a name."""
    with root.open("rb") as stream:
        layer = hashlib.file_digest(stream, "sha256").hexdigest()
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    config = json.dumps({
        "architecture": arch, "os": "linux", "created": _DAY, "config": {"Env": [path], "Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]}, "history": [{"created": _DAY, "created_by": "mmdebstrap"}],
    }).encode()  # fmt: skip
    named = f"{hashlib.sha256(config).hexdigest()}.json"
    listed = json.dumps([{"Config": named, "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(to, "w") as tar:
        for member, data in ((named, config), ("manifest.json", listed)):
            entry = tarfile.TarInfo(member)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
        tar.add(root, "layer.tar")


@contextmanager
def engine(folder: Path) -> Iterator[str]:
    """A Docker engine that keeps everything below ``folder``; what DOCKER_HOST must be."""
    need("dockerd", "iptables")
    url = f"unix://{folder}/docker.sock"
    own = [
        "--storage-driver=overlay2",
        "--bridge=none",
        f"--data-root={folder}/data",
        f"--exec-root={folder}/exec",
        f"--pidfile={folder}/pid",
        f"--host={url}",
    ]
    with (folder / "dockerd.txt").open("wb") as log:
        daemon = subprocess.Popen(["dockerd", *own], stdout=log, stderr=log, start_new_session=True)
    try:
        until = time.monotonic() + 30
        while time.monotonic() < until and not (folder / "docker.sock").exists():
            assert daemon.poll() is None, (folder / "dockerd.txt").read_text()[-2000:]
            time.sleep(0.1)
        yield url
    finally:
        daemon.terminate()
        daemon.wait(30)


@contextmanager
def storage(folder: Path) -> Iterator[Path]:
    """A storage of buildah's own below ``folder``; what CONTAINERS_STORAGE_CONF must be."""
    need("buildah", "runc")
    place = folder / "storage.conf"
    place.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n')
    yield place
    environment = os.environ | {"CONTAINERS_STORAGE_CONF": str(place)}
    subprocess.run(["buildah", "rmi", "--all", "--force"], env=environment, capture_output=True, check=True)
    subprocess.run(["umount", f"{folder}/graph/overlay"], capture_output=True, check=False)  # it mounts its own folder on itself


@contextmanager
def emulator() -> Iterator[None]:
    """The kernel starts ARM programs with qemu while this lasts. Others may have told it so already."""
    need("qemu-aarch64-static")
    mounted = (_BINFMT / "register").exists()
    if (
        not mounted
        and subprocess.run(["mount", "-t", "binfmt_misc", "none", _BINFMT], capture_output=True, check=False).returncode
    ):
        pytest.skip("this kernel takes no emulator: binfmt_misc cannot be mounted")
    name = f"ortolan-test-{os.getpid()}"
    try:
        (_BINFMT / "register").write_text(f":{name}:M::{_ELF}:{_MASK}:{_EMULATOR}:F")
        yield
    except PermissionError:
        pytest.skip("this kernel takes no emulator: binfmt_misc cannot be written")
    finally:
        if (_BINFMT / name).exists():
            (_BINFMT / name).write_text("-1")

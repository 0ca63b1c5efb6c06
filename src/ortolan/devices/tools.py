"""Programs of the system that images, releases, devices and the tests use: which are here, and how to get the others."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass


@dataclass(frozen=True)
class Tool:
    """A program, the Debian package that holds it, and what it is used for."""

    program: str
    package: str
    use: str

    @property
    def path(self) -> str:
        """Where it is; empty where it is not. Daemons' folders count: a user's PATH often lacks them."""
        return shutil.which(self.program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin") or ""


TOOLS = tuple(
    Tool(*row)
    for row in (
        ("git", "git", "revisions in manifests and releases"),
        ("ssh", "openssh-client", "devices (--host)"),
        ("ssh-keygen", "openssh-client", "signing and verifying releases"),
        ("openssl", "openssl", "signing and verifying releases"),
        ("chromium", "chromium", "targets with platform web"),
        ("dockerd", "docker.io", "images with Docker"),
        ("buildah", "buildah", "images without a daemon"),
        ("runc", "runc", "images without a daemon"),
        ("iptables", "iptables", "images with Docker"),
        ("qemu-aarch64-static", "qemu-user-static", "ARM programs and images on this machine"),
        ("mmdebstrap", "mmdebstrap", "tests of images"),
        ("go", "golang-go", "tests of Go packages"),
        ("g++", "g++", "tests of C packages"),
        ("make", "make", "tests of C packages"),
        ("cmake", "cmake", "tests of C packages"),
        ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu", "tests of reduced runtimes"),
        ("aarch64-linux-gnu-ld", "libc6-dev-arm64-cross", "tests of reduced runtimes"),
        ("readelf", "binutils", "tests of reduced runtimes"),
        ("valgrind", "valgrind", "tests of C packages"),
        ("sshd", "openssh-server", "tests of devices over ssh"),
        ("strace", "strace", "tests of what stages may reach"),
        ("shellcheck", "shellcheck", "tests of shell scripts"),
        ("mender", "mender-client", "tests of update clients"),
        ("mender-artifact", "mender-artifact", "tests of update clients"),
        ("rauc", "rauc", "tests of update clients"),
        ("mksquashfs", "squashfs-tools", "tests of update clients"),
        ("dbus-run-session", "dbus", "tests of update clients"),
        ("swupdate", "swupdate", "tests of update clients"),
        ("cpio", "cpio", "tests of update clients"),
        ("zstd", "zstd", "tests of bundles and deltas"),
        ("bspatch", "bsdiff", "tests of bundles and deltas"),
        ("docker-registry", "docker-registry", "tests of publishing"),
        ("skopeo", "skopeo", "tests of publishing"),
        ("junitparser", "junitparser", "tests of reports"),
        ("softhsm2-util", "softhsm2", "tests of signing with hardware keys"),
    )
)

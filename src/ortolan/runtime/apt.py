"""Debian packages of another architecture, fetched with the system's apt in a folder of its own: no root, nothing installed.

apt verifies the signature of the archive and, by it, every package. Of the machine's own settings count how to reach a mirror
(proxies, certificates, passwords) and which mirror serves the suite; its hooks and its list of packages do not.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import RuntimeSetupError

PROGRAMS = ("apt-get", "apt-config", "dpkg-deb")
_PRIVATE = ("etc/apt", "var/lib/apt/lists/partial", "var/lib/dpkg", "var/cache/apt/archives/partial")
_SETTINGS = """
Dir "{folder}";
Dir::Etc::netrc "/etc/apt/auth.conf";
Dir::Etc::netrcparts "/etc/apt/auth.conf.d";
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Install-Recommends "false";
APT::Sandbox::User "{user}";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::Languages "none";
Acquire::GzipIndexes "false";
Acquire::Retries "1";
"""
_LAYOUT = re.compile(r'^Acquire::(?!IndexTargets)[^\s"]+ "[^"\n]*";$')  # which indexes a desktop wants besides is not our concern


@dataclass(frozen=True)
class Source:
    """A suite of an archive: ``keyring`` holds the keys that may sign it."""

    architecture: str
    suite: str
    mirror: str
    keyring: Path


def missing() -> list[str]:
    """The programs that this machine lacks."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


def fetch(source: Source, packages: Sequence[str], folder: Path) -> list[Path]:
    """Download ``packages`` and all that they depend on into ``folder``, an empty one; the ``.deb`` files, sorted by name.

    RuntimeSetupError with apt's own words when it cannot.
    """
    for name in _PRIVATE:
        (folder / name).mkdir(parents=True)
    (folder / "var/lib/dpkg/status").touch()
    settings = folder / "apt.conf"
    own = _SETTINGS.format(folder=folder, architecture=source.architecture, user="root" if os.geteuid() == 0 else "")
    settings.write_text("\n".join([*_reaching(), own]))
    line = f"deb [arch={source.architecture} signed-by={source.keyring}] {mirror(source)} {source.suite} main\n"
    (folder / "etc/apt/sources.list").write_text(line)
    _apt(["update", "--error-on=any"], settings)
    _apt(["install", "--yes", "--download-only", *packages], settings)
    return sorted((folder / "var/cache/apt/archives").glob("*.deb"))


def unpack(package: Path, to: Path) -> tuple[str, str]:
    """Unpack one into the root file system ``to``; its name and version."""
    _run(["dpkg-deb", "--extract", str(package), str(to)])
    name, version = _run(["dpkg-deb", "--show", "--showformat=${Package} ${Version}", str(package)]).split()
    return name, version


def _reaching() -> list[str]:
    """The machine's settings of apt's downloads."""
    said = _run(["apt-config", "dump", "--no-empty", "--format", '%F "%v";%n', "Acquire"])
    return [line for line in said.splitlines() if _LAYOUT.match(line)]


def mirror(source: Source) -> str:
    """The machine's own mirror of the suite, else that of the recipe."""
    said = _run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(CODENAME) $(COMPONENT)", "Created-By: Packages"]
    )
    rows = [line.split() for line in said.splitlines()]
    own = [
        row[0] for row in rows if len(row) > 2 and row[0].startswith("http") and source.suite in row[1:-1] and row[-1] == "main"
    ]
    return own[0] if own else source.mirror


def _apt(arguments: Sequence[str], settings: Path) -> None:
    _run(["apt-get", "--quiet", "--quiet", *arguments], APT_CONFIG=str(settings), DEBIAN_FRONTEND="noninteractive")


def _run(command: Sequence[str], **variables: str) -> str:
    done = subprocess.run(  # noqa: S603  programs of the system, with arguments of ours
        command,
        env=os.environ | {"LC_ALL": "C"} | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = "\n".join(done.stderr.strip().splitlines()[-6:])
        raise RuntimeSetupError(f"{command[0]} failed", why=said, hint=_hint(said))
    return done.stdout


def _hint(said: str) -> str:
    if "NO_PUBKEY" in said or "not signed" in said or "invalid signature" in said:
        return "the archive is not signed by the keys in runtimes/arm64/rootfs.toml: look at who serves your mirror"
    if "No space left" in said:
        return "free some disk space and run the same command again"
    return "check the network, and apt's proxy settings (apt-config dump Acquire)"

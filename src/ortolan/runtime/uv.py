"""Calling uv: where it is, and the user's pip settings handed on to it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence

from uv import find_uv_bin

from ..errors import RuntimeSetupError

_FROM_PIP = {
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_CERT": "SSL_CERT_FILE",
    "PIP_NO_INDEX": "UV_NO_INDEX",
    "PIP_TRUSTED_HOST": "UV_INSECURE_HOST",
    "PIP_PROXY": "ALL_PROXY",
}


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """uv's environment: it reads none of pip's variables, so those that matter are translated unless uv's own is set."""
    env = {k: v for k, v in environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")}
    for theirs, ours in _FROM_PIP.items():
        if environ.get(theirs) and not environ.get(ours):
            separator = "," if ours == "UV_FIND_LINKS" else " "
            env[ours] = separator.join(environ[theirs].split())
    return env


def uv(arguments: Sequence[str], *, doing: str) -> str:
    """Run uv and return its stdout; RuntimeSetupError with the end of what it said when it fails."""
    try:
        done = subprocess.run(  # noqa: S603  uv, with arguments of ours
            [find_uv_bin(), *arguments], env=environment(os.environ), capture_output=True, text=True, check=False
        )
    except (FileNotFoundError, PermissionError) as error:
        raise RuntimeSetupError("uv cannot be started", where=doing, why=str(error), hint="pip install uv") from error
    if done.returncode:
        said = "\n".join(done.stderr.strip().splitlines()[-12:])
        raise RuntimeSetupError("uv failed", where=doing, why=said, hint=_hint(said))
    return done.stdout


def _hint(said: str) -> str:
    if "No space left" in said:
        return "free some disk space and run the same command again"
    if "ash mismatch" in said:
        return "the package differs from its lock: look at who serves your index before you lock it anew"
    if "No interpreter found" in said:
        return "install that Python (its version stands in the runtime's runtime.toml), or let uv download it"
    if "No solution found" in said or "there is no version" in said:
        return "check the version's number: where uv looked there is none that fits (PIP_INDEX_URL and PIP_FIND_LINKS say where)"
    return "check the network, PIP_INDEX_URL, PIP_FIND_LINKS, HTTPS_PROXY and SSL_CERT_FILE; nothing half-made was left"

"""Where releases are published: ``oci://HOST/BASE``, ``gitlab://HOST/GROUP/PROJECT``, ``file:///FOLDER``, ``s3://BUCKET/PREFIX``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

from ...errors import OrtolanError

Kind = Literal["oci", "gitlab", "file", "s3"]
_EXAMPLES: dict[str, str] = {
    "oci": "oci://registry.example.com/models",
    "gitlab": "gitlab://gitlab.example.com/group/project",
    "file": "file:///srv/releases",
    "s3": "s3://bucket/releases",
}
_NAME = "[a-z0-9]+(?:(?:[.]|_|__|-+)[a-z0-9]+)*"
REPOSITORY = re.compile(rf"{_NAME}(?:/{_NAME})*")
"""The name of a repository (OCI Distribution Specification 1.1, "Pulling manifests")."""
_LOOPBACK = re.compile(r"localhost|127(?:\.\d{1,3}){3}|\[::1\]")


@dataclass(frozen=True)
class Address:
    """A store. ``host`` is the registry's, GitLab's or the bucket; ``path`` what follows, without slashes around it.

    Of a folder, ``path`` is the absolute path. Plain HTTP is spoken to this machine, and where ``insecure`` asks for it.
    """

    kind: Kind
    host: str
    path: str
    insecure: bool = False

    def __str__(self) -> str:
        return (
            f"file://{self.path}"
            if self.kind == "file"
            else "/".join(part for part in (f"{self.kind}://{self.host}", self.path) if part)
        )

    @property
    def loopback(self) -> bool:
        """Whether the host is this machine."""
        return bool(_LOOPBACK.fullmatch(self.host.rpartition(":")[0] if re.search(r":\d+$", self.host) else self.host))

    @property
    def scheme(self) -> str:
        """How the host is spoken to."""
        return "http" if self.insecure or self.loopback else "https"


def parse(url: str, *, insecure: bool = False) -> Address:
    """The store that a URL names. OrtolanError, which never repeats a password, for anything else."""
    kind, parts, there = url.partition("://")[0], _split(url), ", ".join(_EXAMPLES.values())
    if not url:
        raise OrtolanError("where to, or where from?", hint=f"--to or --at, and one of {there}")
    if kind not in _EXAMPLES or "://" not in url:
        raise OrtolanError(
            f"'{kind[:40] if '://' in url else ''}' is no kind of store", where=_shown(url), hint=f"one of {there}"
        )
    if "@" in parts.netloc:
        raise _wrong("holds a user's name or a password", url, "docker login, CI_JOB_TOKEN or AWS's own settings keep passwords")
    if parts.query or parts.fragment:
        raise _wrong("has more than a host and a path", url, _EXAMPLES[kind])
    return _CHECKS[kind](url, parts.netloc, parts.path, insecure)


class _Parts:
    """A URL's parts; a port that is no number is the host's own mistake."""

    def __init__(self, url: str) -> None:
        split = urlsplit(url)
        self.netloc, self.path, self.query, self.fragment = split.netloc, split.path, split.query, split.fragment


def _split(url: str) -> _Parts:
    try:
        return _Parts(url)
    except ValueError as error:
        raise _wrong(str(error), url, _EXAMPLES["oci"]) from error


def _file(url: str, host: str, path: str, insecure: bool) -> Address:
    if host not in {"", "localhost"} or not path.strip("/"):
        raise _wrong("names no folder of this machine by its whole path", url, _EXAMPLES["file"])
    return Address("file", "", unquote(path).rstrip("/"), insecure)


def _s3(url: str, host: str, path: str, insecure: bool) -> Address:
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", host):
        raise _wrong("names no bucket", url, _EXAMPLES["s3"])
    return Address("s3", host, path.strip("/"), insecure)


def _oci(url: str, host: str, path: str, insecure: bool) -> Address:
    if not _host(host) or not REPOSITORY.fullmatch(path.strip("/")):
        why = "wants a host, and small letters, digits and single . _ - / between them"
        raise _wrong(why, url, _EXAMPLES["oci"])
    return Address("oci", host, path.strip("/"), insecure)


def _gitlab(url: str, host: str, path: str, insecure: bool) -> Address:
    if not _host(host) or not re.fullmatch(r"[\w.-]+(?:/[\w.-]+)+", path.strip("/")):
        raise _wrong("wants a host, a group and a project", url, _EXAMPLES["gitlab"])
    return Address("gitlab", host, path.strip("/"), insecure)


_CHECKS = {"oci": _oci, "gitlab": _gitlab, "file": _file, "s3": _s3}


def _host(host: str) -> bool:
    return bool(re.fullmatch(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-f:]+\])(?::\d{1,5})?", host))


def _wrong(why: str, url: str, hint: str) -> OrtolanError:
    return OrtolanError("is no address of a store", where=_shown(url), why=f"it {why}", hint=hint)


def _shown(url: str) -> str:
    """Without what may be secret: a user's part, a query."""
    return re.sub(r"//[^/]*@", "//…@", re.split(r"[?#]", url, maxsplit=1)[0])

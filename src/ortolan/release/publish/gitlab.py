"""GitLab's registry of generic packages as a store: package ``<target>.<model>``, a version for each tag and each channel.

After GitLab's documentation ("GitLab generic packages repository", "Packages API"); files of a version are sent one by one, as it
asks.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from ...errors import OrtolanError
from ...events import Emit
from ..behind import Sum
from . import answers
from .address import Address
from .http import Client, Window, checked
from .patience import Patience, insist
from .progress import moving
from .repository import pieces

_CHANNEL = "channel-"
_LIMIT = 16 << 20


class Token:
    """``GITLAB_TOKEN``, or a job's own ``CI_JOB_TOKEN``; without either only public projects can be read."""

    def headers(self) -> Mapping[str, str]:
        """GitLab's own headers."""
        own, job = os.environ.get("GITLAB_TOKEN"), os.environ.get("CI_JOB_TOKEN")
        return {"PRIVATE-TOKEN": own} if own else {"JOB-TOKEN": job} if job else {}

    def answer(self, response: requests.Response) -> bool:
        """There is nothing else to show."""
        del response
        return False


@dataclass(frozen=True)
class Packages:
    """The packages of a project."""

    client: Client
    address: Address

    def url(self, folder: str) -> str:
        """As ``gitlab://``, and what GitLab calls it."""
        package, version, _ = _place(folder, "")
        return f"{self.address} ({package} {version})"

    def digests(self, folder: str) -> Mapping[str, str]:
        """As GitLab lists them; of files with the same name the last one counts, which is the one that it hands out."""
        files = sorted(self._files(folder), key=lambda one: int(one["id"]))
        return {str(one["file_name"]): f"sha256:{one['file_sha256']}" for one in files}

    def add(self, folder: str, files: Mapping[str, Path], emit: Emit) -> None:
        """One after the other."""
        for name, path in files.items():
            with moving(emit, name, path.stat().st_size) as tell:
                put = partial(self._put, folder, name, path, tell)
                insist(self.client.patience, f"uploading {name}", put)

    def replace(self, folder: str, name: str, data: bytes, before: bytes | None) -> None:
        """GitLab knows no conditions: a look at what is there, then a newer file of that name."""
        if self.read(folder, name) != before:
            raise OrtolanError(
                f"{name} has been changed meanwhile", where=self.url(folder), hint="look at it (./inv channels), then again"
            )
        self.client.ask("PUT", self._path(folder, name), ok={200, 201}, body=data)

    def read(self, folder: str, name: str) -> bytes | None:
        """Its bytes."""
        answer = self.client.ask("GET", self._path(folder, name), ok={200, 404})
        return None if answer.status_code == requests.codes.not_found else answer.content

    def names(self, folder: str) -> list[str]:
        """Tags of a model, or files of channels."""
        channels = folder.endswith("/channels")
        versions = [str(one["version"]) for one in self._packages(_place(folder, "")[0])]
        named = {one.removeprefix(_CHANNEL) + ".json" for one in versions if one.startswith(_CHANNEL)}
        return sorted(named if channels else {one for one in versions if not one.startswith(_CHANNEL)})

    def prove(self, folder: str, name: str) -> str:
        """Read it back."""

        def attempt() -> str:
            whole = Sum()
            for piece in pieces(checked(self.client.once("GET", self._path(folder, name), stream=True), {200})):
                whole.add(piece)
            return whole.digest

        return insist(self.client.patience, f"reading {name} back", attempt)

    def _put(self, folder: str, name: str, path: Path, tell: Any) -> None:
        headers = {"Content-Type": "application/octet-stream"}
        with path.open("rb") as stream:
            window = Window(stream, 0, path.stat().st_size, tell)
            checked(self.client.once("PUT", self._path(folder, name), headers=headers, body=window), {200, 201})

    def _path(self, folder: str, name: str) -> str:
        package, version, file = _place(folder, name)
        return f"{self._project}/packages/generic/{quote(package, safe='')}/{quote(version, safe='')}/{quote(file, safe='')}"

    @property
    def _project(self) -> str:
        return f"/api/v4/projects/{quote(self.address.path, safe='')}"

    def _packages(self, package: str, version: str = "") -> list[Any]:
        """Exactly these: GitLab searches for names that hold what it is given."""
        wanted = {"package_type": "generic", "package_name": package, "package_version": version, "per_page": "100"}
        query = "&".join(f"{key}={quote(value, safe='')}" for key, value in wanted.items() if value)
        found = self._all(f"{self._project}/packages?{query}")
        return [one for one in found if one.get("name") == package and version in {"", one.get("version")}]

    def _files(self, folder: str) -> list[Any]:
        package, version, _ = _place(folder, "")
        found = self._packages(package, version)
        return [
            file for one in found for file in self._all(f"{self._project}/packages/{int(one['id'])}/package_files?per_page=100")
        ]

    def _all(self, url: str) -> list[Any]:
        """All pages of a list."""
        found = list[Any]()
        while url:
            answer = self.client.ask("GET", url, ok={200})
            found += answers.objects(answers.value(answer))
            url = answer.links.get("next", {}).get("url", "")
        return found


def packages(address: Address, patience: Patience) -> Packages:
    """The packages of an address's project."""
    return Packages(Client(f"{address.scheme}://{address.host}", Token(), patience, local=address.loopback), address)


def _place(folder: str, name: str) -> tuple[str, str, str]:
    """Package, version and file of ``<target>/<model>[/<tag>]`` or ``<target>/<model>/channels``."""
    target, model, *rest = folder.split("/")
    if rest == ["channels"]:
        return f"{target}.{model}", _CHANNEL + name.removesuffix(".json"), "channel.json"
    return f"{target}.{model}", rest[0] if rest else "", name

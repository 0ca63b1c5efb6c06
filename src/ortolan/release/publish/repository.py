"""A repository of an OCI registry: blobs, manifests, tags (OCI Distribution Specification 1.1). Uploads are in ``upload``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

import requests

from ... import digest as digests
from ...errors import OrtolanError
from ..behind import Sum
from . import answers
from .address import Address
from .credentials import Login
from .http import Client, checked, said
from .patience import Patience, Transient, insist

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
_LIMIT = 16 << 20  # bytes: no manifest and no record is longer
_CHUNK = 1 << 20


class Stored(NamedTuple):
    """A manifest or index as the registry has it."""

    data: bytes
    digest: str
    media_type: str
    etag: str

    def json(self) -> dict[str, Any]:
        """Its contents; OrtolanError when it is no JSON object."""
        try:
            value = json.loads(self.data)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise OrtolanError(f"the registry's manifest {self.digest} is no JSON object")
        return value


@dataclass(frozen=True)
class Repository:
    """``name`` on the server of ``client``."""

    client: Client
    name: str

    def url(self, rest: str) -> str:
        """Of something in it."""
        return f"/v2/{self.name}/{rest}"

    @property
    def where(self) -> str:
        """For people."""
        return f"{self.client.base}/{self.name}"

    def has_blob(self, digest: str, size: int) -> bool:
        """Whether the blob is there; OrtolanError when the registry says another size or digest of it."""
        answer = self.client.ask("HEAD", self.url(f"blobs/{digest}"), ok={200, 404})
        if answer.status_code == requests.codes.not_found:
            return False
        told = answer.headers.get("Content-Length", str(size)), answer.headers.get("Docker-Content-Digest", digest)
        if told != (str(size), digest):
            raise _lies(f"blob {digest} of {size} bytes", f"{told[1]} of {told[0]} bytes")
        return True

    def blob(self, digest: str, size: int) -> bytes:
        """A small blob, whose digest has been checked."""
        if size > _LIMIT:
            raise OrtolanError(f"{digest} has {size} bytes", why=f"no more than {_LIMIT} are read into memory")

        def attempt() -> bytes:
            answer = checked(self.client.once("GET", self.url(f"blobs/{digest}"), stream=True), {200})
            return _same(_read(answer), digest)

        return insist(self.client.patience, f"reading {self.where}@{digest}", attempt)

    def put_blob(self, data: bytes) -> None:
        """Store a small blob, unless it is there."""
        digest = digests.of_bytes(data)
        if self.has_blob(digest, len(data)):
            return

        def attempt() -> None:
            begun = checked(self.client.once("POST", self.url("blobs/uploads/")), {202})
            headers = {"Content-Type": "application/octet-stream"}
            checked(self.client.once("PUT", closed(location(begun), digest), headers=headers, body=data), {200, 201, 204})

        insist(self.client.patience, f"uploading a record to {self.where}", attempt)

    def prove_blob(self, digest: str, size: int) -> None:
        """Read a blob of any size back and hash it. OrtolanError when it is another."""

        def attempt() -> None:
            answer = checked(self.client.once("GET", self.url(f"blobs/{digest}"), stream=True), {200})
            found = Sum()
            for piece in pieces(answer):
                found.add(piece)
            if (found.digest, found.size) != (digest, size):
                raise Transient(f"the registry gives {found.digest} of {found.size} bytes for {digest} of {size}")

        insist(self.client.patience, f"reading {self.where}@{digest}", attempt)

    def manifest(self, reference: str) -> Stored | None:
        """The manifest or index of a tag or digest; None when there is none."""

        def attempt() -> Stored | None:
            accept = {"Accept": f"{MANIFEST_TYPE}, {INDEX_TYPE}"}
            answer = self.client.once("GET", self.url(f"manifests/{reference}"), headers=accept, stream=True)
            if checked(answer, {200, 404}).status_code == requests.codes.not_found:
                answer.close()
                return None
            data = _read(answer)
            told = reference if reference.startswith("sha256:") else answer.headers.get("Docker-Content-Digest", "")
            media = answer.headers.get("Content-Type", "").partition(";")[0]
            return Stored(
                _same(data, told or digests.of_bytes(data)), digests.of_bytes(data), media, answer.headers.get("ETag", "")
            )

        return insist(self.client.patience, f"reading the manifest of {self.where}:{reference}", attempt)

    def put_manifest(self, reference: str, data: bytes, media_type: str = MANIFEST_TYPE, etag: str = "") -> requests.Response:
        """Store a manifest under a tag or its digest; with ``etag``, only over what has it (412 where a registry heeds that)."""
        headers = {"Content-Type": media_type, **({"If-Match": etag} if etag else {})}

        def attempt() -> requests.Response:
            answer = self.client.once("PUT", self.url(f"manifests/{reference}"), headers=headers, body=data)
            if answer.status_code in {400, 404} and "BLOB_UNKNOWN" in said(
                answer
            ):  # it was seen there: another server lags behind
                raise Transient(said(answer))
            return checked(answer, {200, 201, 412})

        return insist(self.client.patience, f"storing {self.where}:{reference}", attempt)

    def tags(self) -> list[str]:
        """All tags, channels among them; none when there is no such repository."""
        found, url = list[str](), self.url("tags/list")
        while url:
            answer = self.client.ask("GET", url, ok={200, 404})
            if answer.status_code == requests.codes.not_found:
                return []
            listed = answers.value(answer)
            tags = listed.get("tags") if isinstance(listed, dict) else None
            found += [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
            after = answer.links.get("next", {}).get("url", "")
            url = urljoin(answer.url, after) if after else ""
        return found


def repository(address: Address, name: str, patience: Patience) -> Repository:
    """The repository ``name`` below an address, for whoever ``docker login`` knows."""
    host = "registry-1.docker.io" if address.host == "docker.io" else address.host
    client = Client(f"{address.scheme}://{host}", Login(address), patience, local=address.loopback)
    return Repository(client, name)


def location(answer: requests.Response, before: str = "") -> str:
    """Where an upload goes on: absolute, or relative to what was asked. Transient when the registry does not say."""
    told = answer.headers.get("Location", "")
    if not told and not before:
        raise Transient("the registry began an upload and did not say where")
    return urljoin(answer.url, told) if told else before


def closed(where: str, digest: str) -> str:
    """The URL of the request that ends the upload at a location."""
    return f"{where}{'&' if urlsplit(where).query else '?'}digest={digest}"


def pieces(answer: requests.Response) -> Iterator[bytes]:
    """The body in pieces. Transient when the connection ends before it does."""
    try:
        yield from answer.iter_content(_CHUNK)
    except requests.RequestException as error:
        raise Transient("the answer was cut off") from error
    finally:
        answer.close()


def _read(answer: requests.Response) -> bytes:
    data = b""
    for piece in pieces(answer):
        data += piece
        if len(data) > _LIMIT:
            raise OrtolanError(f"the registry's answer is longer than {_LIMIT} bytes")
    return data


def _same(data: bytes, wanted: str) -> bytes:
    """The data. Transient when it is not what its digest says: a poor line may be cured, a lie stays one."""
    found = digests.of_bytes(data)
    if found != wanted:
        raise Transient(f"the registry gives {found} for {wanted}")
    return data


def _lies(wanted: str, told: str) -> OrtolanError:
    return OrtolanError(f"the registry does not have {wanted}", why=f"it says {told}", hint="the registry's own store is damaged")

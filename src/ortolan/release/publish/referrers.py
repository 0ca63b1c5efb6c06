"""Artifacts that refer to a manifest: signatures, SBOMs, deltas, promotions (OCI 1.1 ``subject`` and the referrers API).

Where a registry has no such API, the list is an index under the tag ``sha256-<hex>``, kept by clients ("Referrers Tag Schema").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

import requests

from ... import digest as digests
from ...digest import canonical
from ...errors import OrtolanError
from . import answers
from .repository import INDEX_TYPE, MANIFEST_TYPE, Repository, Stored

EMPTY = b"{}"
"""The configuration of an artifact that needs none (OCI Image Specification 1.1, "Guidance for an Empty Descriptor")."""
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_ROUNDS = 8


@dataclass(frozen=True)
class Referrer:
    """A manifest that names another as its subject; ``layers`` are descriptors."""

    artifact_type: str
    layers: Sequence[Mapping[str, Any]]
    annotations: Mapping[str, str]
    subject: Mapping[str, Any]

    def to_bytes(self) -> bytes:
        """The manifest: canonical JSON, so that the same referrer has the same digest."""
        return canonical({
            "schemaVersion": 2, "mediaType": MANIFEST_TYPE, "artifactType": self.artifact_type,
            "config": descriptor(EMPTY_TYPE, EMPTY), "layers": [dict(layer) for layer in self.layers],
            "subject": dict(self.subject), "annotations": dict(self.annotations),
        })  # fmt: skip

    def entry(self) -> dict[str, Any]:
        """How a list of referrers speaks of it."""
        about = {"artifactType": self.artifact_type, "annotations": dict(self.annotations)}
        return {**descriptor(MANIFEST_TYPE, self.to_bytes()), **about}


def descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    """Of some bytes."""
    return {"mediaType": media_type, "digest": digests.of_bytes(data), "size": len(data)}


def push(repository: Repository, referrers: Sequence[Referrer]) -> None:
    """Store manifests whose blobs are there already, and list them where the registry does not do so by itself."""
    unlisted = list[Referrer]()
    for one in referrers:
        data = one.to_bytes()
        answer = repository.put_manifest(digests.of_bytes(data), data)
        if not answer.headers.get("OCI-Subject"):
            unlisted.append(one)
    if unlisted:
        _list(repository, str(unlisted[0].subject["digest"]), [one.entry() for one in unlisted])


def of(repository: Repository, subject: str) -> list[dict[str, Any]]:
    """The descriptors of what refers to a manifest: the registry's own list, or the index under the fallback tag."""
    answer = repository.client.ask("GET", repository.url(f"referrers/{subject}"), ok={200, 400, 404, 405, 501})
    if answer.status_code != requests.codes.ok:
        return _entries(repository.manifest(_fallback(subject)), subject)
    found = list[dict[str, Any]]()
    while True:
        found += _manifests(answers.value(answer))
        after = answer.links.get("next", {}).get("url", "")
        if not after:
            return found
        answer = repository.client.ask("GET", urljoin(answer.url, after), ok={200})


def _list(repository: Repository, subject: str, new: Sequence[dict[str, Any]]) -> None:
    """Add to the index; again when someone else has written it meanwhile, which is seen by reading it back."""
    tag = _fallback(subject)
    for _ in range(_ROUNDS):
        stored = repository.manifest(tag)
        old = _entries(stored, subject)
        missing = [one for one in new if one["digest"] not in {entry.get("digest") for entry in old}]
        if not missing:
            return
        index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": old + missing}
        repository.put_manifest(tag, canonical(index), INDEX_TYPE, stored.etag if stored else "")
    raise OrtolanError(f"the list of referrers {repository.name}:{tag} changes all the time", hint="publish again")


def _entries(stored: Stored | None, subject: str) -> list[dict[str, Any]]:
    if stored is None:
        return []
    value = stored.json()
    if value.get("mediaType", stored.media_type) != INDEX_TYPE:
        raise OrtolanError(f"the tag {_fallback(subject)} is no list of referrers", hint="remove that tag from the registry")
    return _manifests(value)


def _manifests(value: Any) -> list[dict[str, Any]]:
    return answers.objects(value.get("manifests")) if isinstance(value, dict) else []


def _fallback(subject: str) -> str:
    return subject.replace(":", "-", 1)

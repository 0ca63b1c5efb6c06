"""Channels in an OCI registry: tags that lead to the manifest of a release, and records that refer to that manifest."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from ... import digest as digests
from ...errors import OrtolanError
from ...manifest import Manifest
from ..layout import DESCRIPTION, MANIFEST, SUMS, Release, model_of
from . import answers, channel, modelpack, referrers
from .artifact import SIGNATURE_TYPE
from .channel import Known, Promotion, Record
from .outgoing import check_waivers, read_manifest, sums
from .referrers import EMPTY, Referrer, descriptor
from .repository import MANIFEST_TYPE, Repository, Stored
from .store import Channels, Promoted

PROMOTION_TYPE = "application/vnd.ortolan.promotion.v1+json"
CHANNEL = "dev.ortolan.channel"
_FALLBACK = re.compile(r"sha256-[0-9a-f]{64}")


def promote(at: Repository, wanted: Promotion) -> Promoted:
    """OrtolanError when there is no such release, it is not signed, or the channel would go back unasked."""
    stored = at.manifest(wanted.tag)
    if stored is None:
        raise OrtolanError(f"there is no release {wanted.tag}", where=at.where, hint="./inv publish comes first")
    new = release_of(at, stored)
    _check(at, stored, new, wanted)
    present = at.manifest(wanted.channel)
    old = release_of(at, present) if present else None
    record = _record(at, present.digest, wanted.channel) if present else None
    if present and record and present.digest == stored.digest:
        return Promoted(record, moved=False)
    made = channel.moved(wanted, new, old, record)
    _push(at, stored, made)
    at.put_manifest(wanted.channel, stored.data, stored.media_type or MANIFEST_TYPE)
    found = at.manifest(wanted.channel)
    if found is None or found.digest != stored.digest:
        raise OrtolanError(
            f"{wanted.channel} leads elsewhere already", why="someone else moves it", hint="./inv channels tells who"
        )
    return Promoted(made, moved=True)


def channels(at: Repository) -> Channels:
    """All channels and tags of a repository."""
    tags, names = _sorted(at.tags())
    records, strange = dict[str, Record](), dict[str, str]()
    for name in names:
        stored = at.manifest(name)
        record = _record(at, stored.digest, name) if stored else None
        if record:
            records[name] = record
        elif stored:
            strange[name] = f"leads to {stored.digest}, and no promotion says why"
    return Channels(records, tags, strange)


def _sorted(found: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tags of releases; channels. Lists of referrers, which have tags of their own, are neither."""
    tags, names = list[str](), list[str]()
    for one in sorted(found):
        try:
            model_of(one)
            tags.append(one)
        except OrtolanError:
            if not _FALLBACK.fullmatch(one):
                names.append(one)
    return tags, names


def _check(at: Repository, stored: Stored, new: Known, wanted: Promotion) -> None:
    told = (new.release.tag, new.release.target, new.release.model)
    if told != (wanted.tag, wanted.target, wanted.model):
        raise OrtolanError(f"{at.where}:{wanted.tag} is the release {' '.join(told)}", hint="publish it under its own name")
    check_waivers(_manifest(at, stored, new).waivers, wanted.tag, wanted.at.date())
    if not wanted.unsigned and not any(one.get("artifactType") == SIGNATURE_TYPE for one in referrers.of(at, stored.digest)):
        hint = f"./inv sign {wanted.tag}, then publish it again; or --unsigned"
        raise OrtolanError(f"{at.where}:{wanted.tag} is not signed", hint=hint)


def release_of(at: Repository, stored: Stored) -> Known:
    """The release behind a manifest. OrtolanError when it is something else, or release.json is not the one that was signed."""
    data = _layer(at, stored, DESCRIPTION)
    listed = sums(_layer(at, stored, SUMS))
    if listed.get(DESCRIPTION) != digests.of_bytes(data):
        raise OrtolanError(f"{DESCRIPTION} of {stored.digest} is not the one that {SUMS} lists", where=at.where)
    try:
        return Known(Release.model_validate_json(data), digests.of_bytes(data))
    except ValidationError as error:
        raise OrtolanError(f"{stored.digest} is no release", where=at.where, why=str(error).splitlines()[0]) from error


def _manifest(at: Repository, stored: Stored, new: Known) -> Manifest:
    data = _layer(at, stored, MANIFEST)
    if digests.of_bytes(data) != new.release.manifest:
        raise OrtolanError(f"{MANIFEST} of {stored.digest} is not that of its release", where=at.where)
    return read_manifest(data, new.release.tag, at.where)


def _layer(at: Repository, stored: Stored, path: str) -> bytes:
    found = [one for one in answers.objects(stored.json().get("layers")) if answers.annotation(one, modelpack.FILEPATH) == path]
    if stored.json().get("artifactType") != modelpack.ARTIFACT_TYPE or len(found) != 1:
        raise OrtolanError(f"{stored.digest} is no release", where=at.where, why=f"it has no layer {path}")
    return at.blob(*answers.blob(found[0], at.where))


def _record(at: Repository, subject: str, name: str) -> Record | None:
    """The last promotion of a channel to a manifest: that with the longest history."""
    listed = [one for one in referrers.of(at, subject) if one.get("artifactType") == PROMOTION_TYPE]
    found = [_read(at, one) for one in listed if answers.annotation(one, CHANNEL) == name]
    return max(found, key=lambda one: (len(one.history), one.at), default=None)


def _read(at: Repository, entry: Mapping[str, Any]) -> Record:
    stored = at.manifest(str(entry.get("digest")))
    layers = answers.objects(stored.json().get("layers")) if stored else []
    if len(layers) != 1:
        raise OrtolanError(f"{entry.get('digest')} is no record of a promotion", where=at.where)
    return channel.read(at.blob(*answers.blob(layers[0], at.where)), at.name)


def _push(at: Repository, stored: Stored, made: Record) -> None:
    """The record's blob, its manifest, and its place in the list."""
    data = made.to_bytes()
    for blob in (data, EMPTY):
        at.put_blob(blob)
    subject = descriptor(stored.media_type or MANIFEST_TYPE, stored.data)
    layer = {**descriptor(PROMOTION_TYPE, data), "annotations": {modelpack.TITLE: f"{made.channel}.json"}}
    referrers.push(at, [Referrer(PROMOTION_TYPE, [layer], {CHANNEL: made.channel, "dev.ortolan.at": made.at}, subject)])

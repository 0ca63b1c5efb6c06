"""Channels (``stable``, ``beta``): which release devices should run, and the record of who moved them, when and from where."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ...disk import json_bytes
from ...errors import OrtolanError
from ..layout import Release, model_of

_NAME = re.compile(r"[a-z][a-z0-9]*(?:[._-][a-z0-9]+)*")
_LONGEST = 64


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Previous(_Part):
    """What a channel led to before: ``release`` is the digest of its release.json."""

    tag: str
    release: str


class Move(_Part):
    """One promotion; ``at`` is UTC as in ISO 8601, with a Z."""

    tag: str
    release: str
    by: str
    at: str


class Record(_Part):
    """``channels/<channel>.json``: where a channel leads, and all moves, oldest first, the present one last."""

    channel: str
    tag: str
    release: str
    previous: Previous | None
    by: str
    at: str
    history: list[Move]

    def to_bytes(self) -> bytes:
        """Indented canonical JSON with a newline at the end."""
        return json_bytes(self.model_dump(mode="json"))


@dataclass(frozen=True)
class Known:
    """A published release: its description, and the digest of that."""

    release: Release
    digest: str


@dataclass(frozen=True)
class Promotion:
    """What is asked for: that ``channel`` leads to ``tag`` of ``target``. ``back`` allows an older release than before."""

    tag: str
    target: str
    model: str
    channel: str
    by: str
    at: datetime
    back: bool = False
    unsigned: bool = False


def name(text: str) -> str:
    """A channel's name. OrtolanError when it could be mistaken for a tag, or is no name for a file."""
    if not _NAME.fullmatch(text) or len(text) > _LONGEST or _is_tag(text) or text.startswith("sha256-"):
        raise OrtolanError(
            f"'{text}' is no name of a channel", hint="small letters, digits and single . _ - between: stable, beta"
        )
    return text


def _is_tag(text: str) -> bool:
    try:
        return bool(model_of(text))
    except OrtolanError:
        return False


def read(data: bytes, where: str) -> Record:
    """A record. OrtolanError when it is none."""
    try:
        return Record.model_validate_json(data)
    except ValidationError as error:
        raise OrtolanError("no record of a channel", where=where, why=str(error).splitlines()[0]) from error


def moved(wanted: Promotion, new: Known, old: Known | None, record: Record | None) -> Record:
    """The channel's next record. OrtolanError when it would go back to an older release and nobody asked for that.

    ``old`` is the release that the channel leads to now, ``record`` what is recorded of it.
    """
    if old and new.release.sequence < old.release.sequence and not wanted.back:
        why = f"sequence {new.release.sequence} is lower than {old.release.sequence}, that of {old.release.tag}"
        raise OrtolanError(f"{wanted.channel} would go back to {wanted.tag}", why=why, hint="--back, when this is a rollback")
    move = Move(tag=new.release.tag, release=new.digest, by=wanted.by, at=_utc(wanted.at))
    previous = Previous(tag=old.release.tag, release=old.digest) if old else None
    history = [*(record.history if record else []), move]
    about = move.model_dump()
    return Record(channel=wanted.channel, previous=previous, history=history, **about)


def _utc(at: datetime) -> str:
    return at.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def told(records: Mapping[str, Record]) -> list[dict[str, Any]]:
    """For machines."""
    return [one.model_dump(mode="json") for _, one in sorted(records.items())]

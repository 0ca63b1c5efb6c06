"""What every store can do, whatever it is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..layout import Release
from .channel import Promotion, Record
from .outgoing import Outgoing


@dataclass(frozen=True)
class Published:
    """``where`` devices find it, its digest there, and what was ``sent`` in bytes; what was there already is ``kept``.

    ``earlier`` is the release that was there, where it is the same bundle by another commit or number: nothing was changed.
    """

    where: str
    digest: str
    sent: int
    kept: int
    earlier: Release | None = None


@dataclass(frozen=True)
class Promoted:
    """The channel's record, and whether it was moved: it may have led there already."""

    record: Record
    moved: bool


@dataclass(frozen=True)
class Channels:
    """Of one model for one target: the channels' records by name, the tags, and ``{channel: why}`` where no record fits."""

    records: Mapping[str, Record]
    tags: Sequence[str]
    strange: Mapping[str, str]

    def told(self) -> dict[str, Any]:
        """For machines."""
        records = [one.model_dump(mode="json") for _, one in sorted(self.records.items())]
        return {"channels": records, "tags": list(self.tags), "without_record": dict(self.strange)}


class Store(Protocol):
    """A place for releases. All methods raise OrtolanError, and leave what devices see whole."""

    def publish(self, release: Outgoing, *, deep: bool = False) -> Published:
        """Bring a release there, check it there, then let it be seen under its tag. The same bundle again changes nothing."""

    def promote(self, wanted: Promotion) -> Promoted:
        """Let a channel lead to a release that is there, and record it."""

    def channels(self, target: str, model: str) -> Channels:
        """What there is of a model."""

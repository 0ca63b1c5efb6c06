"""``channels``: where channels lead, what else is published, and who moved what when."""

from __future__ import annotations

import json

from ..cache import Cache
from ..errors import OrtolanError
from ..events import Event
from ..release.publish import address
from ..release.publish.store import Channels
from ..release.publish.stores import store
from ..report.tables import table


def run(at: str, target: str, model: str, *, insecure: bool, as_json: bool, cache: Cache) -> None:
    """Tables of channels, tags and promotions."""
    if not (target and model):
        raise OrtolanError("which model for which target?", hint="--target raspberry-pi-5 --model digits")
    found = store(address.parse(at, insecure=insecure), cache, _quiet).channels(target, model)
    print(json.dumps(found.told(), indent=1, sort_keys=True) if as_json else "\n".join(_text(found)))


def _quiet(_: Event) -> None:
    """Reading takes no time."""


def _text(found: Channels) -> list[str]:
    leads = [(name, one.tag, one.by, one.at) for name, one in sorted(found.records.items())]
    leads += [(name, why, "", "") for name, why in sorted(found.strange.items())]
    moves = [(one.at, name, one.tag, one.by) for name, record in found.records.items() for one in record.history]
    return [
        *table(("channel", "leads to", "by", "since"), leads or [("none", "", "", "")]), "",
        *table(("published", "channels"), [(tag, _of(found, tag)) for tag in found.tags] or [("nothing", "")]), "",
        *table(("promoted at", "channel", "to", "by"), sorted(moves) or [("never", "", "", "")]),
    ]  # fmt: skip


def _of(found: Channels, tag: str) -> str:
    return ", ".join(sorted(name for name, one in found.records.items() if one.tag == tag))

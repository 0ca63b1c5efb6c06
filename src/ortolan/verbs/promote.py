"""``promote``: let a channel lead to a release that is published."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from ..cache import Cache
from ..errors import OrtolanError
from ..release.layout import model_of
from ..release.publish import address, channel
from ..release.publish.channel import Promotion
from ..release.publish.store import Promoted
from ..release.publish.stores import store
from ..report.progress import shown


def run(
    root: Path, tag: str, name: str, at: str, target: str, model: str, *, by: str, back: bool, unsigned: bool, insecure: bool,
    as_json: bool, cache: Cache,
) -> None:  # fmt: skip
    """One line that says from where to where; or that nothing was to do."""
    if not (target and name):
        raise OrtolanError("which channel, of which target?", hint="--channel stable --target raspberry-pi-5")
    wanted = Promotion(
        tag, target, model or model_of(tag), channel.name(name), by or who(root), datetime.now(UTC), back=back, unsigned=unsigned
    )
    with shown(as_json=as_json) as emit:
        done = store(address.parse(at, insecure=insecure), cache, emit).promote(wanted)
    print(_json(done) if as_json else _text(done))


def who(root: Path) -> str:
    """Who promotes: GitLab's user in a pipeline, else git's user, else the system's."""
    name = os.environ.get("GITLAB_USER_LOGIN") or _git(root)
    try:
        return name or getpass.getuser()
    except (KeyError, OSError) as error:
        raise OrtolanError("who promotes this?", hint="--by you@example.com, or git config user.email") from error


def _git(root: Path) -> str:
    try:
        done = subprocess.run(  # noqa: S603
            ["git", "-C", str(root), "config", "user.email"],  # noqa: S607
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
    except OSError:
        return ""
    return done.stdout.strip()


def _text(done: Promoted) -> str:
    one = done.record
    if not done.moved:
        return f"{one.channel} leads to {one.tag} already, since {one.at}, by {one.by}"
    return f"{one.channel}: {one.previous.tag if one.previous else 'nothing'} -> {one.tag}, by {one.by}, {one.at}"


def _json(done: Promoted) -> str:
    return json.dumps({"kind": "promoted", "moved": done.moved, **done.record.model_dump(mode="json")}, sort_keys=True)

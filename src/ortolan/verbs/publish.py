"""``publish``: bring releases to where devices fetch them."""

from __future__ import annotations

import json
from pathlib import Path

from ..cache import Cache
from ..devices.limits import check as check_benches
from ..release import layout
from ..release.layout import DESCRIPTION
from ..release.publish import address
from ..release.publish.outgoing import outgoing
from ..release.publish.store import Published
from ..release.publish.stores import store
from ..report.progress import shown
from ..report.tables import size


def run(
    root: Path, named: str, target: str, to: str, *, insecure: bool, unsigned: bool, deep: bool, as_json: bool, cache: Cache
) -> None:
    """One line for each release, and its digest. All are checked before the first is published."""
    where = address.parse(to, insecure=insecure)
    releases = [outgoing(folder, unsigned=unsigned) for folder in _folders(root, named, target)]
    for release in releases:
        check_benches(root, release.manifest)
    with shown(as_json=as_json) as emit:
        at = store(where, cache, emit)
        for release in releases:
            done = at.publish(release, deep=deep)
            print(_json(done) if as_json else _text(done), flush=True)


def _folders(root: Path, named: str, target: str) -> list[Path]:
    """One release; or all in a folder such as dist or dist/<target>."""
    folder = Path(named)
    if folder.is_dir() and not (folder / DESCRIPTION).is_file():
        several = sorted(path.parent for depth in ("*", "*/*") for path in folder.glob(f"{depth}/{DESCRIPTION}"))
        if several:
            return several
    return [layout.find(root, named, target)]


def _text(done: Published) -> str:
    if done.earlier:
        of = f"sequence {done.earlier.sequence}, commit {done.earlier.revision}"
        return f"{done.where}\n  {done.digest}  the same bundle is there already ({of}): nothing was changed"
    state = f"{size(done.sent)} sent, {size(done.kept)} were there" if done.sent else "all was there already"
    return f"{done.where}\n  {done.digest}  {state}"


def _json(done: Published) -> str:
    value = {"kind": "published", "where": done.where, "digest": done.digest, "sent": done.sent, "kept": done.kept}
    earlier = {"sequence": done.earlier.sequence, "revision": done.earlier.revision} if done.earlier else None
    return json.dumps({**value, "earlier": earlier}, sort_keys=True)

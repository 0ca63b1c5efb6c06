"""``bundle``: make releases of what was built last, and list their files."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from invoke.exceptions import Exit

from ..artifact import Gate, Outcome
from ..devices.limits import check as check_benches
from ..errors import OrtolanError
from ..release.bundle import Bundled, Options, bundle, sequence
from ..release.check import read_sums
from ..release.source import builds, source
from ..report.tables import size, table
from ..revision import revision


def run(root: Path, targets: Sequence[str], models: Sequence[str], *, plain: bool, number: int, as_json: bool) -> None:
    """One block, or one line of JSON, for each release; one that is refused does not stop the others."""
    if not targets:
        raise OrtolanError("which target?", hint="--target raspberry-pi-5")
    today = datetime.now(UTC).date()
    options = Options(root / "dist", revision(root), number or None, plain)
    sequence(options)  # before anything is read
    codes = []
    for record in [record for target in dict.fromkeys(targets) for record in builds(root / "build", target, models)]:
        try:
            found = source(record, today)
            timed = check_benches(root, found.manifest)
            made = bundle(found, options)
        except OrtolanError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            codes.append(error.exit_code)
        else:
            print(_json(made) if as_json else _text(made, root, timed), flush=True)
    if codes:
        raise Exit(code=max(codes))


def _text(made: Bundled, root: Path, timed: Sequence[Gate]) -> str:
    release = made.release
    rows = [(name, size((made.folder / name).stat().st_size), hashed) for name, hashed in read_sums(made.folder).items()]
    lines = table(("file", "bytes", "sha256"), [(name, count, hashed.removeprefix("sha256:")) for name, count, hashed in rows])
    state = "" if made.new else ", as it was"
    about = f"  {len(release.files)} files, {size(release.unpacked)} unpacked, sequence {release.sequence}, {release.revision}"
    return "\n".join(
        [f"{made.folder.relative_to(root)}/{state}", about, *(f"  {line}" for line in lines), *_warned(made), *_open(timed), ""]
    )


def _warned(made: Bundled) -> list[str]:
    unnamed = not made.release.revision.isalnum() or made.release.revision == "unknown"
    return ["  no commit names what this was made from: commit, and bundle again before you sign"] if unnamed else []


def _open(timed: Sequence[Gate]) -> list[str]:
    """What was not seen on a device, or ships all the same."""
    return [f"  {one.name} ({one.subject}): {one.outcome}: {one.why}" for one in timed if one.outcome is not Outcome.PASS]


def _json(made: Bundled) -> str:
    files = {
        name: {"digest": hashed, "size": (made.folder / name).stat().st_size} for name, hashed in read_sums(made.folder).items()
    }
    value = {"kind": "release", "folder": str(made.folder), "new": made.new, "files": files}
    return json.dumps(value | {"release": made.release.model_dump(mode="json")}, sort_keys=True)

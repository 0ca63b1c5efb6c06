"""``delta``: the patch from one release to another."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, get_args

from ..errors import OrtolanError
from ..release import layout
from ..release.delta import Made, Tried, make
from ..release.layout import TAR, ZST
from ..release.patch import Method
from ..report.progress import shown
from ..report.tables import size, table
from .lists import dump


def run(root: Path, old: str, new: str, *, target: str, method: str, as_json: bool) -> None:
    """A table of sizes, and the delta's path or why the full bundle is to be sent; warnings on stderr."""
    wanted = _method(method)
    folders = [layout.find(root, one, target) for one in (old, new)]
    with shown(as_json=False) as emit:
        made = make(folders[0], folders[1], emit, wanted)
    for warning in made.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if as_json:
        dump(_told(made))
    else:
        print("\n".join(_lines(made, root)))


def _method(name: str) -> Method | None:
    for method in get_args(Method):
        if name == method:
            return method  # type: ignore[no-any-return]  # it is one of the literals
    if name:
        raise OrtolanError(f"there is no method '{name}'", why=f"there are {' and '.join(get_args(Method))}")
    return None


def _lines(made: Made, root: Path) -> list[str]:
    full = made.new.zst.size
    rows = [(TAR, size(made.new.tar.size), f"{made.new.tar.size / full:.0%}", ""), (ZST, size(full), "100%", "")]
    rows += [_row(one, full) for one in made.tried]
    end = f"send the full bundle: {made.why}"
    if made.delta and made.path:
        path = made.path.relative_to(root) if made.path.is_relative_to(root) else made.path
        end = f"{path}: {made.delta.method}, {size(made.delta.size)}"
    cells = table(("", "size", "of full", "gives NEW by"), rows)
    return [f"{made.old.tag} → {made.new.tag}", *(f"  {line}" for line in cells), end]


def _row(one: Tried, full: int) -> tuple[str, str, str, str]:
    if one.size is None:
        return one.method, "–", "–", one.why
    return one.method, size(one.size), f"{one.size / full:.2%}", ", ".join(one.checked)


def _told(made: Made) -> dict[str, Any]:
    """The same for programs."""
    return {
        "old": made.old.tag,
        "new": made.new.tag,
        "full": made.new.zst.size,
        "tar": made.new.tar.size,
        "methods": {one.method: {"size": one.size, "why": one.why, "checked": list(one.checked)} for one in made.tried},
        "delta": made.delta.model_dump(mode="json", by_alias=True) if made.delta else None,
        "path": str(made.path) if made.path else None,
        "why": made.why,
        "warnings": list(made.warnings),
    }

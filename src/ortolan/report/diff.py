"""A comparison of two releases for people: as text, and as Markdown in which no foreign text is markup."""

from __future__ import annotations

import re
from collections.abc import Sequence
from textwrap import wrap

from ..release.compare import Comparison, Group, Level
from .tables import one_line, size, table

_MARKS = {Level.CHANGED: "", Level.BETTER: "better", Level.REGRESSION: "REGRESSION", Level.BREAKING: "BREAKING"}
_HEADER = ("", "what", "OLD", "NEW", "")
_NOTHING = "–"
_WIDTH = 120  # of paragraphs; tables are as wide as they must be

Row = tuple[str, str, str, str, str]


def text(found: Comparison) -> list[str]:
    """The verdict, a table for each group that changed, what did not change, and the bytes to send."""
    lines = [_title(found), one_line(found.text), ""]
    for group in found.groups:
        if group.changes:
            lines += [group.name, *(f"  {line}" for line in table(_HEADER, _rows(group)))]
            lines += _wrapped("the same:", ", ".join(group.same)) if group.same else []
            lines += [line for one in group.unseen for line in _wrapped("not compared:", one)]
            lines.append("")
    quiet = [group for group in found.groups if not group.changes]
    if quiet:
        lines += ["unchanged", *(line for group in quiet for line in _wrapped(f"{group.name}:", _quiet(group))), ""]
    sent = table(("", "", ""), [("", f"{what}:", count) for what, count in _bytes(found)])[1:]
    return [*lines, "bytes to send", *sent]


def _wrapped(what: str, words: str) -> list[str]:
    """Lines of a paragraph; only blanks are broken at."""
    told = one_line(f"{what} {words}")
    return wrap(told, _WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def markdown(found: Comparison) -> list[str]:
    """The same; every name and value that comes from models, recipes and runtimes stands in a code span."""
    lines = [f"# {_code(found.old.manifest.tag)} → {_code(found.new.manifest.tag)}", "", f"**{_verdict(found)}**", ""]
    for group in found.groups:
        if group.changes:
            lines += [f"## {group.name.capitalize()}", "", *_pipes(_HEADER, _rows(group)), ""]
            lines += [f"The same: {', '.join(map(_code, group.same))}", ""] if group.same else []
            lines += [line for one in group.unseen for line in (f"Not compared: {_code(one)}", "")]
    quiet = [group for group in found.groups if not group.changes]
    if quiet:
        items = [f"- {group.name}: {', '.join(map(_code, [*group.same, *group.unseen])) or 'none'}" for group in quiet]
        lines += ["## Unchanged", "", *items, ""]
    return [*lines, "## Bytes to send", "", *(f"- {what}: {count}" for what, count in _bytes(found))]


def _title(found: Comparison) -> str:
    old, new = found.old.manifest, found.new.manifest
    return one_line(f"{old.tag} → {new.tag} for {new.target.name}")


def _verdict(found: Comparison) -> str:
    """Our word, and what it is about as code."""
    word, _, what = found.text.partition(": ")
    return f"{word}: {_code(what)}" if what else word


def _rows(group: Group) -> list[Row]:
    """The gravest first, otherwise in the group's order."""
    order = list(_MARKS)[::-1]
    changes = sorted(group.changes, key=lambda change: order.index(change.level))
    return [(_MARKS[one.level], one.what, one.old or _NOTHING, one.new or _NOTHING, one.why) for one in changes]


def _quiet(group: Group) -> str:
    return ", ".join([*group.same, *(f"not compared: {one}" for one in group.unseen)]) or "none"


def _bytes(found: Comparison) -> list[tuple[str, str]]:
    known, sent = found.bytes, []
    if known.full is not None:
        sent.append(("full bundle", size(known.full)))
    if known.full is not None and found.old.release:
        part = f"{size(known.delta)}, {known.delta / known.full:.1%} of it" if known.delta is not None else "none is made"
        sent.append(("delta from OLD", part))
    return [*sent, ("files that OLD has not", size(known.files)), ("unpacked on the device", size(known.unpacked))]


def _pipes(header: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """A table; the first column holds our own words."""
    cells: list[list[str]] = [
        [row[0], *(_code(cell) if cell not in {"", _NOTHING} else cell for cell in row[1:])] for row in rows
    ]
    return [f"| {' | '.join(row)} |" for row in (list(header), ["---"] * len(header), *cells)]


def _code(foreign: str) -> str:
    """A code span, in which nothing is markup and no forge looks for names, issues or links.

    A pipe would end the cell of a table in some readers; such text is written as HTML's ``code`` with every mark as an entity.
    """
    plain = one_line(foreign)
    if "|" in plain:
        return f"<code>{_entities(plain)}</code>"
    fence = "`" * (max(map(len, re.findall("`+", plain)), default=0) + 1)
    pad = " " if plain.startswith(("`", " ")) or plain.endswith(("`", " ")) else ""
    return f"{fence}{pad}{plain}{pad}{fence}" if plain.strip() else "` `"


def _entities(plain: str) -> str:
    return re.sub(r"[^A-Za-z0-9 ]", lambda mark: f"&#{ord(mark[0])};", plain)

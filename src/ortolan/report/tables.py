"""Tables as plain text: aligned columns that read well in a terminal, a log and a mail."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

from ..artifact import Gate, Outcome

_COLOURS = {Outcome.PASS: "32", Outcome.FAIL: "31;1", Outcome.NOT_RUN: "33", Outcome.WAIVED: "35"}


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with the header first, one for each row whatever its text; the last column may be of any width."""
    return ["  ".join(cells).rstrip() for cells in _padded(header, rows)]


def gate_table(gates: Sequence[Gate], *, colour: bool) -> list[str]:
    """One line for each gate: name, subject, outcome, measured value, limit, reason."""
    rows = [(g.name, g.subject, str(g.outcome), g.measured, g.limit, g.why) for g in gates]
    header, *cells = _padded(("gate", "of", "outcome", "measured", "limit", "why"), rows)
    shown = [_painted(row, gate.outcome) if colour else row for row, gate in zip(cells, gates, strict=True)]
    return ["  ".join(row).rstrip() for row in (header, *shown)]


def _padded(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """The cells, all but the last filled up to their column's width in a terminal, where some characters take two places."""
    texts = [[one_line(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(cell_len, column)) for column in zip(*texts, strict=True)]
    widths[-1] = 0
    return [[cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)] for row in texts]


def one_line(text: str) -> str:
    """Line ends and what would steer a terminal become blanks."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _painted(cells: Sequence[str], outcome: Outcome) -> list[str]:
    return [*cells[:2], cells[2].replace(outcome, f"\033[{_COLOURS[outcome]}m{outcome}\033[0m"), *cells[3:]]


def size(count: int) -> str:
    """Bytes for people, in units of 1000."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.4g} {unit}"
        value /= 1000
    return f"{value:.4g} GB"

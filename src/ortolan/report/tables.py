"""Tables as plain text: aligned columns that read well in a terminal, a log and a mail."""

from __future__ import annotations

from collections.abc import Sequence

from ..artifact import Gate, Outcome

_COLOURS = {Outcome.PASS: "32", Outcome.FAIL: "31;1", Outcome.NOT_RUN: "33", Outcome.WAIVED: "35"}


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with the header first; the last column may be of any width."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header) - 1)]
    return [
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[-1]]).rstrip() for row in (header, *rows)
    ]


def gate_table(gates: Sequence[Gate], *, colour: bool) -> list[str]:
    """One line for each gate: name, subject, outcome, measured value, limit, reason."""
    rows = [(g.name, g.subject, str(g.outcome), g.measured, g.limit, g.why) for g in gates]
    lines = table(("gate", "of", "outcome", "measured", "limit", "why"), rows)
    return [lines[0], *(_painted(line, gate) if colour else line for line, gate in zip(lines[1:], gates, strict=True))]


def _painted(line: str, gate: Gate) -> str:
    start = line.index(f" {gate.outcome}", len(gate.name)) + 1
    end = start + len(gate.outcome)
    return f"{line[:start]}\033[{_COLOURS[gate.outcome]}m{line[start:end]}\033[0m{line[end:]}"


def size(count: int) -> str:
    """Bytes for people, in units of 1000."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.4g} {unit}"
        value /= 1000
    return f"{value:.4g} GB"

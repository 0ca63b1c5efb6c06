"""Renderers of events: live on a terminal, plain lines in CI, JSON lines for machines."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TextIO

from ..events import Emit, Event

_WORDS = {"done": "done", "refused": "refused", "failed": "FAILED", "skipped": "skipped", "start": "started"}


@contextmanager
def shown(*, as_json: bool, stream: TextIO = sys.stderr) -> Iterator[Emit]:
    """A renderer that fits the stream; its display is put away at the end."""
    if as_json:
        yield JsonLines(sys.stdout)
    elif stream.isatty():
        with _live(stream) as emit:
            yield emit
    else:
        yield Plain(stream)


class JsonLines:
    """Each event as one line of JSON. Events come from many threads; a line is never broken by another."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._guard = stream, threading.Lock()

    def __call__(self, event: Event) -> None:
        """Print it."""
        line = json.dumps({k: v for k, v in asdict(event).items() if v}, sort_keys=True)
        with self._guard:
            print(line, file=self._stream, flush=True)


class Plain:
    """One line for each thing that took time or went wrong; what was recalled is only counted."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._guard = stream, threading.Lock()

    def __call__(self, event: Event) -> None:
        """Print it, if it is of interest."""
        line = self._line(event)
        if line:
            with self._guard:
                print(line, file=self._stream, flush=True)

    def _line(self, event: Event) -> str:
        if event.kind in ("done", "refused", "failed", "skipped"):
            took = f" {event.seconds:.1f} s" if event.seconds else ""
            text = f" ({event.text})" if event.text else ""
            return f"  {_WORDS[event.kind]:8}{event.label}{took}{text}"
        if event.kind in ("note", "runtime"):
            return f"  {event.label + ': ' if event.label else ''}{event.text}"
        return ""


class _Live:
    """Lines that stay above one bar that moves: steps settled of all, and what runs now."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console  # noqa: PLC0415 - rich costs as much as a whole build with nothing to do
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        columns = (
            SpinnerColumn(),
            BarColumn(24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
        )
        self._text = Text
        self.progress = Progress(*columns, console=Console(file=stream), transient=True)
        self._task = self.progress.add_task("", total=0)
        self._running: dict[str, float] = {}
        self._guard = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Draw it."""
        with self._guard:
            self._count(event)
            self._say(event)
            self.progress.update(self._task, description=", ".join(self._running))

    def _count(self, event: Event) -> None:
        if event.kind == "plan":
            self.progress.update(self._task, total=(self.progress.tasks[0].total or 0) + event.total)
        elif event.kind == "start":
            self._running[event.label] = time.monotonic()
        elif event.kind in ("done", "recalled", "refused", "failed", "skipped"):
            self._running.pop(event.label, None)
            self.progress.advance(self._task)

    def _say(self, event: Event) -> None:
        if event.kind in ("done", "refused", "failed", "note", "runtime"):
            colour = {"failed": "red", "refused": "yellow", "done": "green"}.get(event.kind, "cyan")
            took = f" {event.seconds:.1f} s" if event.seconds else ""
            word = f"  {_WORDS.get(event.kind, '·'):8} "
            self.progress.console.print(self._text.assemble((word, colour), event.label, (took, "dim"), f" {event.text}"))


class Lazy:
    """Nothing is drawn, and nothing of rich is imported, until a step really starts."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._held = stream, list[Event]()
        self.live: _Live | None = None
        self._guard = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Draw it, or hold it until there is something to draw."""
        with self._guard:
            if self.live is None and event.kind in ("start", "runtime", "note"):
                self.live = _Live(self._stream)
                self.live.progress.start()
                for held in self._held:
                    self.live(held)
            if self.live is None:
                self._held.append(event)
                return
        self.live(event)


@contextmanager
def _live(stream: TextIO) -> Iterator[Emit]:
    lazy = Lazy(stream)
    try:
        yield lazy
    finally:
        if lazy.live:
            lazy.live.progress.stop()

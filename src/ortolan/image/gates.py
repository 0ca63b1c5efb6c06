"""Gates of an image: it is built, answers as the build does, is no larger than what it holds, and comes out the same twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from time import monotonic, sleep

from ..artifact import Gate, Outcome
from ..platforms import host_platform
from . import ask
from .order import Order
from .parts import Builder, CannotStart, Container, Image, last_lines

SUBJECT = "image"
MOST = 1.15
"""The largest image, over its base, its runtime and its model."""

_PATIENCE = 300.0  # seconds until it must be well: an emulated processor takes half a minute
_UNITS = 1e6


@dataclass(frozen=True)
class Bytes:
    """Where an image's bytes go. ``model`` counts its golden samples too; ``rest`` is the entry point and what layers cost."""

    whole: int
    base: int
    runtime: int
    model: int

    @property
    def rest(self) -> int:
        """What nothing else accounts for."""
        return self.whole - self.base - self.runtime - self.model

    @property
    def ratio(self) -> float:
        """The whole over what it must hold."""
        return self.whole / (self.base + self.runtime + self.model)


def gate(name: str, good: bool, measured: str, limit: str = "", why: str = "") -> Gate:
    """A gate of an image that passes or fails."""
    return Gate(name, SUBJECT, Outcome.PASS if good else Outcome.FAIL, measured, limit, "" if good else why)


def unseen(name: str, why: str) -> Gate:
    """One that was not run."""
    return Gate(name, SUBJECT, Outcome.NOT_RUN, why=why)


def built(image: Image, builder: Builder) -> Gate:
    """It was built, for its platform."""
    return gate("image-builds", True, f"{image.id[:19]}, {image.platform}, {builder.name}")


def sized(found: Bytes) -> Gate:
    """It holds next to nothing but base, runtime and model."""
    named = {"base": found.base, "runtime": found.runtime, "model": found.model, "rest": found.rest}
    parts = ", ".join(f"{name} {count / _UNITS:.1f}" for name, count in named.items())
    measured = f"{found.ratio:.2f}×, {found.whole / _UNITS:.1f} MB: {parts}"
    return gate(
        "image-size", found.ratio <= MOST, measured, f"≤ {MOST:g}× base, runtime and model", "find out what else it holds"
    )


def reproducible(image: Image, again: Callable[[], Image], builder: Builder) -> Gate:
    """A second build has the same id."""
    if builder.varies:
        return unseen("image-reproducible", f"{builder.name}: {builder.varies}")
    other = again()
    why = f"the second build is {other.id[:19]}"
    return gate("image-reproducible", image.id == other.id, f"{image.id[:19]} twice, {builder.name}", "equal ids", why)


def not_started(reason: CannotStart) -> Gate:
    """Nothing is known about its answers."""
    return unseen("image-answers", "; ".join(text for text in (reason.what, reason.why, reason.hint) if text))


def waited(container: Container, path: str) -> str:
    """Wait until it is well; empty then, else the reason and the end of its log."""
    until, why = monotonic() + _PATIENCE, "it says nothing"
    while monotonic() < until:
        why = ask.healthy(container, path)
        if not why:
            return ""
        if not container.running():
            return f"it has ended: {last_lines(container.log(), 4)}"
        sleep(0.2)
    return f"not well after {_PATIENCE:g} s: {why}: {last_lines(container.log(), 4)}"


def answers(container: Container, given: Order, image: Image) -> Gate:
    """It gets well, answers every golden sample as the build does, passes its own health check, and stops when asked."""
    about = given.manifest.golden
    limit = f"atol {about.atol:g} + rtol {about.rtol:g}"
    try:
        why = waited(container, "/health")
        found = ask.Answers(why=why) if why else ask.golden(container, given.folder, about)
        why = found.why or checked(container, image)
    except (OSError, HTTPException) as error:
        return gate("image-answers", False, "no answer", limit, f"{error}: {last_lines(container.log(), 4)}")
    emulated = "" if image.platform.startswith(host_platform()) else ", emulated"
    measured = f"{found.equal} of {found.outputs} outputs equal, max error {found.error:.3g}; {container.how}{emulated}"
    return gate("image-answers", not why, measured, limit, why)


def checked(container: Container, image: Image) -> str:
    """The image's own health check, as it stands in its configuration."""
    kind, *command = (image.config.get("Healthcheck") or {}).get("Test") or ["NONE"]
    if kind != "CMD":
        return "the image has no health check"
    code, said = container.execute(command)
    return f"its health check ends with {code}: {last_lines(said, 4)}" if code else ""


def stops(container: Container) -> Gate:
    """SIGTERM ends it at once, with exit code 0."""
    code = container.stop()
    measured = "killed" if code is None else f"exit code {code}"
    return gate("image-stops", code == 0, measured, "exit code 0 on SIGTERM", last_lines(container.log(), 4))

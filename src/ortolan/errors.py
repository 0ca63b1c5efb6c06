"""Every failure that a user can cause or fix; printed without a traceback."""

from __future__ import annotations


class OrtolanError(Exception):
    """Says what went wrong, where, why, and what to try.

    ``what`` is one line. ``where`` is a file, a step or a recipe key. ``why`` is the cause as far as it is known.
    ``hint`` is the next thing to try. ``exit_code`` is what the command exits with.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", why: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.why, self.hint = what, where, why, hint

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.what}" if self.where else self.what]
        if self.why:
            lines.append(f"  why: {self.why}")
        if self.hint:
            lines.append(f"  try: {self.hint}")
        return "\n".join(lines)


class RecipeError(OrtolanError):
    """One or more mistakes in recipes; ``what`` holds one line for each."""

    exit_code = 2


class RuntimeSetupError(OrtolanError):
    """A pinned environment could not be made, or is not what its lock says."""


class StoreError(OrtolanError):
    """The store cannot be read or written, or a second result for one key has other bytes."""


class CorruptObject(StoreError):
    """A stored object no longer has the bytes that its name promises; it has been removed."""

    def __init__(self, digest: str) -> None:
        super().__init__(f"stored object {digest} is damaged", why="its bytes no longer match its digest")
        self.digest = digest


class StepError(OrtolanError):
    """A step of a build failed; ``log`` is the kept log, where there is one."""


class GateError(OrtolanError):
    """At least one gate of what would ship failed."""

    exit_code = 3

"""A host over ssh as a place: the same stage code, in the host's own interpreter and with its packages."""

from __future__ import annotations

from pathlib import Path

from .host import FOLDER, LIFELINE, Errand, Host
from .reply import FOLDERS, WORKER, Reply, reply_in, timed_out, variables

_LEFT = ("out", "result.json", "log.txt")


class Ssh:
    """Runs steps on ``host``; ``interpreter`` of a step is a path there, such as ``host.interpreter()``."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def run(self, folder: Path, interpreter: Path, time_limit: float) -> Reply:
        """Run the stage requested in ``folder``, at most ``time_limit`` seconds there; what it left comes back into ``folder``.

        StepError when ``stop`` ended it, HostError when the host could not be reached or used.
        """
        inside = sorted(folder.rglob("*"))
        errand = Errand(
            command=(str(interpreter), *WORKER, LIFELINE),
            files={path.relative_to(folder).as_posix(): path for path in inside if path.is_file()},
            folders=[*(path.relative_to(folder).as_posix() for path in inside if path.is_dir()), *FOLDERS],
            limit=time_limit,
            outputs=_LEFT,
            environment=variables(FOLDER),
        )
        ended = self.host.run(errand, folder)
        return timed_out(time_limit) if ended.late else reply_in(folder, ended.code)

    def stopped(self) -> bool:
        """Whether ``stop`` was called."""
        return self.host.stopped()

    def stop(self) -> None:
        """End every running step, and refuse to start others."""
        self.host.stop()

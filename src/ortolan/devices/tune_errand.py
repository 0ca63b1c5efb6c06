"""The errands of tuning: what is sent to a device, or run here, and what comes back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import manifest
from ..cache import shipped
from ..disk import json_bytes
from ..errors import OrtolanError
from ..manifest import Manifest
from ..place import Errand, Host, HostError
from ..place.host import PYTHON
from .laid import lay
from .tune_batch import Batch, Ran
from .tune_settings import OPTIMISED, Candidate, defaults, opening
from .tune_statistics import DEFAULT

_REMOTE = Path(__file__).parent / "remote"
_MODELS, _BESIDE, _WEIGHTS = ("model.onnx", "model.ort"), ("golden.json", "golden.bin", "session.json"), "model.onnx.data"
_SAID, _LOG = "said.json", "log.txt"
_GRACE = 120.0
"""Seconds for what comes before the first trial: a transfer is not counted, importing ONNX Runtime on a slow board is."""

Carry = Callable[[Errand, Path], None]
"""Carries out an errand somewhere; its outputs land in the folder. OrtolanError."""


@dataclass(frozen=True)
class Subject:
    """A build that is tuned: its ``files`` are the models, the one of the defaults first; ``session`` is its session.json."""

    folder: Path
    built: Manifest
    files: tuple[str, ...]
    session: Mapping[str, Any]

    @property
    def base(self) -> dict[str, Any]:
        """How ONNX Runtime's defaults open it."""
        return defaults(self.session, self.files[0])


def subject(folder: Path) -> Subject:
    """The build in a folder. OrtolanError where it has nothing that can be tuned."""
    built = manifest.read(folder / manifest.NAME)
    have = {one.name for one in built.artifacts}
    files = tuple(name for name in _MODELS if name in have)
    if not files or not have.issuperset(_BESIDE):
        what = f"{built.tag} has nothing that can be tuned"
        raise OrtolanError(what, where=str(folder), why=f"it needs a model and {', '.join(_BESIDE)}")
    return Subject(folder, built, files, json.loads((folder / "session.json").read_text()))


def selftest_program() -> Path:
    """The program that every bundle carries."""
    return shipped() / "templates" / "device" / "selftest.py"


@dataclass(frozen=True)
class Device:
    """Where a subject is tuned; ``program`` is the self-test whose comparison of outputs is used."""

    carry: Carry
    where: str
    selftest: Path

    def look(self, build: Subject, window: float, limit: float, seconds: float) -> Mapping[str, Any]:
        """What the device has, three trials of the defaults, and whether their outputs are the same each time."""
        asked = self._asked({DEFAULT: build.base}, build, window, limit, seconds)
        return self._ran(build, {**asked, "facts": True, "order": [DEFAULT] * 3, "check": [DEFAULT]})[0]

    def measure(self, build: Subject, batch: Batch, known: Mapping[str, Candidate]) -> Ran:
        """The trials of a batch."""
        began = time.monotonic()
        order = [name for _, _, name in batch.places]
        settings = {name: opening(build.base, known[name]) for name in {DEFAULT, *order, *batch.check}}
        asked = self._asked(settings, build, batch.window, batch.limit, batch.seconds)
        found, _ = self._ran(build, {**asked, "order": order, "check": list(batch.check)})
        compared = {name: one["value"] for name, one in found["checks"].items() if "value" in one}
        differ = {name: one["measured"] for name, one in compared.items() if not one["near"]}
        return Ran(found["trials"], differ, time.monotonic() - began)

    def optimised(self, build: Subject, limit: float) -> bytes:
        """The file that ONNX Runtime optimised there. HostError where it gave none."""
        asked = self._asked({DEFAULT: build.base}, build, 0.0, limit, limit)
        _, data = self._ran(build, {**asked, "make": [OPTIMISED]}, OPTIMISED)
        if not data:
            raise HostError(f"there is no {OPTIMISED}", where=self.where)
        return data

    @staticmethod
    def _asked(settings: Mapping[str, Any], build: Subject, window: float, limit: float, seconds: float) -> dict[str, Any]:
        limits = {key: getattr(build.built.golden, key) for key in ("rtol", "atol", "min_snr_db")}
        times = {"window": window, "limit": limit, "seconds": seconds}
        nothing = {"facts": False, "make": [], "order": [], "check": []}
        return {"settings": settings, "base": DEFAULT, "limits": limits, **nothing, **times}

    def _ran(self, build: Subject, asked: Mapping[str, Any], wanted: str = "") -> tuple[dict[str, Any], bytes]:
        """The answer, and the bytes of a wanted file."""
        programs = [_REMOTE / "tune.py", _REMOTE / "bench.py", self.selftest]
        beside = [name for name in (*build.files, *_BESIDE, _WEIGHTS) if (build.folder / name).exists()]
        with tempfile.TemporaryDirectory() as name:
            (Path(name) / "tune.json").write_bytes(json_bytes(asked))
            errand = Errand(
                command=(PYTHON, "tune.py", "."),
                files={path.name: path for path in (*programs, *(build.folder / one for one in beside), Path(name, "tune.json"))},
                limit=asked["seconds"] + _GRACE,
                outputs=tuple(filter(None, (_SAID, _LOG, wanted))),
                stdout=_SAID,
            )
            (to := Path(name, "back")).mkdir()
            self.carry(errand, to)
            found = self._read(to)
            return found, (to / wanted).read_bytes() if wanted and (to / wanted).exists() else b""

    def _read(self, folder: Path) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((folder / _SAID).read_text())
        except (OSError, ValueError):
            log = (folder / _LOG).read_text(errors="replace").strip() if (folder / _LOG).exists() else ""
            why = log.splitlines()[-1] if log else "it printed nothing"
            raise HostError("the trials did not run", where=self.where, why=why) from None
        return found


# --- here and there -------------------------------------------------------------------------------------------------


def on_host(host: Host) -> Carry:
    """Errands for a host."""

    def carry(errand: Errand, to: Path) -> None:
        if host.run(errand, to).late:
            raise HostError(f"it gave no answer within {errand.limit:.0f} s", where=host.address)

    return carry


def here(python: Path) -> Carry:
    """Errands for an interpreter of this machine."""

    def carry(errand: Errand, to: Path) -> None:
        with tempfile.TemporaryDirectory() as folder:
            lay(errand.files, Path(folder))
            command = [str(python) if word == PYTHON else word for word in errand.command]
            _run(command, Path(folder), errand.limit)
            for name in errand.outputs:
                if Path(folder, name).exists():
                    shutil.move(Path(folder, name), to / name)

    return carry


def _run(command: Sequence[str], folder: Path, limit: float) -> None:
    """Run it to its end, and end all that it started."""
    with (folder / _SAID).open("wb") as said, (folder / _LOG).open("wb") as log:
        try:
            process = subprocess.Popen(  # noqa: S603  a pinned runtime's interpreter, or the one that the user named
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=said, stderr=log, start_new_session=True
            )
        except OSError as error:
            raise OrtolanError("the trials cannot be started", where=command[0], why=str(error)) from None
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            raise OrtolanError(f"the trials were not over after {limit:.0f} s", where=command[0]) from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

"""Content-addressed store: ``objects/<sha256>`` and ``actions/<key>``. Atomic, verified on read, safe among processes."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from . import digest, known
from .disk import alive, copied, disk
from .errors import CorruptObject, StoreError

NOISE = "noise"
_WAIT = 0.05  # seconds between two looks at a key that another build holds


@dataclass(frozen=True)
class Output:
    """One file that an action made: its digest and its size in bytes."""

    digest: str
    size: int


@dataclass(frozen=True)
class Action:
    """What a key stands for: its ``preimage``, and what the step left.

    ``refused`` is a stage's verdict on its input. ``facts`` under ``noise`` (timings) never take part in a comparison.
    """

    key: str
    preimage: Mapping[str, Any]
    outputs: Mapping[str, Output] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    refused: Mapping[str, str] | None = None

    def comparable(self) -> dict[str, Any]:
        """What two runs with one key must agree on."""
        stated = {k: v for k, v in self.facts.items() if k != NOISE}
        return {"outputs": {k: asdict(v) for k, v in self.outputs.items()}, "facts": stated, "refused": self.refused}


def _action(value: dict[str, Any]) -> Action:
    outputs = {name: Output(**output) for name, output in value["outputs"].items()}
    return Action(value["key"], value["preimage"], outputs, value["facts"], value["refused"])


class Store:
    """A folder of objects and actions. Every method may be called from many threads and processes at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with disk(root):
            for folder in (self._objects, self._actions, self._parts):
                folder.mkdir(parents=True, exist_ok=True)
        self._sweep()

    @property
    def _objects(self) -> Path:
        return self.root / "objects"

    @property
    def _actions(self) -> Path:
        return self.root / "actions"

    @property
    def _parts(self) -> Path:
        return self.root / "parts"

    def put(self, source: Path) -> Output:
        """Copy a file in and return its digest and size. StoreError when the disk is full, and for what is no plain file."""
        _plain(source)
        with disk(self.root), self._part() as part:
            found = copied(source, part)
            size = part.stat().st_size
            known.settle(part)
            part.replace(self._object(found))  # always: these bytes are known to be right, an older copy's are not
            return Output(found, size)

    def take(self, source: Path) -> Output:
        """Move a file in and return its digest and size: one that nobody writes to any more, and that has no other name.

        What has another name, or is on another disk, is copied. StoreError for what is no plain file.
        """
        about = _plain(source)
        if about.st_nlink > 1 or about.st_dev != self._objects.stat().st_dev:
            return self.put(source)
        with disk(self.root):
            known.settle(source)
            found = known.of_file(source)
            source.chmod(0o600)
            source.replace(self._object(found))
        return Output(found, about.st_size)

    def fetch(self, wanted: str, to: Path, *, shared: bool = False) -> None:
        """Copy an object out to ``to``, verified. CorruptObject (and the object is gone) when its bytes are not its name's.

        ``shared``: nobody will write to ``to``. A large object then gets a second name in place of a copy, where that can be,
        and was verified since it was last written to; see ``known``.
        """
        with disk(to):
            try:
                if shared and self._object(wanted).stat().st_size >= known.LARGE and known.link(self._object(wanted), to, wanted):
                    return
                found = copied(self._object(wanted), to)
            except FileNotFoundError as error:
                raise CorruptObject(wanted) from error
        if found != wanted:
            to.unlink()
            self._object(wanted).unlink(missing_ok=True)
            raise CorruptObject(wanted)

    def has(self, output: Output) -> bool:
        """Whether the object is there with its size; its bytes are verified when they are read."""
        try:
            return self._object(output.digest).stat().st_size == output.size
        except FileNotFoundError:
            return False

    def recall(self, key: str) -> Action | None:
        """What is known of ``key``, or None when nothing is, or when an output is missing."""
        try:
            action = _action(self._read(key))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        return action if all(self.has(output) for output in action.outputs.values()) else None

    def measurements(self) -> list[Action]:
        """The actions that hold timings: what another store may take over, since it cannot come out twice."""
        found = (self.recall(f"key:{path.stem}") for path in sorted(self._actions.glob("*.json")))
        return [action for action in found if action and NOISE in action.facts]

    def preimage(self, key: str) -> dict[str, Any] | None:
        """What a key was made from, also when its outputs are gone."""
        try:
            return dict(self._read(key)["preimage"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def record(self, action: Action) -> None:
        """Keep an action. StoreError (``not reproducible``) when its key already stands for something else."""
        before = self.recall(action.key)
        if before and before.comparable() != action.comparable():
            raise StoreError(
                "not reproducible: a second run with the same key gave another result",
                where=str(action.preimage.get("stage", action.key)), why=_difference(before, action),
                hint="the stage, or a callable of yours in it, depends on more than its inputs (time, randomness, network)",
            )  # fmt: skip
        with disk(self.root), self._part() as part:
            part.write_bytes(digest.canonical({"action": asdict(action), "digest": digest.of_json("action", asdict(action))}))
            part.replace(self._record(action.key))

    @contextmanager
    def only_one(self, key: str, stopped: Callable[[], bool]) -> Iterator[None]:
        """Hold ``key`` among processes and threads, so that two builds do not make one thing twice at once.

        Raises KeyboardInterrupt when ``stopped`` becomes true while another build holds it.
        """
        with (self._parts / f"{digest.short(key, 32)}.lock").open("w") as stream:
            while not _locked(stream):
                if stopped():
                    raise KeyboardInterrupt
                time.sleep(_WAIT)
            yield

    @contextmanager
    def _part(self) -> Iterator[Path]:
        handle, name = tempfile.mkstemp(dir=self._parts, prefix=f"{os.getpid()}-")
        os.close(handle)
        try:
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)

    def _read(self, key: str) -> dict[str, Any]:
        """A record's action. ValueError when it is not what was written for this key: it counts as none."""
        record = json.loads(self._record(key).read_bytes())
        action: dict[str, Any] = record["action"]
        if record["digest"] != digest.of_json("action", action) or action["key"] != key:
            raise ValueError(f"the record of {key} is damaged")
        return action

    def _object(self, wanted: str) -> Path:
        return self._objects / digest.short(wanted, 64)

    def _record(self, key: str) -> Path:
        return self._actions / f"{digest.short(key, 64)}.json"

    def _sweep(self) -> None:
        """Remove what killed builds left half-written."""
        for part in self._parts.iterdir():
            owner = part.name.partition("-")[0]
            if owner.isdigit() and not alive(int(owner)):
                part.unlink(missing_ok=True)


def _plain(source: Path) -> os.stat_result:
    about = source.lstat()
    if not stat.S_ISREG(about.st_mode):
        raise StoreError(
            "only plain files go into the store", where=str(source), why=f"its mode is {stat.filemode(about.st_mode)}",
            hint="a stage leaves files: look at the code in the model's own files",
        )  # fmt: skip
    return about


def _locked(stream: IO[str]) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _difference(before: Action, now: Action) -> str:
    changed = [name for name in now.outputs if before.outputs.get(name) != now.outputs[name]]
    facts = [name for name in now.facts if name != NOISE and before.facts.get(name) != now.facts[name]]
    return f"differing outputs: {', '.join(changed) or 'none'}; differing facts: {', '.join(facts) or 'none'}"

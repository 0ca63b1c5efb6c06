"""Several devices side by side: each gives a result or an error, and none waits for another."""

from __future__ import annotations

import os
import pwd
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from ..errors import OrtolanError
from ..place import Host, emulated
from ..recipe.fleet import NamedDevice

T = TypeVar("T")
_AT_ONCE = 32


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What came of one device: a ``value`` or an ``error``."""

    device: NamedDevice
    value: T | None = None
    error: OrtolanError | None = None


@dataclass(frozen=True)
class Emulators:
    """What the emulated ARM needs: the folders with descriptions of runtimes, and where those are made; ``say`` tells of that."""

    folders: Sequence[Path]
    runtimes: Path
    say: Callable[[str], object] = str


def there(python: str) -> str:
    """An interpreter as it was meant for a host: a shell here makes ``~/`` without quotes the user's own home folder."""
    own = f"{Path(pwd.getpwuid(os.getuid()).pw_dir)}/"
    return f"~/{python.removeprefix(own)}" if python.startswith(own) else python


def reach(device: NamedDevice, emulators: Emulators) -> Host:
    """The host that a device is: over ssh, or emulated. OrtolanError where it cannot be emulated here."""
    if not device.machine:
        return Host(device.host, device.python)
    return emulated(device.name, device.machine, device.python, emulators.folders, emulators.runtimes, emulators.say)


def side_by_side(
    devices: Sequence[NamedDevice], emulators: Emulators, do: Callable[[NamedDevice, Host], T]
) -> Iterator[Answer[T]]:
    """``do`` something with each, in the order in which they are done. Ctrl-C ends what runs on all of them."""
    hosts = _Hosts()
    with ThreadPoolExecutor(min(_AT_ONCE, len(devices))) as pool:
        try:
            futures = [pool.submit(_answer, device, hosts, emulators, do) for device in devices]
            for future in as_completed(futures):
                yield future.result()
        finally:
            hosts.close()


class _Hosts:
    """All hosts that were reached. Those that are reached after ``close`` are closed at once, and do nothing."""

    def __init__(self) -> None:
        self._guard, self._every, self._closed = threading.Lock(), list[Host](), False

    def add(self, host: Host) -> Host:
        with self._guard:
            self._every.append(host)
            if self._closed:
                host.close()
        return host

    def close(self) -> None:
        with self._guard:
            self._closed = True
            for host in self._every:
                host.close()


def _answer(device: NamedDevice, hosts: _Hosts, emulators: Emulators, do: Callable[[NamedDevice, Host], T]) -> Answer[T]:
    try:
        return Answer(device, do(device, hosts.add(reach(device, emulators))))
    except OrtolanError as error:
        return Answer(device, error=error)
    except OSError as error:
        return Answer(device, error=OrtolanError(str(error), where=device.name))

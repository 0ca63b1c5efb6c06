"""Several devices side by side: each gives a result or an error, and none waits for another."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from ..errors import OrtolanError
from ..place import Host, HostError, emulated
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
    own = f"{Path.home()}/"
    return f"~/{python.removeprefix(own)}" if python.startswith(own) else python


def here(python: str) -> str:
    """An interpreter of this machine by its whole path; in quotes, ``~/`` is left to this. OrtolanError where there is none."""
    own = python.startswith("~/")
    found = shutil.which(Path.home() / python[2:] if own else python)
    if not found:
        hint = "--python takes a name or a path: --python '~/venv/bin/python'"
        raise OrtolanError(f"there is no interpreter {python} on this machine", hint=hint)
    return str(Path(found).absolute())  # a link stays one: it is a virtual environment's


def reach(device: NamedDevice, emulators: Emulators) -> Host:
    """The host that a device is: over ssh, or emulated. OrtolanError where it cannot be emulated here."""
    if not device.machine:
        return Host(device.host, device.python)
    return emulated(device.name, device.machine, device.python, emulators.folders, emulators.runtimes, emulators.say)


def side_by_side(
    devices: Sequence[NamedDevice], emulators: Emulators, do: Callable[[NamedDevice, Host], T]
) -> Iterator[Answer[T]]:
    """``do`` something with each, in the order in which they are done. Ctrl-C ends what runs on all of them."""
    with closing(Hosts()) as hosts:
        yield from _answers(devices, hosts, emulators, do)


def by_turns(devices: Sequence[NamedDevice], do: Callable[[NamedDevice, Host], T]) -> Callable[[NamedDevice, Host], T]:
    """The same, but devices that are one host wait for each other: what is measured there must not be disturbed."""
    hosts = {one.host: threading.Lock() for one in devices}

    def alone(device: NamedDevice, host: Host) -> T:
        with hosts[device.host]:
            return do(device, host)

    return alone


@contextmanager
def answered(
    devices: Sequence[NamedDevice], emulators: Emulators, do: Callable[[NamedDevice, Host], T]
) -> Iterator[list[Answer[T]]]:
    """The same for all of them, in their own order, and until the end of the block their connections stand."""
    with closing(Hosts()) as hosts:
        found = {one.device.name: one for one in _answers(devices, hosts, emulators, do)}
        yield [found[one.name] for one in devices]


class Hosts:
    """All hosts that were reached. Those that are reached after ``close`` are closed at once, and do nothing."""

    def __init__(self) -> None:
        self._guard, self._every, self._closed = threading.Lock(), list[Host](), False

    def add(self, host: Host) -> Host:
        """One more."""
        with self._guard:
            self._every.append(host)
            if self._closed:
                host.close()
        return host

    def close(self) -> None:
        """End all connections, and what runs there."""
        with self._guard:
            self._closed = True
            for host in self._every:
                host.close()


def _answers(
    devices: Sequence[NamedDevice], hosts: Hosts, emulators: Emulators, do: Callable[[NamedDevice, Host], T]
) -> Iterator[Answer[T]]:
    """What comes of each; the hosts are closed before anything is waited for that nobody wants any more."""
    with ThreadPoolExecutor(min(_AT_ONCE, max(1, len(devices)))) as pool:
        futures = [pool.submit(_answer, device, hosts, emulators, do) for device in devices]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            hosts.close()
            raise


def _answer(device: NamedDevice, hosts: Hosts, emulators: Emulators, do: Callable[[NamedDevice, Host], T]) -> Answer[T]:
    try:
        return Answer(device, do(device, hosts.add(reach(device, emulators))))
    except OrtolanError as error:
        return Answer(device, error=_asked_back(device, error))
    except OSError as error:
        return Answer(device, error=OrtolanError(str(error), where=device.name))


def _asked_back(device: NamedDevice, error: OrtolanError) -> OrtolanError:
    """The same error, with a question where the host may have been a slip of a name in the fleet."""
    error.hint = device.meant if device.meant and isinstance(error, HostError) else error.hint
    return error

"""Several devices side by side: each gives a result or an error, and none waits for another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..errors import OrtolanError
from ..place import Host
from ..recipe.fleet import NamedDevice

T = TypeVar("T")
_AT_ONCE = 32


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What came of one device: a ``value`` or an ``error``."""

    device: NamedDevice
    value: T | None = None
    error: OrtolanError | None = None


def side_by_side(devices: Sequence[NamedDevice], do: Callable[[NamedDevice, Host], T]) -> Iterator[Answer[T]]:
    """``do`` something with each, in the order in which they are done. Ctrl-C ends what runs on all of them."""
    hosts = {device.name: Host(device.host, device.python) for device in devices}
    with ThreadPoolExecutor(min(_AT_ONCE, len(devices))) as pool:
        try:
            futures = [pool.submit(_answer, device, hosts[device.name], do) for device in devices]
            for future in as_completed(futures):
                yield future.result()
        finally:
            for host in hosts.values():
                host.close()


def _answer(device: NamedDevice, host: Host, do: Callable[[NamedDevice, Host], T]) -> Answer[T]:
    try:
        return Answer(device, do(device, host))
    except OrtolanError as error:
        return Answer(device, error=error)
    except OSError as error:
        return Answer(device, error=OrtolanError(str(error), where=device.name))

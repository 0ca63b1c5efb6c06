"""The filter of system calls, line by line as the kernel would run it: for both machines, whichever this one is."""

from __future__ import annotations

import struct

import pytest

from ortolan.stages.lib import seccomp, syscalls

OWN, OTHER = 4711, 1
ALLOW = 0x7FFF0000
MACHINES = sorted(syscalls._TABLES)


def allowed(machine: str, name: str | int, *arguments: int, architecture: int | None = None) -> bool:
    """What the filter says of a call: classic BPF of four instructions (linux/bpf_common.h)."""
    known, numbers = syscalls._TABLES[machine]
    number = numbers[name] if isinstance(name, str) else name
    given = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("=IIQ6Q", number, known if architecture is None else architecture, 0, *given)
    lines = list(struct.iter_unpack("=HBBI", seccomp.program(known, numbers, OWN)))
    at = loaded = 0
    while True:
        code, yes, no, value = lines[at]
        if code == 0x06:
            return bool(value == ALLOW)
        if code == 0x20:
            (loaded,) = struct.unpack_from("=I", data, value)
            at += 1
        else:
            holds = loaded == value if code == 0x15 else loaded >= value
            at += 1 + (yes if holds else no)


@pytest.mark.parametrize("machine", MACHINES)
def test_what_is_denied_is_refused_and_the_rest_is_not(machine: str) -> None:
    numbers = syscalls._TABLES[machine][1]
    assert {"setsid", "setpgid", "truncate", "kill", "socket"} <= set(seccomp.DENIED) & numbers.keys()
    assert not [name for name in seccomp.DENIED if name in numbers and allowed(machine, name)]
    assert allowed(machine, 0)
    assert not allowed(machine, 0, architecture=0x40000003)
    assert not allowed(machine, 0x40000000)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("call", "arguments", "passes"),
    [
        ("tgkill", (OWN, 5, 6), True),
        ("tgkill", (OTHER, OTHER, 9), False),
        ("prlimit64", (0, 7), True),
        ("prlimit64", (OWN, 7), True),
        ("prlimit64", (OTHER, 7), False),
        ("fcntl", (3, 1, 1), True),  # F_GETFD
        ("fcntl", (8, 4, 0), True),  # F_SETFL of descriptor 8
        ("fcntl", (3, 8, OTHER), False),
        ("fcntl", (3, 10, 9), False),
        ("fcntl", (3, 15, 0), False),
        ("fcntl", (3, 0x1_0000_0008, OTHER), False),  # the kernel reads the lower half
        ("ioctl", (1, 0x5401), True),  # TCGETS, of isatty(3)
        ("ioctl", (1, 0x8901), False),
        ("ioctl", (1, 0x8902), False),
    ],
)
def test_an_argument_decides(machine: str, call: str, arguments: tuple[int, ...], passes: bool) -> None:
    assert allowed(machine, call, *arguments) is passes

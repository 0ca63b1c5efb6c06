"""Takes system calls from this process and all that it starts: no sockets, other processes, file modes, nor a life after it.

Needs no root. Sources: seccomp(2); struct sock_filter of linux/filter.h; struct seccomp_data of linux/seccomp.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from . import syscalls

DENIED = (
    "socket", "io_uring_setup", "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_open", "pidfd_getfd",
    "pidfd_send_signal", "kill", "tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo",
    "chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "utime", "utimes", "futimesat",
    "utimensat", "setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr",
    "truncate", "setsid", "setpgid",
)  # fmt: skip
"""io_uring makes sockets without socket(2); ptrace and its like reach into processes that are not confined; chmod and its like
change what is told of files, which Landlock lets pass, as its first two versions do truncate(2). A child with a session or
group of its own would outlive the step, whose end is that of its process group. Not every machine has all of them.
"""
REFUSED_WITH = {
    "fcntl": (1, (8, 10, 15)),  # F_SETOWN, F_SETSIG, F_SETOWN_EX of asm-generic/fcntl.h
    "ioctl": (1, (0x8901, 0x8902)),  # FIOSETOWN, SIOCSPGRP of asm-generic/sockios.h
}
"""Calls that are refused with these values of the argument with that number: they name a process that gets signals."""
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_JMP|JGE|K, BPF_RET|K
_NUMBER, _ARCHITECTURE, _ARGUMENTS = (
    0,
    4,
    16,
)  # offsets in struct seccomp_data; the arguments' lower halves decide
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
_Line = tuple[int, int, int, int]  # code, lines to skip where it holds, where it does not, value
_X32 = 0x40000000  # numbers of a second table on x86-64, which none of the above stands in
_SECCOMP, _FILTER = 22, 2  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def restrict() -> None:
    """Apply it, for good, to this thread and all that it starts. OSError where the kernel has no seccomp."""
    known = syscalls.table()
    if known is None:
        raise OSError("seccomp filters are not written for this machine")
    code = program(known[0], known[1], os.getpid())
    syscalls.prctl(_SECCOMP, _FILTER, ctypes.pointer(_Program(len(code) // 8, code)))


def program(architecture: int, numbers: dict[str, int], own: int) -> bytes:
    """The filter, as the kernel takes it. Another architecture's calls and x32's are refused.

    tgkill may reach the process ``own`` only, as abort(3) does, and prlimit64 only the caller (0) and ``own``.
    """
    checks = [(_EQUAL, numbers[name]) for name in DENIED if name in numbers] + [(_AT_LEAST, _X32)]
    lines = [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _REFUSE), (_LOAD, 0, 0, _NUMBER)]
    for kind, number in checks:
        lines += [(kind, 0, 1, number), (_RETURN, 0, 0, _REFUSE)]
    for name, (argument, values) in REFUSED_WITH.items():
        lines += _judged(numbers[name], argument, values, _REFUSE, _ALLOW)
    lines += _judged(numbers["tgkill"], 0, (own,), _ALLOW, _REFUSE)
    lines += _judged(numbers["prlimit64"], 0, (0, own), _ALLOW, _REFUSE)
    return b"".join(struct.pack("=HBBI", *line) for line in [*lines, (_RETURN, 0, 0, _ALLOW)])


def _judged(number: int, argument: int, values: tuple[int, ...], these: int, others: int) -> list[_Line]:
    """Lines that end the filter for one system call, by an argument's value; the call's number is loaded before and after."""
    lines = [(_LOAD, 0, 0, _ARGUMENTS + 8 * argument)]
    for value in values:
        lines += [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, these)]
    lines += [(_RETURN, 0, 0, others)]
    return [(_EQUAL, 0, len(lines), number), *lines]

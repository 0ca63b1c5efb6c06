"""Takes system calls from this process and all that it starts: no sockets, no other processes, no file modes.

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
)  # fmt: skip
"""io_uring makes sockets without socket(2); ptrace and its like reach into processes that are not confined; the rest changes what
is told of files, which Landlock lets pass. Not every machine has all of them.
"""
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_JMP|JGE|K, BPF_RET|K
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
_X32 = 0x40000000  # numbers of a second table on x86-64, which none of the above stands in
_SECCOMP, _FILTER = 22, 2  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def restrict() -> None:
    """Apply it, for good, to this thread and all that it starts. OSError where the kernel has no seccomp."""
    known = syscalls.table()
    if known is None:
        raise OSError("seccomp filters are not written for this machine")
    code = _program(known[0], known[1], os.getpid())
    program = _Program(len(code) // 8, code)
    syscalls.prctl(_SECCOMP, _FILTER, ctypes.pointer(program))


def _program(architecture: int, numbers: dict[str, int], own: int) -> bytes:
    """Another architecture's calls and x32's are refused; tgkill may reach this process only, as abort(3) does."""
    checks = [(_EQUAL, numbers[name]) for name in DENIED if name in numbers] + [(_AT_LEAST, _X32)]
    lines = [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _REFUSE), (_LOAD, 0, 0, _NUMBER)]
    for kind, number in checks:
        lines += [(kind, 0, 1, number), (_RETURN, 0, 0, _REFUSE)]
    lines += [(_EQUAL, 0, 3, numbers["tgkill"]), (_LOAD, 0, 0, _FIRST_ARGUMENT), (_EQUAL, 1, 0, own), (_RETURN, 0, 0, _REFUSE)]
    return b"".join(struct.pack("=HBBI", *line) for line in [*lines, (_RETURN, 0, 0, _ALLOW)])

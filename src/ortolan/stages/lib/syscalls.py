"""Linux system calls that Python has no functions for, by ctypes."""

from __future__ import annotations

import ctypes
import os
import platform
import sys

_LINUX = sys.platform == "linux"
# by platform.machine(): (AUDIT_ARCH of linux/audit.h, {name: number of asm/unistd.h})
_BOTH = {"landlock_create_ruleset": 444, "landlock_add_rule": 445, "landlock_restrict_self": 446, "io_uring_setup": 425}
_BOTH |= {"pidfd_getfd": 438, "pidfd_open": 434, "pidfd_send_signal": 424, "fchmodat2": 452}
_TABLES = {
    "x86_64": (0xC000003E, _BOTH | {
        "capset": 126, "socket": 41, "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kill": 62, "tkill": 200,
        "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297, "tgkill": 234, "chmod": 90, "fchmod": 91, "chown": 92, "fchown": 93,
        "lchown": 94, "utime": 132, "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190, "removexattr": 197, "lremovexattr": 198,
        "fremovexattr": 199, "utimes": 235, "fchownat": 260, "futimesat": 261, "fchmodat": 268, "utimensat": 280,
        "setpgid": 109, "setsid": 112, "truncate": 76, "fcntl": 72, "ioctl": 16, "prlimit64": 302,
    }),
    "aarch64": (0xC00000B7, _BOTH | {
        "capset": 91, "socket": 198, "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "kill": 129, "tkill": 130,
        "rt_sigqueueinfo": 138, "rt_tgsigqueueinfo": 240, "tgkill": 131, "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7,
        "removexattr": 14, "lremovexattr": 15, "fremovexattr": 16, "fchmod": 52, "fchmodat": 53, "fchownat": 54, "fchown": 55,
        "utimensat": 88, "setpgid": 154, "setsid": 157, "truncate": 45, "fcntl": 25, "ioctl": 29, "prlimit64": 261,
    }),
}  # fmt: skip
_NO_NEW_PRIVS = 38  # linux/prctl.h


def table() -> tuple[int, dict[str, int]] | None:
    """The architecture's number and its system calls; None where this module knows none."""
    return _TABLES.get(platform.machine()) if _LINUX else None


def call(name: str, *arguments: object) -> int:
    """Make a system call. OSError with the kernel's reason."""
    known = table()
    if known is None:
        raise OSError(f"{name} is not known on {platform.machine()}")
    libc = ctypes.CDLL(None, use_errno=True)
    result = int(libc.syscall(known[1][name], *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result


def prctl(option: int, *arguments: object) -> None:
    """Set an option of this process. OSError with the kernel's reason."""
    libc = ctypes.CDLL(None, use_errno=True)
    given = [one if isinstance(one, ctypes._Pointer | ctypes.Array) else ctypes.c_ulong(int(str(one))) for one in arguments]  # noqa: SLF001 - the one name of pointer types
    if libc.prctl(option, *given, *[ctypes.c_ulong(0)] * (4 - len(given))) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl: {os.strerror(code)}")


def give_up_privileges() -> None:
    """No program that this process starts gains any, and root keeps none of its capabilities (capabilities(7))."""
    prctl(_NO_NEW_PRIVS, 1)
    head, empty = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    call("capset", head, empty)

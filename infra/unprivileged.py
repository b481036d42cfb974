"""Start a program as another user of this machine. Run as a script of its own: ``UID GID PROGRAM ARGUMENT…``.

PostgreSQL refuses to run as root. A root user's folders are usually closed to everybody else, and opening them up
would be worse than the problem. So the program keeps one right of root, to pass through and read folders
(CAP_DAC_READ_SEARCH, or CAP_DAC_OVERRIDE where a container took the former away), as an ambient capability
(Linux 4.3, capabilities(7)); it can neither change anything that is not its own nor get any other right back.
Without either it starts all the same, and works where folders are open.
"""

import ctypes
import os
import sys

_SET_KEEP_CAPABILITIES = 8
_READ_BOUNDING_SET = 23
_SET_SECURE_BITS, _NO_SETUID_FIXUP = 28, 1 << 2
_AMBIENT, _AMBIENT_RAISE = 47, 2
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2
_CAPABILITY_VERSION_3 = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def become(uid: int, gid: int) -> None:
    """Give up being root, for good, but for the right to pass through folders. Raises ``OSError``."""
    libc = ctypes.CDLL(None, use_errno=True)
    kept = next(
        (cap for cap in (_CAP_DAC_READ_SEARCH, _CAP_DAC_OVERRIDE) if libc.prctl(_READ_BOUNDING_SET, cap, 0, 0, 0) == 1),
        None,
    )
    libc.prctl(_SET_KEEP_CAPABILITIES, 1, 0, 0, 0)
    # Else access(2), by which PostgreSQL looks at its own programs, would not count the right that is kept.
    libc.prctl(_SET_SECURE_BITS, _NO_SETUID_FIXUP, 0, 0, 0)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    bits = 0 if kept is None else 1 << kept
    data = (_Data * 2)(_Data(bits, bits, bits), _Data(0, 0, 0))
    if libc.capset(ctypes.byref(_Header(_CAPABILITY_VERSION_3, 0)), data) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    if kept is not None:
        libc.prctl(_AMBIENT, _AMBIENT_RAISE, kept, 0, 0)


if __name__ == "__main__":
    become(int(sys.argv[1]), int(sys.argv[2]))
    os.execv(sys.argv[3], sys.argv[3:])  # noqa: S606 - no shell is the point

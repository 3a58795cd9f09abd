"""A filter of system calls for commands: a second wall where the sandbox has one, the only one where it has none.

Refused are calls that make namespaces or mounts (a user may otherwise become root of its own namespace, and reach
parts of the kernel, and memory outside of the box's limits, that were not meant for it), kernel keyrings (not
namespaced), anonymous files (memory that nobody accounts for without a control group), sockets to the hypervisor (not
namespaced), typing into the terminal, and interfaces with a long record of faults (bpf, io_uring, userfaultfd, perf).
Everything else is allowed: this is a list of exceptions, not a profile. Known for x86-64 and 64-bit ARM.

Classic BPF over `struct seccomp_data`, see seccomp(2).
"""

import ctypes
import errno
import platform
import struct

import processes

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
ALLOW, REFUSE = 0x7FFF0000, 0x00050000
LOAD, EQUAL, AT_LEAST, BITS, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32 = 0x40000000
NAMESPACES = 0x00000080 | 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
AF_VSOCK = 40
TIOCSTI, TIOCLINUX = 0x5412, 0x541C

# Name -> numbers on x86-64 and on 64-bit ARM.
REFUSED = {
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
}
# As if the kernel did not know them: callers have another way.
UNKNOWN = {
    "clone3": (435, 435),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
}
CLONE, SOCKET, IOCTL = (56, 220), (41, 198), (16, 29)


class Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def restrict() -> None:
    """Puts the filter on this process and all that come of it. Raises `OSError` where the kernel refuses."""
    code = program(platform.machine())
    if not code:
        return
    filled = Program(len(code) // 8, code)
    processes.libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if processes.libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(filled), 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"no filter of system calls: {errno.errorcode.get(number, number)}")


def program(machine: str) -> bytes:
    """The filter for a machine, as `platform` calls it; empty where it is not known."""
    if machine not in ARCHITECTURES:
        return b""
    which = list(ARCHITECTURES).index(machine)
    unknown, refused = REFUSE | errno.ENOSYS, REFUSE | errno.EPERM
    code = [
        _step(LOAD, ARCHITECTURE),
        _step(EQUAL, ARCHITECTURES[machine], yes=1),
        _step(RETURN, unknown),
        _step(LOAD, NUMBER),
        _step(AT_LEAST, X32, no=1),
        _step(RETURN, unknown),
    ]
    for numbers in REFUSED.values():
        code += [_step(EQUAL, numbers[which], no=1), _step(RETURN, refused)]
    for numbers in UNKNOWN.values():
        code += [_step(EQUAL, numbers[which], no=1), _step(RETURN, unknown)]
    code += _argument(CLONE[which], 0, BITS, (NAMESPACES,), refused)
    code += _argument(SOCKET[which], 0, EQUAL, (AF_VSOCK,), refused)
    code += _argument(IOCTL[which], 1, EQUAL, (TIOCSTI, TIOCLINUX), refused)
    code.append(_step(RETURN, ALLOW))
    return b"".join(code)


def _argument(number: int, position: int, test: int, values: tuple[int, ...], answer: int) -> list[bytes]:
    """Answers the call `number` where the low half of an argument meets a test; leaves the number loaded."""
    body = [_step(LOAD, ARGUMENTS + 8 * position)]
    for value in values:
        body += [_step(test, value, no=1), _step(RETURN, answer)]
    body.append(_step(LOAD, NUMBER))
    return [_step(EQUAL, number, no=len(body)), *body]


def _step(operation: int, value: int, *, yes: int = 0, no: int = 0) -> bytes:
    """One instruction: `struct sock_filter`."""
    return struct.pack("=HBBI", operation, yes, no, value)

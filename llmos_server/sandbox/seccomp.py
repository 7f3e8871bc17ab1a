"""System calls that a program in the sandbox may not make: a filter in classic BPF, as seccomp(2) takes it.

What namespaces and limits don't cover: further namespaces and mounts (most holes of the last years began there), memory
that belongs to no process and no file, other processes' memory, keys, and sockets beyond this machine's own kind:
some (vsock) know no namespace.
"""

from __future__ import annotations

import platform
import struct

ALLOW, KILL = 0x7FFF0000, 0x80000000
EPERM, ENOSYS, EAFNOSUPPORT = 1, 38, 97
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16
"""Offsets in struct seccomp_data; of the argument its low half, on machines that are little-endian."""

NEW_NAMESPACES = 0x7E020000
"""All CLONE_NEW* of clone."""
AF_UNIX = 1

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32 = 0x40000000

# By name: the number on x86_64, and on aarch64.
DENIED = {
    "add_key": (248, 217),
    "bpf": (321, 280),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "keyctl": (250, 219),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "mount": (165, 40),
    "move_mount": (429, 429),
    "mq_open": (240, 180),
    "msgget": (68, 186),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pivot_root": (155, 41),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "request_key": (249, 218),
    "semget": (64, 190),
    "setns": (308, 268),
    "shmat": (30, 196),
    "shmget": (29, 194),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
}
CLONE, CLONE3, SOCKET = (56, 220), (435, 435), (41, 198)


def is_known(machine: str = platform.machine()) -> bool:
    return machine in ARCHITECTURES


def create_filter(machine: str = platform.machine()) -> bytes:
    """clone3 is answered as by a kernel without it, as its flags can't be seen: libraries then take clone."""
    place = list(ARCHITECTURES).index(machine)
    code = [
        *(_do(LOAD, ARCHITECTURE), _do(EQUAL, ARCHITECTURES[machine], 1, 0), _do(RETURN, KILL)),
        _do(LOAD, NUMBER),
    ]
    if machine == "x86_64":
        code += [_do(AT_LEAST, X32, 0, 1), _refuse(EPERM)]
    for numbers in DENIED.values():
        code += [_do(EQUAL, numbers[place], 0, 1), _refuse(EPERM)]
    code += [_do(EQUAL, CLONE3[place], 0, 1), _refuse(ENOSYS)]
    code += [_do(EQUAL, CLONE[place], 0, 4), _do(LOAD, FIRST_ARGUMENT)]
    code += [_do(ANY_BIT, NEW_NAMESPACES, 0, 1), _refuse(EPERM), _do(RETURN, ALLOW)]
    code += [_do(EQUAL, SOCKET[place], 0, 4), _do(LOAD, FIRST_ARGUMENT)]
    code += [_do(EQUAL, AF_UNIX, 1, 0), _refuse(EAFNOSUPPORT), _do(RETURN, ALLOW)]
    return b"".join([*code, _do(RETURN, ALLOW)])


def _refuse(errno: int) -> bytes:
    return _do(RETURN, 0x00050000 | errno)


def _do(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """One instruction; the jumps are over so many that follow."""
    return struct.pack("=HBBI", code, if_true, if_false, value)

"""Open files across a Unix socket (SCM_RIGHTS), and who is at its other end."""

from __future__ import annotations

import array
import os
import socket
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_FDS: Final = 253
"""The kernel's limit for one message (SCM_MAX_FD)."""

_UCRED: Final = struct.Struct("3i")


def send_with_fds(
    sock: socket.socket, data: bytes | memoryview, fds: Sequence[int], *, flags: int = 0
) -> int:
    """Send ``data`` with open files on its first byte; return how many bytes left.

    Once at least one byte left, the files are with the receiver, or will be.

    Raises:
        BlockingIOError: nothing left now; call again with the same arguments.
        OSError: the connection is broken, or a descriptor is not open.
    """
    return sock.sendmsg(
        [data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))], flags
    )


def recv_with_fds(sock: socket.socket, size: int) -> tuple[bytes, list[int]]:
    """Receive up to ``size`` bytes and the open files that came with them.

    The files are closed on exec and belong to the caller.

    Raises:
        OSError: the connection is broken, or this process may hold no more open files.
    """
    room = socket.CMSG_SPACE(MAX_FDS * array.array("i").itemsize)
    data, control, flags, _ = sock.recvmsg(size, room, socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, kind, payload in control:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            whole = len(payload) - len(payload) % fds.itemsize
            fds.frombytes(payload[:whole])
    if flags & socket.MSG_CTRUNC:
        close_all(fds)
        raise OSError("open files were lost on the way; raise this process's limit of them")
    return data, list(fds)


def close_all(fds: Iterable[int]) -> None:
    """Close every descriptor, whatever happens to the others."""
    for fd in fds:
        try:
            os.close(fd)
        except OSError:
            continue


def peer_uid(sock: socket.socket) -> int:
    """Return the user of the process that connected (SO_PEERCRED)."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    _, uid, _ = _UCRED.unpack(raw)
    return int(uid)

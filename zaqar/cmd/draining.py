# SPDX-License-Identifier: Apache-2.0
"""The end of a listening socket, without anybody noticing.

Between the last ``accept`` and ``close`` connections may arrive. The kernel
has told their clients that they are connected, and resets them when the
socket goes; a load balancer may then have sent a POST, which it must not send
elsewhere. So nobody is let in for a moment (clients' kernels try again after
a second), while those who are in are accepted; then the socket goes, and who
tries again is refused, which tells a load balancer to turn elsewhere.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
import time
from collections.abc import Iterable

#: Seconds in which those who were let in complete their handshake, at least.
_HANDSHAKE = 0.1

#: Seconds that workers have to accept those who wait, at most.
_PATIENCE = 2.0

# From Linux's headers; Python names none of them.
_SO_ATTACH_FILTER = 26
_TCP_INFO_WAITING = struct.Struct('24xI')

#: Drops a segment that asks for a connection: SYN without ACK.
_FILTER = (
    (0x30, 0, 0, 13),  # load the byte of the flags
    (0x54, 0, 0, 0x12),  # keep SYN and ACK
    (0x15, 0, 1, 0x02),  # only SYN? else skip one
    (0x06, 0, 0, 0),  # drop it
    (0x06, 0, 0, 0xFFFFFFFF),  # take it
)


def let_nobody_in(listeners: Iterable[socket.socket]) -> None:
    """Take no new connections; return when those made are accepted.

    Whoever accepts must still do so. Does nothing where the kernel does not
    know how.
    """
    closing = [each for each in listeners if _drop_newcomers(each)]
    if not closing:
        return
    time.sleep(_HANDSHAKE)
    end = time.monotonic() + _PATIENCE
    while any(map(_waiting, closing)) and time.monotonic() < end:
        time.sleep(0.01)


def refuse(listeners: Iterable[socket.socket]) -> None:
    """Refuse connections from now on, whoever else holds the socket."""
    for each in listeners:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def _drop_newcomers(listener: socket.socket) -> bool:
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    steps = b''.join(struct.pack('HBBI', *step) for step in _FILTER)
    kept = ctypes.create_string_buffer(steps, len(steps))
    program = struct.pack('HP', len(_FILTER), ctypes.addressof(kept))
    try:
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    except OSError:
        return False
    return True


def _waiting(listener: socket.socket) -> int:
    """Return how many connections wait to be accepted."""
    try:
        info = listener.getsockopt(
            socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_WAITING.size
        )
    except OSError:
        return 0
    return int(_TCP_INFO_WAITING.unpack(info)[0])

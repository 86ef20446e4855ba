# SPDX-License-Identifier: Apache-2.0
"""Closing a listening socket without resetting connections.

A connection that arrives between the last ``accept`` and ``close`` is reset,
although its client sees it as established; a load balancer may have
sent a POST, which it must not send elsewhere. So new connections are dropped
for a moment (clients retry after a second) while those made are accepted;
then the socket is closed, and retries are refused, which tells a load
balancer to choose another server.
"""

import contextlib
import ctypes
import socket
import struct
import time
from collections.abc import Iterable

#: Seconds for handshakes in progress to complete, at least.
_HANDSHAKE = 0.1

#: Seconds for workers to accept waiting connections, at most.
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


def drop_new_connections(listeners: Iterable[socket.socket]) -> None:
    """Drop new connections; return when those made are accepted.

    Workers must still accept. Does nothing if the kernel cannot filter.
    """
    closing = [each for each in listeners if _drop_syn(each)]
    if not closing:
        return
    time.sleep(_HANDSHAKE)
    end = time.monotonic() + _PATIENCE
    while any(map(_waiting, closing)) and time.monotonic() < end:
        time.sleep(0.01)


def refuse(listeners: Iterable[socket.socket]) -> None:
    """Refuse connections, even if other processes hold the socket."""
    for each in listeners:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def _drop_syn(listener: socket.socket) -> bool:
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    steps = b''.join(struct.pack('HBBI', *step) for step in _FILTER)
    instructions = ctypes.create_string_buffer(steps, len(steps))
    program = struct.pack('HP', len(_FILTER), ctypes.addressof(instructions))
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

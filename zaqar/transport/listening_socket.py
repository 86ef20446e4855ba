# SPDX-License-Identifier: Apache-2.0
"""Opening of listening sockets, before workers are forked."""

import contextlib
import socket

from zaqar.errors import ConfigurationError

#: Bytes of a connection that the kernel holds before it sends them.
MAX_UNSENT = 256 * 1024


def listen(
    host: str, port: int, backlog: int, group: str, names: str = 'bind, port'
) -> socket.socket:
    """Return a listening socket.

    :param group: of the options to name in an error
    :param names: of those options
    """
    try:
        addresses = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = addresses[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Inherited by connections. What is unsent is known, and limited, only
        # outside the kernel, which would buffer megabytes for each client. Not
        # every kernel that runs containers has it.
        with contextlib.suppress(OSError):
            listener.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MAX_UNSENT
            )
        listener.bind(address)
    except OSError as error:
        raise ConfigurationError(
            f'[{group}] {names}: cannot listen on {host}:{port}: '
            f'{error.strerror}'
        ) from None
    listener.listen(backlog)
    listener.setblocking(False)
    return listener

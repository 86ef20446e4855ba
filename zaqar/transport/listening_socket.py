# SPDX-License-Identifier: Apache-2.0
"""Opening of listening sockets, before workers are forked."""

from __future__ import annotations

import socket

from zaqar.errors import ConfigurationError


def listen(
    host: str, port: int, backlog: int, group: str, names: str = 'bind, port'
) -> socket.socket:
    """Return a listening socket.

    :param group: of the options to name in an error
    :param names: of those options
    :raises ConfigurationError: the address is not available
    """
    try:
        addresses = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = addresses[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise ConfigurationError(
            f'[{group}] {names}: cannot listen on {host}:{port}: '
            f'{error.strerror}'
        ) from None
    listener.listen(backlog)
    listener.setblocking(False)
    return listener

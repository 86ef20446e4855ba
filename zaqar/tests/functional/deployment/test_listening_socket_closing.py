# SPDX-License-Identifier: Apache-2.0
"""How a listening socket ends, as its clients see it."""

from __future__ import annotations

import concurrent.futures
import socket
from collections.abc import Iterator

import pytest

from zaqar.cmd import listening_socket_closing


@pytest.fixture(
    params=[('127.0.0.1', socket.AF_INET), ('::1', socket.AF_INET6)]
)
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    """A listening socket of each kind."""
    host, family = request.param
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.bind((host, 0))
    except OSError as error:
        pytest.skip(f'{host} cannot be had: {error}')
    listening.listen(16)
    yield listening
    listening.close()


def _connect(listener: socket.socket, patience: float) -> socket.socket:
    return socket.create_connection(listener.getsockname()[:2], patience)


def test_those_who_are_in_are_accepted_and_newcomers_wait(
    listener: socket.socket,
) -> None:
    early = [_connect(listener, 60) for _ in range(3)]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        shutdown_ends = pool.submit(
            listening_socket_closing.drop_new_connections, [listener]
        )
        # It waits for all of them.
        accepted = [listener.accept()[0] for _ in early]
        shutdown_ends.result(60)
    # Neither let in nor refused.
    with pytest.raises(TimeoutError):
        _connect(listener, 0.3)
    for client, served in zip(early, accepted, strict=True):
        client.sendall(b'?')
        assert served.recv(1) == b'?'
        client.close()
        served.close()


def test_it_ends_although_nobody_accepts(listener: socket.socket) -> None:
    client = _connect(listener, 60)
    listening_socket_closing.drop_new_connections([listener])
    client.close()


def test_newcomers_are_refused_in_the_end_whoever_holds_the_socket(
    listener: socket.socket,
) -> None:
    other = listener.dup()
    address = listener.getsockname()[:2]
    listening_socket_closing.drop_new_connections([listener])
    listening_socket_closing.refuse([listener])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 5)
    other.close()


def test_another_kind_of_socket_is_left_alone() -> None:
    one, other = socket.socketpair()
    listening_socket_closing.drop_new_connections([one])
    one.sendall(b'?')
    assert other.recv(1) == b'?'
    one.close()
    other.close()

# SPDX-License-Identifier: Apache-2.0
"""Sockets that are listened on."""

from __future__ import annotations

import contextlib
import socket

import pytest

from zaqar.transport import listening_socket
from zaqar.transport.listening_socket import MAX_UNSENT


def test_the_kernel_holds_little_for_a_client_that_does_not_read() -> None:
    with contextlib.ExitStack() as stack:
        listener = listening_socket.listen('127.0.0.1', 0, 1, 'a group')
        stack.enter_context(listener)
        client = stack.enter_context(socket.socket())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(listener.getsockname())
        listener.setblocking(True)
        connection, _ = listener.accept()
        stack.enter_context(connection)
        connection.setblocking(False)
        taken = 0
        # Without a limit it takes 2.5 MB.
        with contextlib.suppress(BlockingIOError):
            while taken < 8 * MAX_UNSENT:
                taken += connection.send(bytes(64 * 1024))
        assert taken < 3 * MAX_UNSENT


def test_a_kernel_without_the_limit_will_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # No kernel knows this option.
    monkeypatch.setattr(socket, 'TCP_NOTSENT_LOWAT', 9999)
    listening_socket.listen('127.0.0.1', 0, 1, 'a group').close()

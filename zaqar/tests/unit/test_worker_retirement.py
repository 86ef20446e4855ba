# SPDX-License-Identifier: Apache-2.0
"""A worker that leaves its listening socket to others."""

from __future__ import annotations

import pathlib
import select
import socket

import pytest

from zaqar.transport import listening_socket
from zaqar.transport.wsgi import granian_server


def _is_ready(epoll: select.epoll, listener: socket.socket) -> bool:
    """Tell whether an event loop is told of a new connection."""
    with socket.create_connection(listener.getsockname()):
        return bool(epoll.poll(0.2))


def test_an_event_loop_forgets_the_socket() -> None:
    with (
        listening_socket.listen('127.0.0.1', 0, 8, '') as listener,
        listener.dup() as registered,
        select.epoll() as epoll,
    ):
        epoll.register(registered, select.EPOLLIN)
        granian_server._stop_accepting(listener)  # noqa: SLF001
        assert not _is_ready(epoll, listener)


def test_without_a_list_of_open_files_it_goes_on_accepting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(granian_server, '_FDINFO', tmp_path / 'missing')
    with (
        listening_socket.listen('127.0.0.1', 0, 8, '') as listener,
        select.epoll() as epoll,
    ):
        epoll.register(listener, select.EPOLLIN)
        granian_server._stop_accepting(listener)  # noqa: SLF001
        assert _is_ready(epoll, listener)

# SPDX-License-Identifier: Apache-2.0
"""A worker that leaves its listening socket to others."""

from __future__ import annotations

import pathlib
import queue
import select
import socket
import threading
from typing import Any

import pytest

from zaqar.transport import listening_socket
from zaqar.transport.wsgi import epoll_descriptors
from zaqar.transport.wsgi.worker_shutdown import WorkerShutdown


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
        epoll_descriptors.forget(listener)
        assert not _is_ready(epoll, listener)


def test_without_a_list_of_open_files_it_goes_on_accepting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(epoll_descriptors, 'FDINFO', tmp_path / 'missing')
    with (
        listening_socket.listen('127.0.0.1', 0, 8, '') as listener,
        select.epoll() as epoll,
    ):
        epoll.register(listener, select.EPOLLIN)
        epoll_descriptors.forget(listener)
        assert _is_ready(epoll, listener)


class Adapter:
    """Retires without effect."""

    def retire(self, seconds: float) -> None: ...


def test_waits_do_not_end_in_the_handler_of_a_signal() -> None:
    # The next signal would come while it holds locks.
    threads: queue.SimpleQueue[threading.Thread] = queue.SimpleQueue()
    adapter: Any = Adapter()
    with listening_socket.listen('127.0.0.1', 0, 8, '') as listener:
        shutdown = WorkerShutdown(
            adapter, listener, lambda: threads.put(threading.current_thread())
        )
        shutdown.retire()
    assert threads.get(timeout=30) is not threading.current_thread()

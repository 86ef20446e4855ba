# SPDX-License-Identifier: Apache-2.0
"""Requests that wait for messages under WSGI servers other than our own.

Each holds a thread, hence their number is bounded; the others do not wait.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from typing import Any

from oslo_config import cfg

from zaqar.api.dispatch import BodyReader, Received
from zaqar.api.operation import Body
from zaqar.api.requests_with_wait import Postponable
from zaqar.errors import StoreUnavailable
from zaqar.transport.wsgi import uwsgi_and_gunicorn_introspection
from zaqar.transport.wsgi_types import Environ
from zaqar.waiting.waiters import Ticket

GROUP = 'drivers:transport:wsgi'

OPTS = [
    cfg.IntOpt(
        'max_waiting',
        min=0,
        help='Requests that may wait for messages in each process of a WSGI '
        'server other than zaqar-server, where each holds a thread; others '
        'are answered at once. Unset: half of the threads of a process of '
        'uWSGI, none under other servers. In zaqar-server waiting requests '
        'hold no thread, and this has no effect.',
    ),
]


class _Bell:
    """Wakes a thread that polls; it may ring when nobody listens any more."""

    def __init__(self) -> None:
        self.descriptor = os.eventfd(0)

    def __del__(self) -> None:
        os.close(self.descriptor)

    def ring(self) -> None:
        os.eventfd_write(self.descriptor, 1)


class _Request:
    """A request that waits in its thread.

    :param connection: the descriptor of its connection, None if not known
    """

    def __init__(
        self, room: threading.Semaphore, connection: int | None
    ) -> None:
        self.ticket: Ticket | None = None
        self.is_missed = self.is_refused = False
        self._room = room
        self._connection = connection
        self._has_room = False

    def may_wait(self) -> bool:
        self._has_room = self._room.acquire(blocking=False)
        return self._has_room

    def postpone(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self.is_missed = True

    def check_connection(self) -> None:
        """Refuse a request whose client has gone before it was begun.

        :raises StoreUnavailable: nobody would receive what it takes
        """
        if _closed(self._connection).poll(0):
            raise StoreUnavailable('The client has gone.')

    def wait(self) -> None:
        """Return when it is to run again.

        It makes no attempt then if its client has gone, or the process stops.
        """
        assert self.ticket is not None
        bell = _Bell()
        self.ticket.park(bell.ring)
        polled = _closed(
            self._connection, uwsgi_and_gunicorn_introspection.stop_pipe()
        )
        polled.register(bell.descriptor, select.POLLIN)
        if any(each != bell.descriptor for each, _ in polled.poll()):
            self.ticket.give_up()
        self.is_missed = False

    def end(self) -> None:
        """Make room for others."""
        if self.ticket is not None:
            self.ticket.leave()
        if self._has_room:
            self._room.release()


def _closed(*descriptors: int | None) -> select.poll:
    """Return an object that reports what its other end has closed."""
    polled = select.poll()
    for each in descriptors:
        if each is not None:
            polled.register(each, select.POLLRDHUP)
    return polled


class WaitingInThreads:
    """The requests that wait in a process.

    :param most: how many may do so at a time
    """

    def __init__(self, most: int) -> None:
        self._room = threading.Semaphore(most)

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> WaitingInThreads:
        conf.register_opts(OPTS, GROUP)
        most = conf[GROUP].max_waiting
        return cls(
            uwsgi_and_gunicorn_introspection.threads() // 2
            if most is None
            else most
        )

    def run(
        self, environ: Environ, run: Callable[[Postponable], Any]
    ) -> tuple[Any, bool]:
        """Run a request until it has messages, or its time is over.

        :returns: its result, and whether it may not wait
        :raises StoreUnavailable: its client has gone
        """
        request = _Request(
            self._room, uwsgi_and_gunicorn_introspection.connection(environ)
        )
        try:
            request.check_connection()
            result = run(request)
            while request.is_missed:
                request.wait()
                result = run(request)
            return result, request.is_refused
        finally:
            request.end()


def read_once(read: BodyReader) -> BodyReader:
    """Return a function that reads a body once and returns it each time."""
    bodies: list[Received | None] = []

    def body(declared: Body, most: int) -> Received | None:
        if not bodies:
            bodies.append(read(declared, most))
        return bodies[0]

    return body

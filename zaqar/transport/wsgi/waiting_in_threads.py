# SPDX-License-Identifier: Apache-2.0
"""Requests that wait for messages under WSGI servers other than our own.

Each holds a thread, hence their number is bounded; the others do not wait.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from typing import Any

from oslo_config import cfg

from zaqar.api.dispatch import BodyReader, Received
from zaqar.api.operation import Body
from zaqar.api.waiting_requests import Postponable
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


class _Request:
    """A request that waits in its thread."""

    def __init__(self, room: threading.Semaphore) -> None:
        self.ticket: Ticket | None = None
        self.is_missed = self.is_refused = False
        self._room = room
        self._has_room = False

    def may_wait(self) -> bool:
        self._has_room = self._room.acquire(blocking=False)
        return self._has_room

    def postpone(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self.is_missed = True

    def wait(self) -> None:
        """Return when it is to run again."""
        assert self.ticket is not None
        woken = threading.Event()
        self.ticket.park(woken.set)
        woken.wait()
        self.is_missed = False

    def end(self) -> None:
        """Make room for others."""
        if self.ticket is not None:
            self.ticket.leave()
        if self._has_room:
            self._room.release()


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
        return cls(_threads() // 2 if most is None else most)

    def run(self, run: Callable[[Postponable], Any]) -> tuple[Any, bool]:
        """Run a request until it has messages, or its time is over.

        :returns: its result, and whether it may not wait
        """
        request = _Request(self._room)
        try:
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


def _threads() -> int:
    """Return the threads of each process, as far as they are known."""
    try:
        # The module exists inside uWSGI only.
        uwsgi = importlib.import_module('uwsgi')
    except ImportError:
        return 0
    return int(uwsgi.opt.get('threads', 1))

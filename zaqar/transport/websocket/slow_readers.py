# SPDX-License-Identifier: Apache-2.0
"""Connections whose clients do not take what is written to them."""

import asyncio
import functools
import logging

from zaqar.transport.large_page_fairness import Job, Turns
from zaqar.transport.websocket.connection_state_machine import State
from zaqar.transport.websocket.connection_with_session_and_timers import (
    OpenConnection,
)
from zaqar.transport.websocket.settings import Settings

LOG = logging.getLogger(__name__)


class SlowReaders:
    """Ends connections that read too slowly, or have too much to read."""

    def __init__(
        self,
        settings: Settings,
        turns: Turns,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._settings = settings
        self._turns = turns
        self._loop = loop
        self._blocked: dict[str, set[OpenConnection]] = {}

    def __contains__(self, connection: OpenConnection) -> bool:
        return connection in self._blocked.get(connection.project, ())

    def add(self, connection: OpenConnection) -> None:
        """Note that a client takes nothing at present."""
        self._blocked.setdefault(connection.project, set()).add(connection)
        self.limit_time(connection)
        if not connection.unread:
            connection.unread = connection.socket.unsent()
            self._turns.add_unread(connection.project, connection.unread)
        self.check_soon(connection)

    def remove(self, connection: OpenConnection) -> None:
        """Note that a client reads, or has gone."""
        if connection.read_timer is not None:
            connection.read_timer.cancel()
            connection.read_timer = None
        if connection.unread:
            size, connection.unread = connection.unread, 0
            self._later(self._turns.subtract_unread(connection.project, size))
        blocked = self._blocked.get(connection.project, set())
        blocked.discard(connection)
        if not blocked:
            self._blocked.pop(connection.project, None)

    def limit_time(self, connection: OpenConnection) -> None:
        """End a connection unless its client reads in time."""
        most = self._settings.write_timeout
        is_open = connection.machine.state is not State.LOST
        if most and is_open and connection.read_timer is None:
            connection.read_timer = self._loop.call_later(
                most, self._end, connection, 'takes nothing of what is written'
            )

    def check_soon(self, connection: OpenConnection) -> None:
        """Abort connections with too many unread bytes."""
        # By then the system has taken what it can.
        self._loop.call_soon(functools.partial(self._check, connection))

    def _check(self, connection: OpenConnection) -> None:
        if connection not in self:
            return
        most = self._settings.max_unsent
        if most and connection.socket.unsent() > most:
            self._end(connection, 'has too much to read')
            return
        most = self._settings.max_unsent_per_project
        blocked = self._blocked[connection.project]
        sizes = {other: other.socket.unsent() for other in blocked}
        if most and sum(sizes.values()) > most:
            largest = max(sizes, key=sizes.__getitem__)
            self._end(largest, 'has most to read in a project with too much')

    def _end(self, connection: OpenConnection, why: str) -> None:
        LOG.info('Ended a connection from %s, which %s', connection.peer, why)
        # It is gone a turn of the loop later, and counts no more till then.
        self.remove(connection)
        connection.socket.cut()

    def _later(self, job: Job | None) -> None:
        if job is not None:
            self._loop.call_soon(job)

# SPDX-License-Identifier: Apache-2.0
"""All connections of a worker, and what they may take together."""

import logging
import time
from collections.abc import Callable, MutableSequence

from zaqar.transport.wsgi.server.connection import ClientLimits, Connection
from zaqar.transport.wsgi.server.request_parser import Request

LOG = logging.getLogger(__name__)

#: Bytes of all incomplete requests, and of those that wait for the answer to
#: another one of their connection; or :data:`LONGEST_HELD` times the longest
#: body that is accepted, if that is more.
MOST_HELD = 64 * 1024 * 1024
LONGEST_HELD = 4


class Clients:
    """The connections of a worker.

    :param address: where it listens
    :param handle: takes each request
    :param counts: the connections of each worker, shared by all of them
    :param number: of this worker among them
    :param monotonic: the time in seconds
    :ivar clock: when this was last checked
    :ivar is_ending: whether no request is waited for any more
    :ivar on_leaving: called when a connection has ended
    """

    def __init__(
        self,
        address: tuple[str, int],
        limits: ClientLimits,
        handle: Callable[[Connection, Request], None],
        counts: MutableSequence[int] | memoryview | None = None,
        number: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.address = address
        self.limits = limits
        self.handle = handle
        self.monotonic = monotonic
        self.clock = monotonic()
        self.is_ending = False
        self.on_leaving: Callable[[], None] = lambda: None
        self._counts = [0] if counts is None else counts
        self._number = number
        self._connections: set[Connection] = set()
        #: Those with incomplete requests, oldest first.
        self._holding: dict[Connection, None] = {}
        self._held = 0
        self._most_held = max(MOST_HELD, LONGEST_HELD * limits.longest_body)
        self._count()

    def __len__(self) -> int:
        return len(self._connections)

    @property
    def are_many(self) -> bool:
        """Whether this worker has clearly more of them than another one."""
        own = len(self._connections)
        return own > min(self._counts) + 1 + own // 8

    def add(self, connection: Connection) -> None:
        self._connections.add(connection)
        self._count()

    def remove(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self.hold(connection, 0)
        self._count()
        self.on_leaving()

    def leave_to_others(self) -> None:
        """Count connections for this worker no more: it has a successor."""
        self._counts = [0]
        self._number = 0

    def hold(self, connection: Connection, held: int) -> None:
        """Count the bytes of what a client has sent and nothing answers yet.

        As long as there are too many, the oldest of it is given up.
        """
        self._held += held - connection.held
        connection.held = held
        if not held:
            self._holding.pop(connection, None)
            return
        self._holding[connection] = None
        while self._held > self._most_held:
            next(iter(self._holding)).give_up(
                'Too many bodies are being sent.'
            )

    def check(self) -> None:
        """End what has lasted for too long."""
        now = self.clock = self.monotonic()
        for connection in list(self._connections):
            try:
                connection.check(now, is_ending=self.is_ending)
            except Exception:
                # The others have deadlines, too.
                LOG.exception('A connection failed')
                connection.abort()

    def _count(self) -> None:
        self._counts[self._number] = len(self._connections)

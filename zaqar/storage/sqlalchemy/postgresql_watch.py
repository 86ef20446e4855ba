# SPDX-License-Identifier: Apache-2.0
"""The watch of PostgreSQL: LISTEN on a connection of its own."""

import contextlib
import functools
import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg

from zaqar.errors import StoreUnavailable, one_line
from zaqar.storage.sqlalchemy import postgresql_post_announcements
from zaqar.storage.sqlalchemy.server_connections_and_poolers import Connector
from zaqar.storage.sqlalchemy.statement_execution import SqlSession
from zaqar.storage.store_watch_interface import MAX_LOOKED_AT, OnChange, Watch

LOG = logging.getLogger(__name__)

#: Seconds between renewals of the leases of all queues.
RENEWAL = 10.0

#: Seconds after which a queue whose row was locked is tried again.
RETRY = 0.05

#: Seconds for an answer.
DEADLINE = 4.0

#: Seconds before a lost connection is opened again, at first and at most.
PAUSE = 0.1
MAX_PAUSE = 5.0

_Connection = Any
_Connect = Callable[[], _Connection]


def open_watch(
    connector: Connector, connect: _Connect, changed: OnChange
) -> Watch | None:
    """Begin to listen, unless a pooler stands in between.

    :param connect: opens a connection with a deadline
    """
    # Known once there was a connection.
    if not connector.is_pooled:
        try:
            watch = PostgresqlWatch(connect, changed)
        except psycopg.Error as error:
            LOG.warning('PostgreSQL: cannot listen: %s', one_line(error))
            raise StoreUnavailable from error
        if not connector.is_pooled:
            return watch
        watch.close()
    warn_of_pooler()
    return None


@functools.cache
def warn_of_pooler() -> None:
    """Log, once, that posts are not announced."""
    LOG.warning(
        'Posts of other processes are not announced through a pooler that '
        'assigns a connection for one transaction: requests that wait for '
        'messages poll the database.'
    )


class PostgresqlWatch(Watch):
    """Listens for announced posts, and has them announced."""

    hears_own = True

    def __init__(self, connect: _Connect, changed: OnChange) -> None:
        self._connect = connect
        self._changed = changed
        self._lock = threading.Lock()
        self._qids: set[str] = set()
        #: Those whose posts are not announced for long enough.
        self._unleased: set[str] = set()
        self._renew_at = 0.0
        self._pause = PAUSE
        self._is_lost = False
        self._closed = threading.Event()
        self._inbox, self._outbox = socket.socketpair()
        self._inbox.setblocking(False)
        self._outbox.setblocking(False)
        self._thread = threading.Thread(
            target=self._run,
            args=[self._listen()],
            name='postgresql-watch',
            daemon=True,
        )
        self._thread.start()

    def add(self, qid: str) -> None:
        with self._lock:
            if qid in self._qids:
                return
            self._qids.add(qid)
            self._unleased.add(qid)
        self._wake()

    def remove(self, qid: str) -> None:
        with self._lock:
            self._qids.discard(qid)
            self._unleased.discard(qid)

    def close(self) -> None:
        self._closed.set()
        self._wake()
        self._thread.join()
        self._inbox.close()
        self._outbox.close()

    def _wake(self) -> None:
        # If it is full the thread wakes anyway.
        with contextlib.suppress(BlockingIOError):
            self._outbox.send(b'.')

    def _listen(self) -> _Connection:
        connection = self._connect()
        try:
            connection.execute(
                f'LISTEN {postgresql_post_announcements.CHANNEL}'
            )
        except psycopg.Error:
            connection.close()
            raise
        # Those that come with the answer to a statement.
        connection.add_notify_handler(lambda note: self._hear(note.payload))
        return connection

    def _run(self, connection: _Connection | None) -> None:
        while connection is not None:
            try:
                with (
                    contextlib.closing(connection),
                    selectors.DefaultSelector() as selector,
                ):
                    selector.register(self._inbox, selectors.EVENT_READ)
                    selector.register(connection, selectors.EVENT_READ)
                    while not self._closed.is_set():
                        self._renew(connection)
                        self._note_success()
                        self._wait(connection, selector)
                return
            except psycopg.Error as error:
                self._note_loss(error)
            connection = self._listen_again()

    def _note_loss(self, error: psycopg.Error) -> None:
        if not self._is_lost:
            LOG.warning(
                'PostgreSQL: the connection that listens for posts is lost: '
                '%s',
                one_line(error),
            )
        self._is_lost = True

    def _note_success(self) -> None:
        """Note that the connection can do more than listen."""
        if self._is_lost:
            LOG.info('PostgreSQL: listening for posts again')
            self._is_lost = False
            self._pause = PAUSE

    def _listen_again(self) -> _Connection | None:
        """Return a new connection, None after :meth:`close`."""
        while not self._closed.wait(self._pause):
            self._pause = min(2 * self._pause, MAX_PAUSE)
            with contextlib.suppress(psycopg.Error):
                connection = self._listen()
                self._renew_at = 0.0
                self._changed(None, 0)
                return connection
        return None

    def _renew(self, connection: _Connection) -> None:
        """Take or renew the leases for which it is time."""
        with self._lock:
            if time.monotonic() >= self._renew_at:
                self._unleased = {*self._qids}
                self._renew_at = time.monotonic() + RENEWAL
            qids = sorted(self._unleased)[:MAX_LOOKED_AT]
        if not qids:
            return
        connection.deadline = time.monotonic() + DEADLINE
        with connection.cursor() as cursor:
            session = SqlSession(cursor, 'postgresql')
            leased = postgresql_post_announcements.lease(session, qids)
        with self._lock:
            self._unleased.difference_update(leased)
        for qid in leased:
            self._changed(qid, 0)

    def _wait(
        self, connection: _Connection, selector: selectors.BaseSelector
    ) -> None:
        """Wait for posts, for our own threads or for the next renewal."""
        self._receive(connection)
        pause = RETRY if self._unleased else self._renew_at - time.monotonic()
        for key, _ in selector.select(max(pause, 0.0)):
            if key.fileobj is self._inbox:
                self._inbox.recv(4096)
            else:
                connection.pgconn.consume_input()
                self._receive(connection)

    def _receive(self, connection: _Connection) -> None:
        while note := connection.pgconn.notifies():
            self._hear(note.extra.decode())

    def _hear(self, announcement: str) -> None:
        qid, count = postgresql_post_announcements.parse(announcement)
        if qid in self._qids:
            self._changed(qid, count)

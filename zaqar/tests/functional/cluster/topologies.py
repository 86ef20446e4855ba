# SPDX-License-Identifier: Apache-2.0
"""Databases as clouds run them, and what befalls them."""

from __future__ import annotations

import abc
import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

import sqlalchemy as sa

from zaqar.tests.functional.cluster.load import Load, Write
from zaqar.tests.servers import process, sql, zaqar
from zaqar.tests.servers.galera import Cluster, Node
from zaqar.tests.servers.haproxy import HAProxy
from zaqar.tests.servers.pgbouncer import PgBouncer
from zaqar.tests.servers.postgresql_pair import Pair

Fault = Callable[[Load], None]

KILL, PAUSE, ISOLATION = 'kill -9', 'SIGSTOP', 'isolation'
QUORUM, ROLLING, DESYNC = 'no quorum', 'rolling restart', 'desync'
NONE, POOLER_KILL = 'none', 'kill -9 of PgBouncer'
POOLER_PAUSE, STANDBY_PAUSE = 'SIGSTOP of PgBouncer', 'SIGSTOP of the standby'
STANDBY_KILL = 'kill -9 of the standby'

#: What is done of each kind between two steps of a fault.
STEP = 15


class Topology(abc.ABC):
    """A database of several parts.

    :ivar direct: URI of the database for those who make tables
    :ivar uri: its URI for the service
    :ivar faults: what can befall it, by name; all is well afterwards
    """

    direct: str
    uri: str
    faults: Mapping[str, Fault]

    @abc.abstractmethod
    def writes(self) -> Sequence[Write]:
        """Return writes to a node each, past balancers."""

    def close(self) -> None:  # noqa: B027
        """End what is ours."""


class Galera(Topology):
    """Three nodes behind HAProxy.

    :param mode: whether one or all of them are written
    """

    def __init__(self, cluster: Cluster, haproxy: HAProxy, mode: str) -> None:
        self._cluster = cluster
        self._haproxy = haproxy
        self._mode = mode
        self.direct = cluster.database()
        self.uri = haproxy.url(self.direct, mode)
        self.faults = {
            NONE: _nothing,
            KILL: self._kill,
            PAUSE: self._pause,
            ISOLATION: self._isolate,
            QUORUM: self._lose_quorum,
            ROLLING: self._restart_all,
            DESYNC: self._desync,
        }

    def writes(self) -> Sequence[Write]:
        name = sa.make_url(self._cluster.database()).database
        first = self._cluster.nodes[0]
        first.ask(f'CREATE TABLE {name}.watch (node INT PRIMARY KEY, n INT)')
        return [
            functools.partial(
                node.ask,
                f'INSERT INTO {name}.watch VALUES ({node.number}, 1) '
                'ON DUPLICATE KEY UPDATE n = n + 1',
            )
            for node in self._cluster.nodes
        ]

    def _kill(self, load: Load) -> None:
        first, *others = self._cluster.nodes
        first.kill()
        _await_size(load, others, 2)
        load.wait_for(STEP)
        first.start()
        self._await_all(load)

    def _pause(self, load: Load) -> None:
        first, *others = self._cluster.nodes
        first.pause()
        try:
            _await_size(load, others, 2)
            load.wait_for(STEP)
        finally:
            first.resume()
        self._await_all(load)

    def _isolate(self, load: Load) -> None:
        first, *others = self._cluster.nodes
        first.isolate()
        try:
            _await_size(load, others, 2)
            load.wait_for(STEP)
        finally:
            first.rejoin()
        self._await_all(load)

    def _lose_quorum(self, load: Load) -> None:
        nodes = self._cluster.nodes
        for node in nodes[1:]:
            node.isolate()
        try:
            load.wait_until(lambda: not any(n.is_synced() for n in nodes))
            load.wait_for_refusal()
        finally:
            for node in nodes[1:]:
                node.rejoin()
        self._await_all(load)

    def _restart_all(self, load: Load) -> None:
        for number, node in enumerate(self._cluster.nodes):
            name = f'db{number + 1}'
            self._haproxy.take_out(name)
            node.halt()
            node.start()
            self._haproxy.put_back(name)
            self._await_all(load)

    def _desync(self, load: Load) -> None:
        first = self._cluster.nodes[0]
        first.desync(True)
        try:
            load.wait_for(STEP)
        finally:
            first.desync(False)
        self._await_all(load)

    def _await_all(self, load: Load) -> None:
        """Return when all is as before, and the load goes on."""
        nodes = self._cluster.nodes
        load.wait_until(lambda: all(node.is_synced() for node in nodes))
        load.wait_until(lambda: len(self._haproxy.up(self._mode)) == 3)
        load.wait_for(STEP)


class Pooled(Topology):
    """PostgreSQL behind PgBouncer."""

    def __init__(self, server: sql.PostgreSQL, mode: str) -> None:
        self._server = server
        # As many as there are stores and threads of theirs, and for us.
        size = '100' if mode == 'session' else '4'
        self._bouncer = PgBouncer(
            server.url, pool_mode=mode, default_pool_size=size
        )
        self.direct = server.database()
        self.uri = self._bouncer.url(self.direct)
        self.faults = {
            NONE: _nothing,
            KILL: self._kill,
            PAUSE: self._pause,
            POOLER_KILL: self._kill_pooler,
            POOLER_PAUSE: self._pause_pooler,
            ROLLING: self._restart_all,
        }

    def writes(self) -> Sequence[Write]:
        return [_watch(sa.make_url(self.direct))]

    def close(self) -> None:
        self._bouncer.stop()

    def _kill(self, load: Load) -> None:
        with load.outage():
            self._server.kill()
            self._server.start()
        load.wait_for(STEP)

    def _pause(self, load: Load) -> None:
        self._hang(load, self._server)

    def _kill_pooler(self, load: Load) -> None:
        with load.outage():
            self._bouncer.kill()
            self._bouncer.start()
        load.wait_for(STEP)

    def _pause_pooler(self, load: Load) -> None:
        self._hang(load, self._bouncer)

    def _hang(self, load: Load, what: sql.OwnServer | PgBouncer) -> None:
        with load.outage(), _paused(what.process):
            load.wait_for_refusal()
        load.wait_for(STEP)

    def _restart_all(self, load: Load) -> None:
        for part in (self._bouncer, self._server):
            with load.outage():
                part.halt()
                part.start()
            load.wait_for(STEP)


class Replicated(Topology):
    """PostgreSQL with a synchronous standby that takes over."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self.direct = pair.primary.database()
        self.uri = pair.uri(self.direct)
        self.faults = {
            NONE: _nothing,
            KILL: self._kill,
            PAUSE: self._pause,
            STANDBY_PAUSE: self._pause_standby,
            STANDBY_KILL: self._kill_standby,
            ROLLING: self._restart_all,
        }

    def writes(self) -> Sequence[Write]:
        name = sa.make_url(self.direct).database
        members = (self._pair.primary, self._pair.standby)
        return [_watch(member.url.set(database=name)) for member in members]

    def _kill(self, load: Load) -> None:
        self._fail_over(load, self._pair.primary.kill)
        self._rebuild(load)

    def _pause(self, load: Load) -> None:
        old = self._pair.primary
        pid = old.process.child.pid
        self._fail_over(load, lambda: zaqar.pause(pid))
        load.wait_for(STEP)
        # It never comes back as what it was.
        zaqar.resume(pid)
        old.kill()
        self._rebuild(load)

    def _pause_standby(self, load: Load) -> None:
        with load.outage(), _paused(self._pair.standby.process):
            load.wait_for_refusal()
        load.wait_for(STEP)

    def _kill_standby(self, load: Load) -> None:
        with load.outage():
            self._pair.standby.kill()
            load.wait_for_refusal()
            self._pair.standby.start()
        load.wait_for(STEP)

    def _restart_all(self, load: Load) -> None:
        for _ in range(2):
            self._fail_over(load, self._pair.primary.halt)
            self._rebuild(load)

    def _fail_over(self, load: Load, end: Callable[[], object]) -> None:
        with load.outage():
            self._pair.fail_over(end)

    def _rebuild(self, load: Load) -> None:
        load.wait_for(STEP)
        self._pair.rebuild()
        load.wait_for(STEP)


@contextlib.contextmanager
def _paused(server: process.Process) -> Iterator[None]:
    pid = server.child.pid
    zaqar.pause(pid)
    try:
        yield
    finally:
        zaqar.resume(pid)


def _nothing(load: Load) -> None:
    load.wait_for(2 * STEP)


def _await_size(load: Load, nodes: Sequence[Node], size: int) -> None:
    load.wait_until(lambda: all(node.sees(size) for node in nodes))


def _watch(url: sa.URL) -> Write:
    engine = sa.create_engine(
        url, poolclass=sa.NullPool, connect_args={'connect_timeout': 2}
    )

    def write() -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql(
                'CREATE TABLE IF NOT EXISTS watch (n INT)'
            )
            connection.exec_driver_sql('INSERT INTO watch VALUES (1)')

    return write

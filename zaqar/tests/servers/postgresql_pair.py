# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL server and a synchronous standby, which can be promoted."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import sqlalchemy as sa

from zaqar.tests.servers import sql


class Member(sql.PostgreSQL):
    """A server of a pair.

    :param primary: what it is to follow
    """

    def __init__(self, primary: Member | None = None) -> None:
        self._primary = primary
        super().__init__()

    def follow(self, primary: Member) -> None:
        """Begin anew as the standby of another; it must have been ended."""
        self._primary = primary
        shutil.rmtree(self.folder / 'data')
        self._initialize()
        self.start()

    def wait_for(self, statement: str) -> None:
        """Return when a query says true."""
        self.process.wait_until(lambda: bool(self.ask(statement)))

    def ask(self, statement: str) -> object:
        """Return what a query says."""
        engine = sa.create_engine(
            self.url, isolation_level='AUTOCOMMIT', poolclass=sa.NullPool
        )
        with engine.connect() as connection:
            return connection.exec_driver_sql(statement).scalar()

    def tell(self, statement: str) -> None:
        """Run a statement."""
        self._administer(statement)

    def _initialize(self) -> None:
        if self._primary is None:
            super()._initialize()
            return
        self._locate()
        self._run(
            str(self._bin / 'pg_basebackup'),
            f'--dbname={self._primary.url.set(drivername="postgresql")}',
            f'--pgdata={self.folder / "data"}',
            *('--write-recovery-conf', '--checkpoint=fast', '--no-sync'),
        )
        # Else, promoted, it would wait for a standby that it has not.
        with (self.folder / 'data' / 'postgresql.auto.conf').open('a') as file:
            file.write("synchronous_standby_names = ''\n")

    def _settings(self) -> dict[str, str]:
        # A crash of the machine is none of the faults here, but what has been
        # committed must be on both.
        return super()._settings() | {'synchronous_commit': 'on'}


class Pair:
    """A primary and its standby, without whom it acknowledges nothing."""

    def __init__(self) -> None:
        self.primary = Member()
        self.standby = Member(self.primary)
        self._hosts = [
            f'127.0.0.1:{member.port}'
            for member in (self.primary, self.standby)
        ]
        self._synchronize()

    def uri(self, database: str) -> str:
        """Return the URI of a database on whoever is the primary."""
        name = sa.make_url(database).database
        hosts = '&'.join(f'host={host}' for host in self._hosts)
        return (
            f'postgresql://zaqar@/{name}?{hosts}'
            '&target_session_attrs=read-write'
        )

    def fail_over(self, end: Callable[[], object]) -> None:
        """Have the standby promoted, the old primary ended first."""
        end()
        self.standby.tell('SELECT pg_promote()')
        self.standby.wait_for('SELECT NOT pg_is_in_recovery()')
        self.primary, self.standby = self.standby, self.primary

    def rebuild(self) -> None:
        """Give the primary a new standby."""
        self.standby.kill()
        self.standby.follow(self.primary)
        self._synchronize()

    def stop(self) -> None:
        """End both."""
        self.standby.stop()
        self.primary.stop()

    def _synchronize(self) -> None:
        # Earlier, all commits would wait for it.
        self.primary.wait_for(
            'SELECT count(*) = 1 FROM pg_stat_replication '
            "WHERE state = 'streaming'"
        )
        self.primary.tell("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.primary.tell('SELECT pg_reload_conf()')
        self.primary.wait_for(
            'SELECT count(*) = 1 FROM pg_stat_replication '
            "WHERE sync_state = 'sync'"
        )

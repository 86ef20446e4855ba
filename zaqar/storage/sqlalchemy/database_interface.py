# SPDX-License-Identifier: Apache-2.0
"""What a database does for the stores, on a server or in a file."""

import abc
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from zaqar.storage.sqlalchemy.statement_execution import SqlSession
from zaqar.storage.store_watch_interface import OnChange, Watch

P = ParamSpec('P')
T = TypeVar('T')


class SqlDatabase(abc.ABC):
    """A database with our tables.

    :ivar dialect: ``sqlite``, ``postgresql`` or ``mysql``
    :ivar is_galera: whether it is a node of a Galera cluster, as far as is
        known; named locks are those of one node then
    :ivar takes_compounds: whether it is MariaDB, as far as is known
    :ivar waits_in_greenlets: whether greenlets of an event loop may call it;
        see :class:`zaqar.storage.base.Store`
    """

    dialect: str
    is_galera = False
    takes_compounds = False
    waits_in_greenlets = False

    def read(
        self,
        work: Callable[Concatenate[SqlSession, P], T],
        *args: P.args,
        **options: P.kwargs,
    ) -> T:
        """Run work whose statements each commit by themselves.

        It may run more than once.

        :param work: takes a session, then the further arguments
        """
        return self._run(lambda s: work(s, *args, **options), commit=False)

    def read_latest(
        self,
        work: Callable[Concatenate[SqlSession, P], T],
        *args: P.args,
        **options: P.kwargs,
    ) -> T:
        """Read likewise what was committed before, through any node."""
        return self.read(work, *args, **options)

    def write(
        self,
        work: Callable[Concatenate[SqlSession, P], T],
        *args: P.args,
        **options: P.kwargs,
    ) -> T:
        """Run work in a transaction, committed durably before the return.

        It may run more than once, also after a commit whose outcome is
        unknown.
        """
        return self._run(lambda s: work(s, *args, **options), commit=True)

    def write_or_conflict(
        self,
        work: Callable[Concatenate[SqlSession, P], T],
        *args: P.args,
        **options: P.kwargs,
    ) -> T:
        """Write likewise, but do not repeat what a conflict has undone.

        :raises ConflictError: a concurrent transaction got ahead
        """
        return self.write(work, *args, **options)

    @abc.abstractmethod
    def _run(self, work: Callable[[SqlSession], T], *, commit: bool) -> T:
        """Run work, in a transaction if it is to be committed as a whole."""

    @abc.abstractmethod
    def now(self) -> int:
        """Return the server's time in milliseconds."""

    @abc.abstractmethod
    def close(self) -> None:
        """Give back all connections."""

    @abc.abstractmethod
    def check_room(self) -> None:
        """Refuse posts while the disk is almost full.

        :raises StoreUnavailable: the rest is reserved for what frees room
        """

    def watch(self, changed: OnChange) -> Watch | None:
        """Report changes; see :class:`.store_watch_interface.Watch`."""
        return None

    def ping(self) -> None:
        """Return when the server answers a query of a table.

        A Galera node that is cut off from the others answers all else.
        """
        sql = 'SELECT version_num FROM alembic_version'
        self.read(SqlSession.one, sql, {})

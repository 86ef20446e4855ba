# SPDX-License-Identifier: Apache-2.0
"""Sessions for transactions, and the end of abandoned ones.

A transaction locks the queue it posts to. When its process dies, or a command
of it arrives after its connection broke, the server keeps it open for a
minute, in which the queue accepts no posts. Therefore all sessions are
recorded in the collection ``poster``: a process that meets a lock for too long
has the server end the transactions of all others. Live ones are retried, and
then have time: processes that wait for slow ones would end them for ever.
"""

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pymongo
from bson.binary import UUID_SUBTYPE, Binary
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import (
    ConnectionFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from zaqar.storage.mongodb import leases

#: Seconds a session is used; its record expires later.
LIFETIME = 43_200.0
RECORD_LIFETIME = 2 * int(LIFETIME)

#: Seconds after which a server has ended a transaction by itself.
TRANSACTION_LIFETIME = 90.0

#: Seconds that ending transactions may take.
TIMEOUT = 1.0

#: Milliseconds after that in which no process ends those of others: longer
#: than a step, so that whatever can succeed does.
PEACE = 4_000

INDEXES: Sequence[pymongo.IndexModel] = (
    pymongo.IndexModel(
        [('at', 1)], name='age', expireAfterSeconds=RECORD_LIFETIME
    ),
)

Client = pymongo.MongoClient[dict[str, Any]]


@dataclass(slots=True)
class _Unresolved:
    """A transaction that may still be open on the server."""

    name: Mapping[str, Any]
    is_ended: bool = False
    since: float = field(default_factory=time.monotonic)


class TransactionSessions:
    """The sessions of a store.

    :param collection: returns a collection of the store's first database
    """

    def __init__(
        self,
        client: Client,
        collection: Callable[[str], Collection[dict[str, Any]]],
    ) -> None:
        self._client = client
        self._collection = collection
        self._idle: list[tuple[float, ClientSession]] = []
        self._ours: set[bytes] = set()
        self._unresolved: list[_Unresolved] = []

    @contextlib.contextmanager
    def session(self) -> Iterator[ClientSession]:
        """Lend a session for one transaction.

        One whose outcome is unknown afterwards is not used again.
        """
        created, session = self._take()
        try:
            yield session
        except BaseException as error:
            if isinstance(error, PyMongoError) and (
                error.timeout or isinstance(error, ConnectionFailure)
            ):
                # The server is unreachable, and there is no time to wait.
                self._unresolved.append(_Unresolved(session.session_id))
            else:
                if session.in_transaction:
                    with pymongo.timeout(TIMEOUT):
                        session.abort_transaction()
                self._idle.append((created, session))
            raise
        self._idle.append((created, session))

    def end_unresolved(self, *, again: bool) -> None:
        """End our transactions whose outcome is unknown.

        :param again: also those ended before: a delayed command may have
            arrived since
        """
        horizon = time.monotonic() - TRANSACTION_LIFETIME
        self._unresolved = [
            item for item in self._unresolved if item.since > horizon
        ]
        ending = [
            item for item in self._unresolved if again or not item.is_ended
        ]
        if ending and self._end([item.name for item in ending]):
            for item in ending:
                item.is_ended = True

    def kill_foreign_transactions(self) -> None:
        """End the transactions of all other processes, after some peace."""
        with contextlib.suppress(PyMongoError), pymongo.timeout(TIMEOUT):
            if not leases.take(
                self._collection(leases.COLLECTION),
                'killing',
                secrets.token_hex(16),
                PEACE,
            ):
                return
            names = [
                {'id': record['_id']}
                for record in self._records.find({}, {'_id': 1})
                if bytes(record['_id']) not in self._ours
            ]
            if names:
                self._end(names)

    def close(self) -> None:
        """Remove our records, unless a transaction may be open."""
        if not self._ours or self._unresolved:
            return
        with contextlib.suppress(PyMongoError), pymongo.timeout(TIMEOUT):
            self._records.delete_many({'_id': {'$in': self._names()}})

    def _take(self) -> tuple[float, ClientSession]:
        while self._idle:
            with contextlib.suppress(IndexError):
                created, session = self._idle.pop()
                if time.monotonic() < created + LIFETIME:
                    return created, session
        session = self._client.start_session()
        name = session.session_id['id']
        # By the server's clock, which expires it.
        record = {'$currentDate': {'at': True}}
        with pymongo.timeout(TIMEOUT):
            self._records.update_one({'_id': name}, record, upsert=True)
        self._ours.add(bytes(name))
        return time.monotonic(), session

    def _end(self, names: Sequence[Mapping[str, Any]]) -> bool:
        try:
            with pymongo.timeout(TIMEOUT):
                self._client.admin.command('killSessions', [*names])
        except ServerSelectionTimeoutError:
            # The next command would wait for a server just as long.
            raise
        except PyMongoError:
            return False
        return True

    @property
    def _records(self) -> Collection[dict[str, Any]]:
        return self._collection('poster')

    def _names(self) -> list[Any]:
        return [Binary(name, UUID_SUBTYPE) for name in self._ours]

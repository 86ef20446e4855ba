# SPDX-License-Identifier: Apache-2.0
"""Sessions for transactions, and the end of those that nobody ends.

A transaction locks the queue it posts to. When its process dies, or a command
of it arrives after its connection broke, the server keeps it open for a
minute, and nobody could post to that queue. Therefore all sessions are noted
in the collection ``poster``: who meets a lock that does not go away has the
server end the transactions of all others. Those of the living are tried again.
"""

from __future__ import annotations

import contextlib
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

#: Seconds a session is used; the server forgets its note a little later.
LIFE = 43_200.0
NOTED = 2 * int(LIFE)

#: Seconds after which a server ends transactions by itself, and some more.
LIFETIME = 90.0

#: Seconds that ending transactions may take.
PATIENCE = 1.0

INDEXES: Sequence[pymongo.IndexModel] = (
    pymongo.IndexModel([('at', 1)], name='age', expireAfterSeconds=NOTED),
)

Client = pymongo.MongoClient[dict[str, Any]]


@dataclass(slots=True)
class _Left:
    """A transaction whose end the server may not have heard of."""

    name: Mapping[str, Any]
    is_ended: bool = False
    since: float = field(default_factory=time.monotonic)


class Sessions:
    """The sessions of a store.

    :param notes: returns the collection of notes
    """

    def __init__(
        self,
        client: Client,
        notes: Callable[[], Collection[dict[str, Any]]],
    ) -> None:
        self._client = client
        self._notes = notes
        self._idle: list[tuple[float, ClientSession]] = []
        self._ours: set[bytes] = set()
        self._left: list[_Left] = []

    @contextlib.contextmanager
    def session(self) -> Iterator[ClientSession]:
        """Lend a session for one transaction.

        One whose fate is unknown afterwards is not used again.
        """
        born, session = self._take()
        try:
            yield session
        except BaseException as error:
            if isinstance(error, PyMongoError) and (
                error.timeout or isinstance(error, ConnectionFailure)
            ):
                # There is nobody to tell, and no time to wait.
                self._left.append(_Left(session.session_id))
            else:
                if session.in_transaction:
                    with pymongo.timeout(PATIENCE):
                        session.abort_transaction()
                self._idle.append((born, session))
            raise
        self._idle.append((born, session))

    def let_go(self, *, again: bool) -> None:
        """End our transactions whose fate is unknown.

        :param again: also those that were ended before: a command that was
            on its way may have arrived since
        """
        horizon = time.monotonic() - LIFETIME
        self._left = [left for left in self._left if left.since > horizon]
        ending = [left for left in self._left if again or not left.is_ended]
        if ending and self._end([left.name for left in ending]):
            for left in ending:
                left.is_ended = True

    def clear_the_way(self) -> None:
        """End the transactions of all other processes."""
        with contextlib.suppress(PyMongoError), pymongo.timeout(PATIENCE):
            names = [
                {'id': note['_id']}
                for note in self._notes().find({}, {'_id': 1})
                if bytes(note['_id']) not in self._ours
            ]
            if names:
                self._end(names)

    def close(self) -> None:
        """Take our notes away; nothing of ours is open."""
        if not self._ours or self._left:
            return
        with contextlib.suppress(PyMongoError), pymongo.timeout(PATIENCE):
            self._notes().delete_many({'_id': {'$in': self._names()}})

    def _take(self) -> tuple[float, ClientSession]:
        while self._idle:
            with contextlib.suppress(IndexError):
                born, session = self._idle.pop()
                if time.monotonic() < born + LIFE:
                    return born, session
        session = self._client.start_session()
        name = session.session_id['id']
        # By the server's clock, since the server forgets it by that.
        note = {'$currentDate': {'at': True}}
        with pymongo.timeout(PATIENCE):
            self._notes().update_one({'_id': name}, note, upsert=True)
        self._ours.add(bytes(name))
        return time.monotonic(), session

    def _end(self, names: Sequence[Mapping[str, Any]]) -> bool:
        try:
            with pymongo.timeout(PATIENCE):
                self._client.admin.command('killSessions', [*names])
        except ServerSelectionTimeoutError:
            # Who asks next would wait for nobody once more.
            raise
        except PyMongoError:
            return False
        return True

    def _names(self) -> list[Any]:
        return [Binary(name, UUID_SUBTYPE) for name in self._ours]

# SPDX-License-Identifier: Apache-2.0
"""A MongoDB deployment as the stores see it: steps, each within its time.

A *step* is one command, or one transaction. It is tried again while its time
lasts when the connection broke or the primary moved; hence all steps are
idempotent, or are made so by their callers.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import random
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, TypeVar

import pymongo
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import (
    AutoReconnect,
    ConnectionFailure,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
)
from pymongo.errors import (
    ConfigurationError as WrongSetting,
)
from pymongo.read_concern import ReadConcern

from zaqar.errors import ConfigurationError, StoreUnavailable
from zaqar.storage.mongodb.connecting import CODEC, Settings
from zaqar.storage.mongodb.layout import Document
from zaqar.storage.mongodb.sessions import Sessions

LOG = logging.getLogger(__name__)

T = TypeVar('T')

Documents = Collection[Document]

#: Seconds within which a step succeeds or its caller knows.
PATIENCE = 3.5

#: The same for one command. Where no primary was seen for so long, nobody
#: waits any longer: others may have waited for the thread.
TRY = 2.0

#: The patience once somebody has waited in vain and while no primary is seen:
#: long enough for the client to look again. One caller at a time waits that
#: long, and all others are told at once: they may have waited for a thread.
HURRY = 0.8

#: Seconds after which whoever locks a queue is taken for dead.
LOCKED = 1.0

#: Seconds a start waits for a server before it goes on without.
FIRST_LOOK = 2.0

#: Seconds of these in which a server must have been met.
GREETING = 1.2

#: The wire version of MongoDB 4.4.
OLDEST_WIRE = 9

#: Errors of the server that say who we are is wrong, not what we want.
_REFUSED = {13, 18, 8000}
_WRITE_CONFLICT = 112
_DUPLICATE = 11000
_TRANSIENT = 'TransientTransactionError'

#: Statements of one command, so that none takes longer than its time.
CHUNK = 250


class Database:
    """Databases of one deployment, opened for a plane.

    :param names: names of the databases; each queue is in one of them
    :param indexes: those of the collections, by name
    """

    def __init__(
        self,
        settings: Settings,
        names: Sequence[str],
        indexes: Mapping[str, Sequence[pymongo.IndexModel]],
    ) -> None:
        self._settings = settings
        self._names = names
        self._indexes = indexes
        self._client = settings.client()
        self._lock = threading.Lock()
        self._is_ready = False
        self._in_vain = False
        self._looking = threading.RLock()
        self._has_transactions = True
        self._sessions = Sessions(
            self._client, lambda: self.collection('poster')
        )
        try:
            self._get_ready(time.monotonic() + FIRST_LOOK)
        except StoreUnavailable as error:
            LOG.warning('MongoDB cannot be used yet: %s', error.__cause__)
        except BaseException:
            self.close()
            raise

    @property
    def partitions(self) -> int:
        """How many databases there are."""
        return len(self._names)

    def collection(
        self, name: str, partition: int = 0, *, committed: bool = False
    ) -> Documents:
        """Return a collection.

        :param committed: see only what no failover can take back
        """
        concern = None
        if committed and self._has_transactions:
            concern = ReadConcern('majority')
        return self._client[self._names[partition]].get_collection(
            name,
            codec_options=CODEC,
            write_concern=self._settings.write_concern,
            read_concern=concern,
        )

    def partition(self, qid: str) -> int:
        """Return the number of the database of a queue."""
        return zlib.crc32(qid.encode()) % len(self._names)

    def ping(self) -> None:
        """Return when the primary answers."""
        self.step(lambda: self._client.admin.command('ping'))

    def now(self) -> int:
        """Return the server's time in milliseconds."""
        found = self.step(
            lambda: self._client.admin.command('hello', codec_options=CODEC)
        )
        return int(found['localTime'])

    def step(self, work: Callable[[], T]) -> T:
        """Do one command.

        :raises StoreUnavailable: not within the time it has
        """

        def run(end: float, _hurries: bool) -> T:
            self._meet(end)
            return self._insist(work, end)

        return self._timed(run)

    def atomically(self, work: Callable[[ClientSession | None], T]) -> T:
        """Do a transaction; it may be tried several times.

        A server that is not replicated has none: there the commands of
        ``work`` are made one by one.

        :param work: makes each of its commands :func:`in_time`
        """

        def run(end: float, hurries: bool) -> T:
            self._meet(end)
            if not self._has_transactions:
                return self._insist(lambda: work(None), end, alone=hurries)
            return self._insist(self._attempts(work), end, alone=hurries)

        return self._timed(run)

    def _attempts(self, work: Callable[[ClientSession], T]) -> Callable[[], T]:
        """Return what tries a transaction, more thoroughly each time."""
        begun = time.monotonic()
        tries = 0

        def attempt() -> T:
            nonlocal tries
            tries += 1
            # First what earlier steps left; all again once a retry failed.
            if tries != 2:
                self._sessions.let_go(again=tries > 2)
            if tries > 2 and time.monotonic() > begun + LOCKED:
                self._sessions.clear_the_way()
            return self._transact(work)

        return attempt

    def _timed(self, run: Callable[[float, bool], T]) -> T:
        """Give a step its time.

        :param run: does it, told when it must have ended and if it hurries
        :raises StoreUnavailable: it has none, or it was not enough
        """
        if self._is_away():
            if not self._looking.acquire(blocking=False):
                raise StoreUnavailable
            try:
                return run(time.monotonic() + HURRY, True)
            except StoreUnavailable:
                if self._is_away():
                    raise
                # It has come back, too late for so little time.
            finally:
                self._looking.release()
        return run(time.monotonic() + PATIENCE, False)

    def _is_away(self) -> bool:
        """Tell whether no primary was seen since somebody waited in vain."""
        if self._client.topology_description.has_writable_server():
            self._in_vain = False
        return self._in_vain

    def _transact(self, work: Callable[[ClientSession], T]) -> T:
        with self._sessions.session() as session:
            session.start_transaction(
                read_concern=ReadConcern('snapshot'),
                write_concern=self._settings.write_concern,
            )
            found = work(session)
            with in_time():
                session.commit_transaction()
            return found

    def close(self) -> None:
        """Give back all connections."""
        self._sessions.close()
        self._client.close()
        self._settings.close()

    def _insist(
        self, work: Callable[[], T], end: float, *, alone: bool = True
    ) -> T:
        """Do something until it succeeds or its time is over.

        :param alone: whether it is one command, or has to hurry like one
        """
        tries = 0
        while True:
            left = min(TRY, max(end - time.monotonic(), 0.05))
            try:
                # Of several commands each has its time, at the first try.
                bounded = alone or tries
                with pymongo.timeout(left) if bounded else nullcontext():
                    return work()
            except PyMongoError as error:
                tries += 1
                pause = random.uniform(0.5, 1) * min(0.1, 0.002 * 2**tries)
                late = time.monotonic() + pause >= end
                if late or _is_alone(error) or not _is_passing(error):
                    found = _translated(error)
                    if isinstance(found, StoreUnavailable):
                        self._in_vain = True
                    raise found from error
                time.sleep(pause)

    def _meet(self, end: float) -> None:
        """Make the first contact, if the start was in vain."""
        if self._is_ready:
            return
        try:
            self._get_ready(end)
        except ConfigurationError as error:
            # The service has started; it goes on trying.
            LOG.error('MongoDB cannot be used: %s', error)
            raise StoreUnavailable from None

    def _get_ready(self, end: float) -> None:
        """Check the server and make the indexes.

        :raises ConfigurationError: it is of no use
        """
        soon = min(end, time.monotonic() + GREETING)
        hello = self._checked(self._hello, soon)
        if not self._lock.acquire(timeout=max(0, end - time.monotonic())):
            raise StoreUnavailable
        try:
            if not self._is_ready:
                unreliable = self._settings.unreliable
                self._has_transactions = check(hello, unreliable)
                self._make_indexes(end)
                self._is_ready = True
        finally:
            self._lock.release()

    def _hello(self) -> Mapping[str, Any]:
        return self._client.admin.command('hello')

    def _make_indexes(self, end: float) -> None:
        for partition in range(len(self._names)):
            for name, models in self._indexes.items():
                documents = self.collection(name, partition)
                self._checked(
                    functools.partial(documents.create_indexes, [*models]),
                    end,
                )

    def _checked(self, work: Callable[[], T], end: float) -> T:
        """Do a command; what says that we are wrong is no outage."""
        try:
            return self._insist(work, end)
        except WrongSetting as error:
            # "Server at ... reports wire version ..."
            raise ConfigurationError(_told(error)) from None
        except StoreUnavailable as error:
            cause = error.__cause__
            if _is_refusal(cause) or self._is_another_set(cause):
                raise ConfigurationError(_told(cause)) from None
            raise

    def _is_another_set(self, error: BaseException | None) -> bool:
        """Tell whether the servers are of another set than the URI says."""
        seen = self._client.topology_description.server_descriptions()
        return 'for replica set name' in str(error) or any(
            isinstance(server.error, WrongSetting) for server in seen.values()
        )


def in_time() -> contextlib.AbstractContextManager[None]:
    """Bound the time of a command within a transaction."""
    return pymongo.timeout(TRY)


def check(hello: Mapping[str, Any], unreliable: bool) -> bool:
    """Check what a server says of itself.

    :returns: whether it has transactions
    :raises ConfigurationError: it is too old, or may lose messages
    """
    if hello.get('maxWireVersion', 0) < OLDEST_WIRE:
        raise ConfigurationError('the server is too old; 4.4 is the oldest')
    if hello.get('msg') == 'isdbgrid':
        return True
    members = [*hello.get('hosts', ()), *hello.get('passives', ())]
    if len(members) < 2 and not unreliable:
        kind = 'a replica set of one' if members else 'not replicated'
        raise ConfigurationError(
            f'the server is {kind} and may lose messages; use a replica set '
            'of three, or set [DEFAULT] unreliable'
        )
    return 'setName' in hello


def is_duplicate(error: PyMongoError) -> bool:
    """Tell whether a write met a key that is taken."""
    return _has_code(error, _DUPLICATE)


def _has_code(error: PyMongoError, code: int) -> bool:
    if isinstance(error, OperationFailure) and error.code == code:
        return True
    details = getattr(error, 'details', None) or {}
    return any(
        item.get('code') == code for item in details.get('writeErrors', ())
    )


def _is_alone(error: PyMongoError) -> bool:
    """Tell whether a command had nobody to go to for all of its time."""
    return isinstance(error, ServerSelectionTimeoutError)


def _is_passing(error: PyMongoError) -> bool:
    """Tell whether another try may succeed."""
    if isinstance(error, AutoReconnect):
        return True
    if error.has_error_label(_TRANSIENT) or error.has_error_label(
        'RetryableWriteError'
    ):
        return True
    return _has_code(error, _WRITE_CONFLICT)


def _translated(error: PyMongoError) -> BaseException:
    """Return what the callers of a store are told."""
    if (
        error.timeout
        or _is_passing(error)
        or _is_refusal(error)
        or isinstance(error, (ConnectionFailure, WriteConcernError))
        or _has_concern_errors(error)
    ):
        return StoreUnavailable()
    return error


def _has_concern_errors(error: PyMongoError) -> bool:
    details = getattr(error, 'details', None) or {}
    return bool(details.get('writeConcernErrors'))


def _is_refusal(error: BaseException | None) -> bool:
    return isinstance(error, OperationFailure) and error.code in _REFUSED


def _told(error: BaseException | None) -> str:
    text = str(error).split(', full error')[0].split(', Timeout:')[0]
    return f'the server is of no use: {" ".join(text.split())}'

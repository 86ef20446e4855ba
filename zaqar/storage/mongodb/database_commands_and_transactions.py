# SPDX-License-Identifier: Apache-2.0
"""Commands and transactions on a deployment, with retries and deadlines.

A *step* is one command or one transaction. It is retried until its deadline
when the connection breaks or the primary moves; hence all steps are
idempotent, or made so by their callers.
"""

import contextlib
import functools
import logging
import random
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import pymongo
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import ConfigurationError as WrongSetting
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.write_concern import WriteConcern

from zaqar import request_deadline
from zaqar.errors import ConfigurationError, StoreUnavailable
from zaqar.storage.mongodb import error_classification, server_check
from zaqar.storage.mongodb.client_settings import (
    CODEC,
    ClientSettings,
    check_name,
)
from zaqar.storage.mongodb.document_layout import Document
from zaqar.storage.mongodb.sessions_and_abandoned_transactions import (
    TransactionSessions,
)

LOG = logging.getLogger(__name__)

P = ParamSpec('P')
T = TypeVar('T')

Documents = Collection[Document]

#: Seconds within which a step succeeds or fails.
STEP_TIMEOUT = 3.5

#: The same for one command. Without a primary for so long, a step fails at
#: once: other calls may wait for its thread.
COMMAND_TIMEOUT = 2.0

#: The time-out of a step once one has timed out and while there is no primary:
#: long enough for the client to discover one. One caller at a time waits that
#: long; all others fail at once, to keep threads free.
OUTAGE_TIMEOUT = 0.8

#: Seconds after which the process that locks a queue is presumed dead.
LOCK_TIMEOUT = 1.0

#: Seconds a start waits for a server before it goes on without.
STARTUP_TIMEOUT = 2.0

#: Seconds of these in which a server must have answered.
HELLO_TIMEOUT = 1.2

#: Statements of one command, so that it ends within its time-out.
CHUNK = 250


class MongoDatabase:
    """The databases of one store.

    :param names: of the databases; each queue is in one of them
    :param indexes: those of the collections, by name
    """

    def __init__(
        self,
        settings: ClientSettings,
        names: Sequence[str],
        indexes: Mapping[str, Sequence[pymongo.IndexModel]],
    ) -> None:
        for name in names:
            check_name(name)
        self._settings = settings
        self._names = names
        self._indexes = indexes
        self._client = settings.client()
        self._lock = threading.Lock()
        self._is_ready = False
        self._is_down = False
        self._outage_lock = threading.RLock()
        self._has_transactions = True
        self._sessions = TransactionSessions(self._client, self.collection)
        try:
            self._get_ready(time.monotonic() + STARTUP_TIMEOUT)
        except StoreUnavailable as error:
            LOG.warning('MongoDB cannot be used yet: %s', error.__cause__)
        except BaseException:
            self.close()
            raise

    @property
    def write_concern(self) -> WriteConcern:
        """What writes wait for."""
        return self._settings.write_concern

    @property
    def has_transactions(self) -> bool:
        """Whether the server has them, as far as is known."""
        return self._has_transactions

    @property
    def partitions(self) -> int:
        """How many databases there are."""
        return len(self._names)

    def collection(
        self, name: str, partition: int = 0, *, committed: bool = False
    ) -> Documents:
        """Return a collection.

        :param committed: read only what no failover can undo
        """
        is_majority = committed and self._has_transactions
        # The URI must not choose: calls rely on what was just written.
        return self._client[self._names[partition]].get_collection(
            name,
            codec_options=CODEC,
            write_concern=self._settings.write_concern,
            read_concern=ReadConcern('majority' if is_majority else None),
            read_preference=ReadPreference.PRIMARY,
        )

    def partition(self, qid: str) -> int:
        """Return the number of the database of a queue."""
        return zlib.crc32(qid.encode()) % len(self._names)

    def ping(self) -> None:
        """Return when the primary answers."""
        self.step(self._client.admin.command, 'ping')

    def now(self) -> int:
        """Return the server's time in milliseconds."""
        return int(self.hello()['localTime'])

    def hello(self) -> Mapping[str, Any]:
        """Return what the server says of itself."""
        command = self._client.admin.command
        hello: Mapping[str, Any] = self.step(
            command, 'hello', codec_options=CODEC
        )
        return hello

    def step(
        self, command: Callable[P, T], *args: P.args, **options: P.kwargs
    ) -> T:
        """Run one command.

        :raises StoreUnavailable: it did not succeed within its time-out
        """

        def run(end: float, _is_outage: bool) -> T:
            self._ensure_ready(end)
            return self._retry(lambda: command(*args, **options), end)

        return self._timed(run)

    def find(
        self, source: Documents, where: Document, *args: Any, **options: Any
    ) -> list[Document]:
        """Return all documents of a query; its options are the library's."""
        # With another cursor for each try.
        return self.step(lambda: list(source.find(where, *args, **options)))

    def atomically(self, work: Callable[[ClientSession | None], T]) -> T:
        """Run a transaction, several times if need be.

        A server that is not replicated has none: there the commands of
        ``work`` run one by one.

        :param work: runs each of its commands :func:`in_time`
        """

        def run(end: float, is_outage: bool) -> T:
            self._ensure_ready(end)
            if not self._has_transactions:
                return self._retry(lambda: work(None), end, bounded=is_outage)
            return self._retry(self._attempts(work), end, bounded=is_outage)

        return self._timed(run)

    def _attempts(self, work: Callable[[ClientSession], T]) -> Callable[[], T]:
        """Return a function that tries a transaction.

        Each time it does more to end those that block it.
        """
        start = time.monotonic()
        tries = 0

        def attempt() -> T:
            nonlocal tries
            tries += 1
            # First those of earlier steps; all again once a retry failed.
            if tries != 2:
                self._sessions.end_unresolved(again=tries > 2)
            if tries > 2 and time.monotonic() > start + LOCK_TIMEOUT:
                self._sessions.kill_foreign_transactions()
            return self._transact(work)

        return attempt

    def _timed(self, run: Callable[[float, bool], T]) -> T:
        """Run a step with a deadline.

        :param run: takes the deadline, and whether there is an outage
        :raises StoreUnavailable: it failed, or another caller waits already
        """
        if not request_deadline.left(STEP_TIMEOUT):
            # Even a wait of nothing takes the client half a second.
            raise StoreUnavailable
        if self._has_no_primary():
            if not self._outage_lock.acquire(blocking=False):
                raise StoreUnavailable
            try:
                return run(_end_after(OUTAGE_TIMEOUT), True)
            except StoreUnavailable:
                if self._has_no_primary():
                    raise
                # There is a primary again; try with the full time-out.
            finally:
                self._outage_lock.release()
        return run(_end_after(STEP_TIMEOUT), False)

    def _has_no_primary(self) -> bool:
        """Tell whether a step has timed out, and no primary was seen since."""
        if self._client.topology_description.has_writable_server():
            self._is_down = False
        return self._is_down

    def _transact(self, work: Callable[[ClientSession], T]) -> T:
        with self._sessions.session() as session:
            session.start_transaction(
                read_concern=ReadConcern('snapshot'),
                write_concern=self._settings.write_concern,
                read_preference=ReadPreference.PRIMARY,
            )
            result = work(session)
            with in_time():
                session.commit_transaction()
            return result

    def close(self) -> None:
        self._sessions.close()
        self._client.close()
        self._settings.close()

    def _retry(
        self, work: Callable[[], T], end: float, *, bounded: bool = True
    ) -> T:
        """Run work until it succeeds or its deadline has passed.

        :param bounded: limit the first try, too, to the time of one command
        """
        tries = 0
        # In less than that the client may not even discover a primary.
        is_cut = end - time.monotonic() < OUTAGE_TIMEOUT
        while True:
            left = max(end - time.monotonic(), 0.05)
            try:
                # Each command of a transaction has its own limit, too.
                is_limited = bounded or tries
                with pymongo.timeout(
                    min(COMMAND_TIMEOUT, left) if is_limited else left
                ):
                    return work()
            except PyMongoError as error:
                tries += 1
                pause = random.uniform(0.5, 1) * min(0.1, 0.002 * 2**tries)
                late = time.monotonic() + pause >= end
                is_final = error_classification.is_unreachable(error)
                if (
                    late
                    or is_final
                    or not error_classification.is_transient(error)
                ):
                    translated = error_classification.translate(error)
                    is_silence = isinstance(translated, StoreUnavailable)
                    if is_silence and not is_cut:
                        self._is_down = True
                    raise translated from error
                time.sleep(pause)

    def _ensure_ready(self, end: float) -> None:
        """Check the server now if it was unreachable at the start."""
        if self._is_ready:
            return
        try:
            self._get_ready(end)
        except ConfigurationError as error:
            # The service has started; it keeps trying.
            LOG.error('MongoDB cannot be used: %s', error)
            raise StoreUnavailable from None

    def _get_ready(self, end: float) -> None:
        """Check the server and create the indexes."""
        hello_end = min(end, time.monotonic() + HELLO_TIMEOUT)
        hello = self._checked(self._hello, hello_end)
        if not self._lock.acquire(timeout=max(0, end - time.monotonic())):
            raise StoreUnavailable
        try:
            if not self._is_ready:
                unreliable = self._settings.unreliable
                self._has_transactions = server_check.check(hello, unreliable)
                self._create_indexes(end)
                self._is_ready = True
        finally:
            self._lock.release()

    def _hello(self) -> Mapping[str, Any]:
        try:
            return self._client.admin.command('hello')
        except OperationFailure as error:
            if error_classification.is_unknown_command(error):
                raise ConfigurationError(server_check.TOO_OLD) from None
            raise

    def _create_indexes(self, end: float) -> None:
        for partition in range(len(self._names)):
            for name, models in self._indexes.items():
                documents = self.collection(name, partition)
                self._checked(
                    functools.partial(documents.create_indexes, [*models]), end
                )

    def _checked(self, work: Callable[[], T], end: float) -> T:
        """Run a command; tell wrong settings from an outage."""
        try:
            return self._retry(work, end)
        except WrongSetting as error:
            # "Server at ... reports wire version ..."
            raise ConfigurationError(
                error_classification.startup_error(error)
            ) from None
        except StoreUnavailable as error:
            cause = error.__cause__
            if error_classification.is_refusal(cause) or self._is_other_set(
                cause
            ):
                raise ConfigurationError(
                    error_classification.startup_error(cause)
                ) from None
            raise

    def _is_other_set(self, error: BaseException | None) -> bool:
        """Tell whether the servers belong to another replica set."""
        servers = self._client.topology_description.server_descriptions()
        return 'for replica set name' in str(error) or any(
            isinstance(server.error, WrongSetting)
            for server in servers.values()
        )


def _end_after(seconds: float) -> float:
    return request_deadline.cap(time.monotonic() + seconds)


def in_time() -> contextlib.AbstractContextManager[None]:
    """Limit the time of a command within a transaction."""
    return pymongo.timeout(COMMAND_TIMEOUT)

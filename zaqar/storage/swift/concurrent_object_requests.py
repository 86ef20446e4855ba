# SPDX-License-Identifier: Apache-2.0
"""A client of Swift: puts, gets, prolongs and deletes many objects at once."""

import concurrent.futures
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

from keystoneauth1 import exceptions
from swiftclient import client as swift

from zaqar import request_deadline
from zaqar.errors import ConfigurationError, StoreUnavailable, one_line
from zaqar.storage.swift.connections import (
    FAILURES,
    MissingError,
    SwiftConnections,
)

LOG = logging.getLogger(__name__)

T = TypeVar('T')
U = TypeVar('U')

#: Seconds for which :attr:`SwiftClient.has_failed` is true after a failure.
FAILURE_PERIOD = 60.0

#: Seconds of silence that tell of Swift, and not only of a request that came
#: late.
FAIR_WAIT = 1.0

#: Queued deletions, at most; objects of further ones expire.
MAX_BACKLOG = 2000

#: Names of one listing.
_PAGE = 1000


class SwiftClient:
    """Stores objects in an account, many at once.

    :param connections: one for each thread
    :param size: concurrent requests, at most
    """

    def __init__(self, connections: SwiftConnections, size: int) -> None:
        self._connections = connections
        self._timeout = connections.timeout
        self._failed_until = 0.0
        self._closed = False
        self._pool = concurrent.futures.ThreadPoolExecutor(size, 'swift')
        # Deletions, which must not delay other requests.
        self._deletions = concurrent.futures.ThreadPoolExecutor(
            4, 'swift-delete'
        )
        self._backlog = threading.BoundedSemaphore(MAX_BACKLOG)

    def check(self) -> None:
        """Refuse an account that answers but cannot be used."""
        try:
            head = self._pool.submit(
                self._connections.request, swift.head_account
            )
            head.result(self._timeout)
        except (exceptions.Unauthorized, exceptions.NotFound) as error:
            raise ConfigurationError(f'no token: {one_line(error)}') from None
        except exceptions.CatalogException as error:
            raise ConfigurationError(
                f'there is no object store: {one_line(error)}'
            ) from None
        except (swift.ClientException, *FAILURES) as error:
            if getattr(error, 'http_status', 0) in (401, 403):
                raise ConfigurationError(
                    f'Swift refuses the account: {one_line(error)}'
                ) from None
            LOG.warning('Swift does not answer yet: %s', one_line(error))
        except (MissingError, concurrent.futures.TimeoutError) as error:
            LOG.warning('Swift does not answer yet: %s', one_line(error))

    def ping(self) -> None:
        self._each(self._connections.request, [swift.head_account])

    @property
    def has_failed(self) -> bool:
        """Whether a call failed lately, wholly or in part."""
        return time.monotonic() < self._failed_until

    def put(self, objects: Mapping[str, tuple[bytes, int]]) -> None:
        """Store objects.

        :param objects: content and seconds of life by ``<queue>/<name>``
        :raises StoreUnavailable: some may be stored
        """
        self._each(self._put, list(objects.items()))

    def get(self, paths: Sequence[str]) -> Sequence[bytes | None]:
        """Return the contents of objects, None for each that is missing."""
        return self._each(self._get, paths)

    def prolong(self, lives: Mapping[str, int]) -> None:
        """Let objects live so many seconds from now; ignore missing ones."""
        self._each(self._prolong, list(lives.items()))

    def delete_later(self, paths: Sequence[str]) -> None:
        """Delete objects in the background; those left expire anyway."""
        for path in paths:
            self._submit_deletion(partial(self._delete, path))

    def delete_all_later(self, queue: str) -> None:
        """Delete all objects of a queue; see :meth:`delete_later`."""
        self._submit_deletion(lambda: self._delete_all(queue))

    def close(self) -> None:
        self._closed = True
        self._deletions.shutdown(cancel_futures=True)
        self._pool.shutdown(cancel_futures=True)
        self._connections.close()

    def _each(self, work: Callable[[T], U], items: Sequence[T]) -> list[U]:
        """Run work for all items at once."""
        if not items:
            return []
        limit = request_deadline.left(self._timeout)
        if not limit:
            raise StoreUnavailable
        futures = [self._pool.submit(work, item) for item in items]
        concurrent.futures.wait(
            futures,
            timeout=limit,
            return_when=concurrent.futures.FIRST_EXCEPTION,
        )
        try:
            return [future.result(0) for future in futures]
        except (
            MissingError,
            swift.ClientException,
            concurrent.futures.TimeoutError,
            concurrent.futures.CancelledError,
            *FAILURES,
        ) as error:
            for future in futures:
                future.cancel()
            is_cut = isinstance(
                error, concurrent.futures.TimeoutError
            ) and limit < min(FAIR_WAIT, self._timeout)
            if not is_cut:
                self._failed_until = time.monotonic() + FAILURE_PERIOD
            LOG.error('Swift does not answer: %s', one_line(error))
            raise StoreUnavailable from error

    def _submit_deletion(self, work: Callable[[], None]) -> None:
        if not self._backlog.acquire(blocking=False):
            return

        def run() -> None:
            try:
                work()
            except (MissingError, swift.ClientException, *FAILURES) as error:
                LOG.debug('Left to expire: %s', one_line(error))
            finally:
                self._backlog.release()

        try:
            self._deletions.submit(run)
        except RuntimeError:
            # Closed meanwhile.
            self._backlog.release()

    def _put(self, item: tuple[str, tuple[bytes, int]]) -> None:
        path, (content, life) = item
        put = partial(
            self._connections.request,
            swift.put_object,
            contents=content,
            content_type='application/octet-stream',
            headers={'X-Delete-After': str(life)},
            **_object(path),
        )
        try:
            put()
        except MissingError:
            self._connections.request(
                swift.put_container, container=_container(path)
            )
            put()

    def _get(self, path: str) -> bytes | None:
        # The replica that answers first may have missed the write.
        for headers in ({}, {'X-Newest': 'true'}):
            with suppress(MissingError):
                _, content = self._connections.request(
                    swift.get_object, headers=headers, **_object(path)
                )
                return bytes(content)
        return None

    def _prolong(self, item: tuple[str, int]) -> None:
        path, life = item
        # The next read of a missing one reports it.
        with suppress(MissingError):
            self._connections.request(
                swift.post_object,
                headers={'X-Delete-After': str(life)},
                **_object(path),
            )

    def _delete(self, path: str) -> None:
        # It may have expired, or the listing may be late.
        with suppress(MissingError):
            self._connections.request(swift.delete_object, **_object(path))

    def _delete_all(self, queue: str) -> None:
        container, marker = _container(queue), ''
        while True:
            _, entries = self._connections.request(
                swift.get_container,
                container=container,
                prefix=f'{queue}/',
                marker=marker,
                limit=_PAGE,
            )
            names = [str(entry['name']) for entry in entries]
            for name in names:
                if self._closed:
                    return
                self._delete(name)
            if not names:
                return
            marker = names[-1]


def _container(queue: str) -> str:
    # One container for all would be a hot spot, one for each queue too many.
    return f'zaqar_bodies_{queue[:1]}'


def _object(path: str) -> dict[str, str]:
    return {'container': _container(path), 'name': path}

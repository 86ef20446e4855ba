# SPDX-License-Identifier: Apache-2.0
"""An account of Swift: objects put, got, prolonged and deleted, many at once.

Each thread of a bounded pool keeps one connection. All requests may be
repeated, so one that meets a dead connection or a passing failure is; none
goes on for longer than :data:`DEADLINE`.
"""

from __future__ import annotations

import concurrent.futures
import gc
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import requests
import urllib3
from keystoneauth1 import exceptions
from keystoneauth1.session import Session
from swiftclient import client as swift

from zaqar.errors import ConfigurationError, StoreUnavailable

LOG = logging.getLogger(__name__)

# It logs whole bodies at these levels.
logging.getLogger('swiftclient').setLevel(logging.WARNING)

T = TypeVar('T')
U = TypeVar('U')

#: Seconds after which callers know.
DEADLINE = 4.0

#: Seconds for a connection, and between two bytes of an answer.
TIMEOUTS = (1.0, 3.0)

#: Pauses before the tries of a request, in seconds.
PAUSES = (0.0, 0.0, 0.2)

#: Seconds for which a failure is remembered.
MEMORY = 60.0

#: Deletions that may wait; what is beyond expires by itself.
BACKLOG = 2000

#: Names of one listing.
_PAGE = 1000

_FAILURES = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    exceptions.ClientException,
    OSError,
)


class MissingError(Exception):
    """There is no such object or container."""


class Account:
    """An account, through its proxy servers.

    :param session: knows how to get a token
    :param endpoint: what to ask the session's catalogue for
    :param connections: requests under way at once, at most
    """

    def __init__(
        self,
        session: Session,
        endpoint: Mapping[str, Any],
        *,
        insecure: bool,
        connections: int,
        patience: float = DEADLINE,
    ) -> None:
        self._session = session
        self._endpoint: Mapping[str, Any] = {
            'service_type': 'object-store',
            **endpoint,
        }
        self._insecure = insecure
        self._patience = patience
        self._own = threading.local()
        self._open: set[swift.HTTPConnection] = set()
        self._lock = threading.Lock()
        self._failed_until = 0.0
        self._closed = False
        self._pool = concurrent.futures.ThreadPoolExecutor(
            connections, 'swift'
        )
        # Nobody waits for these, and they must not make others wait.
        self._tidy = concurrent.futures.ThreadPoolExecutor(4, 'swift-tidy')
        self._backlog = threading.BoundedSemaphore(BACKLOG)

    def check(self) -> None:
        """Complain about an account that answers but cannot be used.

        :raises ConfigurationError: it refuses us, or there is none
        """
        try:
            self._pool.submit(self._try, _head).result(self._patience)
        except (exceptions.Unauthorized, exceptions.NotFound) as error:
            raise ConfigurationError(f'no token: {_line(error)}') from None
        except exceptions.CatalogException as error:
            raise ConfigurationError(
                f'there is no object store: {_line(error)}'
            ) from None
        except (swift.ClientException, *_FAILURES) as error:
            if getattr(error, 'http_status', 0) in (401, 403):
                raise ConfigurationError(
                    f'Swift refuses the account: {_line(error)}'
                ) from None
            LOG.warning('Swift does not answer yet: %s', _line(error))
        except (MissingError, concurrent.futures.TimeoutError) as error:
            LOG.warning('Swift does not answer yet: %s', _line(error))

    def ping(self) -> None:
        """Return when Swift answers.

        :raises StoreUnavailable: it does not
        """
        self._each(lambda _: self._try(_head), [None])

    @property
    def has_failed(self) -> bool:
        """Whether it did so lately, wholly or in part."""
        return time.monotonic() < self._failed_until

    def put(self, objects: Mapping[str, tuple[bytes, int]]) -> None:
        """Store objects.

        :param objects: content and seconds of life by ``<queue>/<name>``
        :raises StoreUnavailable: some may be stored
        """
        self._each(self._put, list(objects.items()))

    def get(self, paths: Sequence[str]) -> Sequence[bytes | None]:
        """Return the contents of objects, None for each that is missing.

        :raises StoreUnavailable: no answer
        """
        return self._each(self._get, paths)

    def prolong(self, lives: Mapping[str, int]) -> None:
        """Let objects live for so many seconds from now; pass over missing.

        :raises StoreUnavailable: no answer
        """
        self._each(self._prolong, list(lives.items()))

    def forget(self, paths: Sequence[str]) -> None:
        """Delete objects in a while, if possible. They expire anyway."""
        for path in paths:
            self._later(partial(self._delete, path))

    def forget_all(self, queue: str) -> None:
        """Delete all objects of a queue in a while, as :meth:`forget`."""
        self._later(lambda: self._delete_all(queue))

    def close(self) -> None:
        """Give back all connections."""
        self._closed = True
        self._tidy.shutdown(cancel_futures=True)
        self._pool.shutdown(cancel_futures=True)
        with self._lock:
            for http in self._open:
                _close(http)
            self._open.clear()
        # It has connections of its own.
        self._session.session.close()
        # The client's answers refer to themselves, and keep sockets open.
        gc.collect()

    def _each(self, work: Callable[[T], U], items: Sequence[T]) -> list[U]:
        """Do the same for all items at once.

        :raises StoreUnavailable: for one it failed, or it takes too long
        """
        if not items:
            return []
        futures = [self._pool.submit(work, item) for item in items]
        concurrent.futures.wait(
            futures,
            timeout=self._patience,
            return_when=concurrent.futures.FIRST_EXCEPTION,
        )
        try:
            return [future.result(0) for future in futures]
        except (
            MissingError,
            swift.ClientException,
            concurrent.futures.TimeoutError,
            concurrent.futures.CancelledError,
            *_FAILURES,
        ) as error:
            for future in futures:
                future.cancel()
            self._failed_until = time.monotonic() + MEMORY
            LOG.error('Swift does not answer: %s', _line(error))
            raise StoreUnavailable from error

    def _later(self, work: Callable[[], None]) -> None:
        if not self._backlog.acquire(blocking=False):
            return

        def run() -> None:
            try:
                work()
            except (MissingError, swift.ClientException, *_FAILURES) as error:
                LOG.debug('Left to expire: %s', _line(error))
            finally:
                self._backlog.release()

        try:
            self._tidy.submit(run)
        except RuntimeError:
            # Closed meanwhile.
            self._backlog.release()

    def _put(self, item: tuple[str, tuple[bytes, int]]) -> None:
        path, (content, life) = item
        request = _object(path)
        headers = {'X-Delete-After': str(life)}

        def put(**connection: Any) -> None:
            swift.put_object(
                contents=content,
                content_type='application/octet-stream',
                headers=headers,
                **request,
                **connection,
            )

        try:
            self._try(put)
        except MissingError:
            container = request['container']
            self._try(
                lambda **connection: swift.put_container(
                    container=container, **connection
                )
            )
            self._try(put)

    def _get(self, path: str) -> bytes | None:
        request = _object(path)

        def get(newest: bool) -> bytes:
            def run(**connection: Any) -> bytes:
                headers = {'X-Newest': 'true'} if newest else {}
                found = swift.get_object(
                    headers=headers, **request, **connection
                )
                return bytes(found[1])

            return self._try(run)

        try:
            return get(newest=False)
        except MissingError:
            pass
        try:
            # The replica that answered may be the one that missed the write.
            return get(newest=True)
        except MissingError:
            return None

    def _prolong(self, item: tuple[str, int]) -> None:
        path, life = item
        # Whoever reads a missing one next says so.
        with suppress(MissingError):
            self._try(
                lambda **connection: swift.post_object(
                    headers={'X-Delete-After': str(life)},
                    **_object(path),
                    **connection,
                )
            )

    def _delete(self, path: str) -> None:
        # It may have expired, or the listing may be late.
        with suppress(MissingError):
            self._try(
                lambda **connection: swift.delete_object(
                    **_object(path), **connection
                )
            )

    def _delete_all(self, queue: str) -> None:
        container, marker = _container(queue), ''
        while True:
            found = self._try(
                lambda marker=marker, **connection: swift.get_container(
                    container=container,
                    prefix=f'{queue}/',
                    marker=marker,
                    limit=_PAGE,
                    **connection,
                )
            )
            names = [str(entry['name']) for entry in found[1]]
            for name in names:
                if self._closed:
                    return
                self._delete(name)
            if not names:
                return
            marker = names[-1]

    def _try(self, work: Callable[..., T]) -> T:
        """Send a request, again if it fails in a way that may pass.

        :raises MissingError: the answer is 404
        """
        end = time.monotonic() + self._patience
        for pause in PAUSES:
            if pause:
                time.sleep(pause)
            try:
                return work(**self._connection())
            except swift.ClientException as error:
                last: Exception = error
                if error.http_status == 404:
                    raise MissingError(str(error)) from None
                if error.http_status == 401:
                    self._session.invalidate()
                elif error.http_status < 500:
                    break
            except (exceptions.HttpError, exceptions.CatalogException):
                raise
            except _FAILURES as error:
                last = error
                self._drop_connection()
            if time.monotonic() + TIMEOUTS[0] > end:
                break
        raise last

    def _connection(self) -> dict[str, Any]:
        token = self._session.get_token()
        url = self._session.get_endpoint(**self._endpoint)
        if url is None:
            raise exceptions.EndpointNotFound
        own = self._own
        if getattr(own, 'url', None) != url:
            self._drop_connection()
            own.http = swift.HTTPConnection(
                url, insecure=self._insecure, timeout=TIMEOUTS
            )
            own.url = url
            with self._lock:
                self._open.add(own.http)
        return {
            'url': url,
            'token': token,
            'http_conn': (own.http.parsed_url, own.http),
        }

    def _drop_connection(self) -> None:
        http = getattr(self._own, 'http', None)
        if http is not None:
            with self._lock:
                self._open.discard(http)
            _close(http)
            self._own.http = self._own.url = None


def _close(http: swift.HTTPConnection) -> None:
    http.close()
    http.resp = None


def _container(queue: str) -> str:
    # One container for all would be a hot spot, one for each queue a litter.
    return f'zaqar_bodies_{queue[:1]}'


def _object(path: str) -> dict[str, str]:
    return {'container': _container(path), 'name': path}


def _head(**connection: Any) -> None:
    swift.head_account(**connection)


def _line(error: BaseException) -> str:
    return ' '.join(str(error).split()) or type(error).__name__

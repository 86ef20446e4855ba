# SPDX-License-Identifier: Apache-2.0
"""Connections to Swift, one for each thread, with retries.

All requests are idempotent: those that meet a broken connection or a transient
failure are repeated, but no longer than :data:`DEADLINE`.
"""

import gc
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import requests
import urllib3
from keystoneauth1 import exceptions
from keystoneauth1.session import Session
from swiftclient import client as swift

# It logs whole bodies at lower levels.
logging.getLogger('swiftclient').setLevel(logging.WARNING)

T = TypeVar('T')

#: Seconds after which a call ends.
DEADLINE = 4.0

#: Seconds for a connection, and between two bytes of an answer.
TIMEOUTS = (1.0, 3.0)

#: Pauses before the tries of a request, in seconds.
PAUSES = (0.0, 0.0, 0.2)

FAILURES = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    exceptions.ClientException,
    OSError,
)


class MissingError(Exception):
    """There is no such object or container."""


class SwiftConnections:
    """Connections to the proxy servers of an account.

    :param session: gets the tokens
    :param endpoint: selects the endpoint in the session's catalogue
    :ivar timeout: seconds after which no further try is begun
    """

    def __init__(
        self,
        session: Session,
        endpoint: Mapping[str, Any],
        *,
        insecure: bool,
        timeout: float = DEADLINE,
    ) -> None:
        self._session = session
        self._endpoint: Mapping[str, Any] = {
            'service_type': 'object-store',
            **endpoint,
        }
        self._insecure = insecure
        self.timeout = timeout
        self._own = threading.local()
        self._open: set[swift.HTTPConnection] = set()
        self._lock = threading.Lock()

    def close(self) -> None:
        with self._lock:
            for http in self._open:
                _close(http)
            self._open.clear()
        # It has connections of its own.
        self._session.session.close()
        # The client's responses refer to themselves, and keep sockets open.
        gc.collect()

    def request(self, send: Callable[..., T], **arguments: Any) -> T:
        """Send a request on the thread's connection, with retries.

        :param send: a function of the client library
        :raises MissingError: the answer is 404
        """
        end = time.monotonic() + self.timeout
        for pause in PAUSES:
            if pause:
                time.sleep(pause)
            try:
                return send(**arguments, **self._arguments())
            except swift.ClientException as error:
                failure: Exception = error
                if error.http_status == 404:
                    raise MissingError(str(error)) from None
                if error.http_status == 401:
                    self._session.invalidate()
                elif error.http_status < 500:
                    break
            except (exceptions.HttpError, exceptions.CatalogException):
                raise
            except FAILURES as error:
                failure = error
                self._drop_connection()
            if time.monotonic() + TIMEOUTS[0] > end:
                break
        raise failure

    def _arguments(self) -> dict[str, Any]:
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

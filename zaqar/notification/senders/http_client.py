# SPDX-License-Identifier: Apache-2.0
"""HTTP client for receivers that are not trusted with time or memory.

It is urllib3 with connections that check the address they are made to. A
deadline ends an attempt whatever it waits for, and little of a response is
read. Redirects are not followed, since their targets are not checked.
"""

import functools
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from zaqar.notification.senders import attempt_deadlines
from zaqar.notification.senders.strict_http_response import (
    FinalResponse,
    MalformedResponse,
)
from zaqar.notification.webhook_address_guard import (
    AddressRefused,
    Guard,
    is_public,
    port_of,
)

#: Maximum bytes of a body that are read.
MAX_READ = 16 * 1024

#: Maximum number of hosts with idle connections.
MAX_HOSTS = 256

Exempt = Callable[[str, int], bool]


class NoResponse(Exception):
    """There is no response; the text is for the user.

    It does not say whether a port is closed, filtered or speaks something
    else, so that nobody can explore the network of the operator by it.

    :ivar detail: why, for the operator
    """

    def __init__(self, reason: str, detail: str = '') -> None:
        super().__init__(reason)
        self.detail = detail


_NO_RESPONSE = 'there was no answer'


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response, with the beginning of its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class WebhookClient:
    """Sends requests to receivers.

    :param connect: seconds for connecting
    :param total: seconds for a whole request
    :param per_host: maximum number of idle connections per host
    :param is_exempt: returns whether a host and port need no public address
    :param ca_certs: file with trusted certificates, None for the system's
    """

    def __init__(
        self,
        guard: Guard,
        *,
        connect: float,
        total: float,
        per_host: int = 8,
        is_exempt: Exempt = lambda host, port: False,
        ca_certs: str | None = None,
    ) -> None:
        self._total = total
        self._timeout = urllib3.Timeout(connect=connect, read=total)
        self._watch = attempt_deadlines.DeadlineWatch()
        kinds = _guarded_pool_classes(guard, is_exempt)
        self._options = {
            'num_pools': MAX_HOSTS,
            'maxsize': per_host,
            'retries': False,
            # Created once: reading all certificates takes a while.
            'ssl_context': ssl.create_default_context(cafile=ca_certs),
        }
        self._direct = urllib3.PoolManager(**self._options)  # type: ignore[arg-type]
        self._direct.pool_classes_by_scheme = kinds
        self._guard = guard
        self._proxies: dict[str, urllib3.ProxyManager] = {}
        self._lock = threading.Lock()

    def post(
        self, url: str, headers: Mapping[str, str], body: bytes
    ) -> HttpResponse:
        """Send a POST.

        :raises NoResponse: there is no response
        :raises AddressRefused: the address or port is not allowed
        """
        manager = self._manager(url)
        if manager is not self._direct:
            self._guard.check_port(port_of(urlsplit(url)))
        timed = self._watch.enter(time.monotonic() + self._total)
        try:
            response = self._exchange(manager, url, headers, body)
        except AddressRefused:
            raise
        except Exception as error:
            if not timed.is_over:
                raise _failed(error, to_public=timed.is_public) from None
        finally:
            self._watch.leave(timed)
        if timed.is_over:
            # What was cut off may look like a short response.
            raise NoResponse(_NO_RESPONSE, f'within {self._total:g} s')
        return response

    def close(self) -> None:
        self._watch.stop()
        for manager in (self._direct, *self._proxies.values()):
            manager.clear()

    def _exchange(
        self,
        manager: urllib3.PoolManager,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
    ) -> HttpResponse:
        response = manager.urlopen(
            'POST',
            url,
            body=body,
            headers=headers,
            redirect=False,
            retries=False,
            timeout=self._timeout,
            preload_content=False,
        )
        try:
            start = response.read(MAX_READ + 1, decode_content=False) or b''
        except BaseException:
            response.close()
            raise
        if len(start) > MAX_READ:
            # The rest of a long body is not read.
            response.close()
        else:
            response.release_conn()
        return HttpResponse(
            response.status, response.headers, start[:MAX_READ]
        )

    def _manager(self, url: str) -> urllib3.PoolManager:
        """Return the connections for a URL: direct ones, or by a proxy."""
        parts = urlsplit(url)
        proxy = urllib.request.getproxies().get(parts.scheme)
        if not proxy or urllib.request.proxy_bypass(parts.netloc):
            return self._direct
        with self._lock:
            manager = self._proxies.get(proxy)
            if manager is None:
                manager = urllib3.ProxyManager(proxy, **self._options)  # type: ignore[arg-type]
                manager.pool_classes_by_scheme = _pool_classes()
                self._proxies[proxy] = manager
        return manager


class _Watched:
    """A connection that is shut down at the deadline."""

    def request(self, *arguments: Any, **options: Any) -> None:
        connection: Any = self
        if connection.sock is None:
            connection.connect()
        attempt_deadlines.watch(connection)
        parent: Any = super()
        parent.request(*arguments, **options)


class _Connection(_Watched, HTTPConnection):
    response_class = FinalResponse


class _TlsConnection(_Watched, HTTPSConnection):
    response_class = FinalResponse

    def connect(self) -> None:
        super().connect()
        attempt_deadlines.watch(self)


def _pool_classes(
    http: type[_Connection] = _Connection,
    https: type[_TlsConnection] = _TlsConnection,
) -> dict[str, Any]:
    """Return urllib3's pools with connections of these classes."""
    return {
        'http': type('P', (HTTPConnectionPool,), {'ConnectionCls': http}),
        'https': type('PS', (HTTPSConnectionPool,), {'ConnectionCls': https}),
    }


def _guarded_pool_classes(guard: Guard, is_exempt: Exempt) -> dict[str, Any]:
    """Return urllib3's pools with connections that check addresses."""

    def new_socket(connection: HTTPConnection) -> socket.socket:
        host = connection.host.strip('[]')
        port = int(connection.port)
        timeout: Any = connection.timeout
        addresses = guard.addresses(
            host, port, exempt=functools.partial(is_exempt, host, port)
        )
        last: OSError | None = None
        for address in addresses:
            # A name with many addresses gets no more time than others.
            left = attempt_deadlines.time_left()
            if left <= 0:
                raise TimeoutError
            try:
                return _connected(address, min(timeout, left))
            except OSError as error:
                last = error
        raise last or OSError

    class Http(_Connection):
        def _new_conn(self) -> socket.socket:
            return new_socket(self)

    class Https(_TlsConnection):
        def _new_conn(self) -> socket.socket:
            return new_socket(self)

    return _pool_classes(Http, Https)


def _connected(address: tuple[str, int], timeout: float) -> socket.socket:
    sock = socket.create_connection(address, timeout=timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    timed = attempt_deadlines.current()
    if timed is not None:
        timed.connected(sock, is_public=is_public(address[0]))
    return sock


def _failed(error: Exception, *, to_public: bool) -> NoResponse:
    cause: Any = error
    while isinstance(cause, urllib3.exceptions.HTTPError):
        inner = getattr(cause, 'reason', None) or cause.__cause__
        inner = inner or next(
            (one for one in cause.args if isinstance(one, Exception)), None
        )
        if not isinstance(inner, Exception) or inner is cause:
            break
        cause = inner
    if isinstance(cause, AddressRefused):
        raise cause
    if isinstance(cause, socket.gaierror):
        return NoResponse('the name of the host has no address')
    detail = f'{type(cause).__name__} {_short(cause)}'.rstrip()
    if isinstance(cause, ssl.SSLCertVerificationError) and to_public:
        # The owner of a public receiver can find this out anyway.
        return NoResponse(f'its certificate is not valid: {_short(cause)}')
    return NoResponse(_NO_RESPONSE, detail)


def _short(error: Exception) -> str:
    """Return the text of an error, without text of receivers or URLs."""
    if isinstance(error, MalformedResponse):
        return str(error)
    return ' '.join(str(getattr(error, 'strerror', None) or '').split())[:200]

# SPDX-License-Identifier: Apache-2.0
"""HTTP requests to receivers who cannot be trusted with our time or memory.

urllib3 with connections of our own: the address is judged when one is made, a
deadline ends an attempt whatever it waits for, and little of an answer is
read. Redirects are not followed: nobody has judged where they lead.
"""

from __future__ import annotations

import contextlib
import functools
import heapq
import math
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

from zaqar.notification.addresses import (
    AddressRefused,
    Guard,
    is_public,
    port_of,
)
from zaqar.notification.senders.answers import FinalAnswer, OddAnswer

#: Bytes of an answer that are read, at most.
MOST_READ = 16 * 1024

#: Hosts whose connections are kept.
HOSTS = 256

Exempt = Callable[[str, int], bool]


class CallFailed(Exception):
    """There was no answer; the text says so to the user.

    It says no more: whether a port is closed, filtered or speaks something
    else is what somebody wants to know who explores the operator's network.

    :ivar detail: why, for the operator
    """

    def __init__(self, reason: str, detail: str = '') -> None:
        super().__init__(reason)
        self.detail = detail


#: The reason that users see.
_NO_ANSWER = 'there was no answer'


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    :ivar body: its beginning
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Caller:
    """Makes requests.

    :param guard: judges addresses
    :param connect: seconds for connecting
    :param total: seconds for all
    :param per_host: connections kept per host
    :param is_exempt: tells hosts and ports that need no public address
    :param ca_certs: file with certificates to believe, None for the system's
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
        self._watch = _Watch()
        kinds = _pools(guard, is_exempt)
        self._options = {
            'num_pools': HOSTS,
            'maxsize': per_host,
            'retries': False,
            # Made once: reading all certificates takes a while.
            'ssl_context': ssl.create_default_context(cafile=ca_certs),
        }
        self._direct = urllib3.PoolManager(**self._options)  # type: ignore[arg-type]
        self._direct.pool_classes_by_scheme = kinds
        self._guard = guard
        self._proxies: dict[str, urllib3.ProxyManager] = {}
        self._lock = threading.Lock()

    def post(
        self, url: str, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        """Send a POST.

        :raises CallFailed: there is no answer
        :raises AddressRefused: it may not be sent there
        """
        manager = self._manager(url)
        if manager is not self._direct:
            self._guard.check_port(port_of(urlsplit(url)))
        deadline = time.monotonic() + self._total
        seat = self._watch.enter(deadline)
        try:
            found = self._exchange(manager, url, headers, body)
        except AddressRefused:
            raise
        except Exception as error:
            if not seat.is_over:
                raise _failed(error, to_public=seat.is_public) from None
        finally:
            self._watch.leave(seat)
        if seat.is_over:
            # What was cut off may look like a short answer.
            raise CallFailed(_NO_ANSWER, f'within {self._total:g} s')
        return found

    def close(self) -> None:
        """Give back all connections."""
        self._watch.stop()
        for manager in (self._direct, *self._proxies.values()):
            manager.clear()

    def _exchange(
        self,
        manager: urllib3.PoolManager,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
    ) -> Answer:
        answer = manager.urlopen(
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
            start = answer.read(MOST_READ + 1, decode_content=False) or b''
        except BaseException:
            answer.close()
            raise
        if len(start) > MOST_READ:
            # Who goes on and on is not listened to.
            answer.close()
        else:
            answer.release_conn()
        return Answer(answer.status, answer.headers, start[:MOST_READ])

    def _manager(self, url: str) -> urllib3.PoolManager:
        """Return the way to a URL: straight, or by a proxy."""
        parts = urlsplit(url)
        proxy = urllib.request.getproxies().get(parts.scheme)
        if not proxy or urllib.request.proxy_bypass(parts.netloc):
            return self._direct
        with self._lock:
            found = self._proxies.get(proxy)
            if found is None:
                found = urllib3.ProxyManager(proxy, **self._options)  # type: ignore[arg-type]
                found.pool_classes_by_scheme = _watched_pools()
                self._proxies[proxy] = found
        return found


@dataclass(slots=True)
class _Seat:
    """An attempt under way."""

    deadline: float
    sock: socket.socket | None = None
    own: socket.socket | None = None
    is_over: bool = False
    is_left: bool = False
    is_public: bool = False

    def take(self, sock: socket.socket) -> None:
        """Note the socket, by a handle that TLS does not take away."""
        self.own = self.sock = sock.dup()


_CURRENT = threading.local()


class _Watch:
    """Cuts the connections of attempts that take too long."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, _Seat]] = []
        self._changed = threading.Condition()
        self._ended = False
        self._thread: threading.Thread | None = None

    def enter(self, deadline: float) -> _Seat:
        """Begin an attempt in this thread."""
        seat = _Seat(deadline)
        _CURRENT.seat = seat
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name='deadlines', daemon=True
                )
                self._thread.start()
            heapq.heappush(self._heap, (deadline, id(seat), seat))
            if self._heap[0][2] is seat:
                self._changed.notify()
        return seat

    def leave(self, seat: _Seat) -> None:
        """End it."""
        seat.is_left = True
        seat.sock = None
        _CURRENT.seat = None
        if seat.own is not None:
            seat.own.close()

    def stop(self) -> None:
        """Watch no more."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while not self._ended:
                while self._heap and self._heap[0][2].is_left:
                    heapq.heappop(self._heap)
                wait = (
                    self._heap[0][0] - time.monotonic() if self._heap else None
                )
                if wait is not None and wait <= 0:
                    _cut(heapq.heappop(self._heap)[2])
                else:
                    self._changed.wait(wait)


def _cut(seat: _Seat) -> None:
    if seat.is_left:
        return
    seat.is_over = True
    sock = seat.sock
    if sock is not None:
        # Not SSLSocket's own, which is in use by another thread.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _seated(connection: Any) -> None:
    """Let the watch know the socket of this thread's attempt."""
    seat: _Seat | None = getattr(_CURRENT, 'seat', None)
    if seat is not None:
        seat.sock = seat.own or connection.sock
        if seat.is_over:
            raise TimeoutError


class _Timed(HTTPConnection):
    """A connection that an attempt can be cut from."""

    response_class = FinalAnswer

    def request(self, *arguments: Any, **options: Any) -> None:
        if self.sock is None:
            self.connect()
        _seated(self)
        super().request(*arguments, **options)


class _TimedTls(HTTPSConnection):
    """The same with TLS."""

    response_class = FinalAnswer

    def connect(self) -> None:
        super().connect()
        _seated(self)

    def request(self, *arguments: Any, **options: Any) -> None:
        if self.sock is None:
            self.connect()
        _seated(self)
        super().request(*arguments, **options)


def _watched_pools() -> dict[str, Any]:
    return {
        'http': type('P', (HTTPConnectionPool,), {'ConnectionCls': _Timed}),
        'https': type(
            'PS', (HTTPSConnectionPool,), {'ConnectionCls': _TimedTls}
        ),
    }


def _pools(guard: Guard, is_exempt: Exempt) -> dict[str, Any]:
    """Return urllib3's pools with connections that judge addresses."""

    def new_socket(connection: HTTPConnection) -> socket.socket:
        host = connection.host.strip('[]')
        port = int(connection.port)
        places = guard.addresses(
            host, port, exempt=functools.partial(is_exempt, host, port)
        )
        last: OSError | None = None
        for place in places:
            # A name with many addresses gets no more time than another.
            left = _time_left()
            if left <= 0:
                raise TimeoutError
            try:
                return _connected(place, _shorter(connection.timeout, left))
            except OSError as error:
                last = error
        raise last or OSError

    class Http(_Timed):
        def _new_conn(self) -> socket.socket:
            return new_socket(self)

    class Https(_TimedTls):
        def _new_conn(self) -> socket.socket:
            return new_socket(self)

    return {
        'http': type('P', (HTTPConnectionPool,), {'ConnectionCls': Http}),
        'https': type('PS', (HTTPSConnectionPool,), {'ConnectionCls': Https}),
    }


def _time_left() -> float:
    """Return the seconds that are left to this thread's attempt."""
    seat: _Seat | None = getattr(_CURRENT, 'seat', None)
    return math.inf if seat is None else seat.deadline - time.monotonic()


def _shorter(timeout: Any, left: float) -> Any:
    """Return a timeout of a connection, cut to what is left."""
    return min(timeout, left) if isinstance(timeout, int | float) else timeout


def _connected(place: tuple[str, int], timeout: Any) -> socket.socket:
    found = socket.create_connection(place, timeout=timeout)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    seat: _Seat | None = getattr(_CURRENT, 'seat', None)
    if seat is not None:
        # The handshake of TLS, too, can hang.
        seat.take(found)
        seat.is_public = is_public(place[0])
    return found


def _failed(error: Exception, *, to_public: bool) -> CallFailed:
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
        return CallFailed('the name of the host has no address')
    detail = f'{type(cause).__name__} {_short(cause)}'.rstrip()
    if isinstance(cause, ssl.SSLCertVerificationError) and to_public:
        # Whoever can mend it finds it out by himself just as well.
        return CallFailed(f'its certificate is not valid: {_short(cause)}')
    return CallFailed(_NO_ANSWER, detail)


def _short(error: Exception) -> str:
    """Return what an error says, unless a receiver or a URL might say it."""
    if isinstance(error, OddAnswer):
        return str(error)
    return ' '.join(str(getattr(error, 'strerror', None) or '').split())[:200]

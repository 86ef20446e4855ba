# SPDX-License-Identifier: Apache-2.0
"""HTTP client for receivers that are not trusted with time or memory.

Names are resolved, and their addresses checked, whenever a connection is made.
A time limit ends an attempt whatever it waits for. Redirects are not followed,
since their targets are not checked.
"""

import asyncio
import base64
import functools
import os
import socket
import ssl
import urllib.request
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import unquote

from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from zaqar.webhook_client.http_connection import (
    Connection,
    HttpResponse,
    MalformedResponse,
)
from zaqar.webhook_client.name_resolution_threads import NameResolution
from zaqar.webhook_client.receiver_address_guard import PORTS, Guard, is_public

#: Maximum number of idle connections; seconds for which one stays idle, and
#: for which it is used at all: its host may have another address.
MAX_CONNECTIONS = 512
MAX_IDLE = 30.0
MAX_AGE = 300.0

Exempt = Callable[[str, int], bool]

_NO_RESPONSE = 'there was no answer'


class NoResponse(Exception):
    """There is no response; the text is for the user.

    It does not say whether a port is closed, filtered or speaks something
    else, so that nobody can explore the network of the operator by it.

    :ivar detail: why, for the operator
    """

    def __init__(self, reason: str, detail: str = '') -> None:
        super().__init__(reason)
        self.detail = detail


class WebhookClient:
    """Sends requests to receivers, on one event loop.

    :param connect: seconds for connecting
    :param total: seconds for a whole request
    :param is_exempt: returns whether a host and port need no public address;
        called in a thread
    :param ca_certs: file with trusted certificates, None for the system's
    """

    def __init__(
        self,
        guard: Guard,
        *,
        connect: float,
        total: float,
        is_exempt: Exempt = lambda host, port: False,
        ca_certs: str | None = None,
    ) -> None:
        self._guard = guard
        self._connect_timeout = connect
        self._total = total
        self._is_exempt = is_exempt
        # Created once: reading all certificates takes a while.
        self._tls = ssl.create_default_context(cafile=ca_certs)
        self._proxies = urllib.request.getproxies()
        self._idle: OrderedDict[str, deque[Connection]] = OrderedDict()
        self._idle_count = 0
        self._names = NameResolution()
        self._sweeping: asyncio.TimerHandle | None = None

    async def post(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        project: str = '',
    ) -> HttpResponse:
        """Send a POST.

        :param project: on whose behalf
        :raises NoResponse: there is no response
        :raises AddressRefused: the address or port is not allowed
        """
        connection: Connection | None = None
        try:
            target = _parsed(url)
            proxy = self._proxy(target)
            key = f'{target.scheme}://{target.netloc}'
            end = asyncio.get_running_loop().time() + self._total
            connection = self._borrow(key)
            if connection is None:
                async with asyncio.timeout_at(end):
                    connection = await self._connected(target, proxy, project)
            response = await connection.request(
                _encoded(target, headers, body, proxy), end
            )
        except TimeoutError:
            _give_up(connection)
            raise NoResponse(
                _NO_RESPONSE, f'within {self._total:g} s'
            ) from None
        except (OSError, MalformedResponse, LocationParseError) as error:
            _give_up(connection)
            raise _failed(error) from None
        except BaseException:
            _give_up(connection)
            raise
        self._return(key, connection)
        return response

    def close(self) -> None:
        """Close idle connections."""
        for key, idle in list(self._idle.items()):
            for _ in range(len(idle)):
                self._close_oldest(key)
        self._names.close()
        if self._sweeping is not None:
            self._sweeping.cancel()

    def _sweep(self) -> None:
        """Close connections that have been idle for long."""
        self._sweeping = None
        limit = asyncio.get_running_loop().time() - MAX_IDLE
        for key, idle in list(self._idle.items()):
            while idle and idle[0].idle_since <= limit:
                self._close_oldest(key)
        self._sweep_later()

    def _sweep_later(self) -> None:
        if self._idle and self._sweeping is None:
            loop = asyncio.get_running_loop()
            self._sweeping = loop.call_later(MAX_IDLE, self._sweep)

    def _borrow(self, key: str) -> Connection | None:
        while idle := self._idle.get(key):
            connection = self._removed(key, idle.pop)
            if connection.is_usable:
                return connection
        return None

    def _close_oldest(self, key: str) -> None:
        self._removed(key, self._idle[key].popleft).close()

    def _removed(
        self, key: str, remove: Callable[[], Connection]
    ) -> Connection:
        connection = remove()
        self._idle_count -= 1
        if not self._idle[key]:
            del self._idle[key]
        return connection

    def _return(self, key: str, connection: Connection) -> None:
        now = asyncio.get_running_loop().time()
        if not connection.is_usable or now - connection.made_at > MAX_AGE:
            connection.close()
            return
        connection.idle_since = now
        self._idle.setdefault(key, deque()).append(connection)
        self._idle.move_to_end(key)
        self._idle_count += 1
        if self._idle_count > MAX_CONNECTIONS:
            self._close_oldest(next(iter(self._idle)))
        self._sweep_later()

    def _proxy(self, target: Url) -> Url | None:
        """Return the proxy that the environment names for a URL, if any."""
        proxy = self._proxies.get(target.scheme or '')
        if not proxy or urllib.request.proxy_bypass(target.netloc or ''):
            return None
        return _parsed(proxy if '://' in proxy else f'http://{proxy}')

    async def _connected(
        self, target: Url, proxy: Url | None, project: str
    ) -> Connection:
        """Connect to a receiver, or to the proxy that leads to it.

        :raises AddressRefused: the address or port is not allowed
        :raises OSError: it cannot be reached
        """
        if proxy is None:
            host, port = _host(target), _port(target)
            addresses = await self._resolved(
                host,
                project,
                functools.partial(
                    self._guard.addresses,
                    host,
                    port,
                    exempt=functools.partial(self._is_exempt, host, port),
                ),
            )
            return await self._open(addresses, target)
        self._guard.check_port(_port(target))
        host = _host(proxy)
        addresses = await self._resolved(
            host,
            project,
            functools.partial(_addresses_of_proxy, host, _port(proxy)),
        )
        connection = await self._open(addresses, proxy)
        if target.scheme == 'https':
            await self._tunnel(connection, target, proxy)
        return connection

    async def _resolved(
        self,
        host: str,
        project: str,
        resolve: Callable[[], list[tuple[str, int]]],
    ) -> Sequence[tuple[str, int]]:
        try:
            return await self._names.run(host, project, resolve)
        except (socket.gaierror, UnicodeError):
            raise NoResponse('the name of the host has no address') from None

    async def _open(
        self, addresses: Sequence[tuple[str, int]], target: Url
    ) -> Connection:
        """Connect to the first address that answers."""
        loop = asyncio.get_running_loop()
        is_tls = target.scheme == 'https'
        last: Exception | None = None
        for host, port in addresses:
            try:
                async with asyncio.timeout(self._connect_timeout):
                    _, connection = await loop.create_connection(
                        Connection,
                        host,
                        port,
                        ssl=self._tls if is_tls else None,
                        server_hostname=_host(target) if is_tls else None,
                    )
            except ssl.SSLCertVerificationError as error:
                raise _untrusted(error, host) from None
            except OSError as error:
                last = error
                continue
            return connection
        if isinstance(last, TimeoutError):
            detail = f'not connected within {self._connect_timeout:g} s'
            raise NoResponse(_NO_RESPONSE, detail)
        raise last or OSError

    async def _tunnel(
        self, connection: Connection, target: Url, proxy: Url
    ) -> None:
        """Have a proxy lead to the receiver, and speak TLS to it."""
        try:
            place = f'{target.host}:{_port(target)}'
            head = [f'CONNECT {place} HTTP/1.1', f'Host: {place}']
            head += [*_proxy_login(proxy), '', '']
            response = await connection.request(
                '\r\n'.join(head).encode('latin-1'), is_tunnel=True
            )
            if response.status != 200:
                raise MalformedResponse(
                    f'the proxy answered {response.status}'
                )
            loop = asyncio.get_running_loop()
            connection.transport = await loop.start_tls(
                connection.transport,
                connection,
                self._tls,
                server_hostname=_host(target),
            )
        except BaseException:
            connection.close()
            raise


@functools.lru_cache(1000)
def _parsed(url: str) -> Url:
    return parse_url(url)


def _host(target: Url) -> str:
    return (target.host or '').strip('[]')


def _port(target: Url) -> int:
    return target.port or PORTS.get(target.scheme or '', 0)


def _addresses_of_proxy(host: str, port: int) -> list[tuple[str, int]]:
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(str(place[0]), int(place[1])) for *_, place in answers]


def _proxy_login(proxy: Url) -> list[str]:
    if not proxy.auth:
        return []
    login = base64.b64encode(unquote(proxy.auth).encode()).decode()
    return [f'Proxy-Authorization: Basic {login}']


def _encoded(
    target: Url, headers: Mapping[str, str], body: bytes, proxy: Url | None
) -> bytes:
    """Return the text of a request."""
    place = target.request_uri
    lines = [f'Host: {target.netloc}']
    if proxy is not None and target.scheme == 'http':
        place = f'http://{target.netloc}{place}'
        lines += _proxy_login(proxy)
    lines += [f'{name}: {value}' for name, value in headers.items()]
    head = '\r\n'.join(lines)
    return (
        f'POST {place} HTTP/1.1\r\n{head}\r\n'
        f'Content-Length: {len(body)}\r\n\r\n'
    ).encode('latin-1') + body


def _give_up(connection: Connection | None) -> None:
    if connection is not None:
        connection.close()


def _failed(error: Exception) -> NoResponse:
    detail = f'{type(error).__name__} {_short(error)}'.rstrip()
    return NoResponse(_NO_RESPONSE, detail)


def _untrusted(
    error: ssl.SSLCertVerificationError, address: str
) -> NoResponse:
    if is_public(address):
        # The owner of a public receiver can find this out anyway.
        reason = f'its certificate is not valid: {error.verify_message}'
        return NoResponse(reason[:200])
    return _failed(error)


def _short(error: Exception) -> str:
    """Return the text of an error, without text of receivers or URLs."""
    if isinstance(error, MalformedResponse):
        return str(error)
    if isinstance(error, ssl.SSLError):
        return str(error.reason or '')
    number = getattr(error, 'errno', None)
    return (
        os.strerror(number) if isinstance(number, int) and number > 0 else ''
    )

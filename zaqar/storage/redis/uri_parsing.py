# SPDX-License-Identifier: Apache-2.0
"""URIs of Redis: one server, a socket, Sentinels or a cluster."""

import enum
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib import parse as url

from zaqar.errors import ConfigurationError

PORT = 6379
SENTINEL_PORT = 26379

#: Seconds to wait for an answer.
READ_TIMEOUT = 2.0

#: The most that a URI may set: calls end within five seconds.
MAX_READ_TIMEOUT = 3.0

_SCHEMES = ('redis', 'rediss', 'redis+cluster', 'rediss+cluster')
_SSL = (
    'ssl_ca_certs',
    'ssl_certfile',
    'ssl_keyfile',
    'ssl_cert_reqs',
    'ssl_check_hostname',
)
_OPTIONS = (
    'dbid',
    'master',
    'prefix',
    'sentinel_password',
    'sentinel_username',
    'socket_timeout',
    'ssl',
    *_SSL,
)
_HOST = re.compile(r'(\[[0-9A-Fa-f:.%]+\]|[^\[\]:/@\s]+)(?::([0-9]+))?')
_PREFIX = re.compile(r'[A-Za-z0-9_.-]{1,64}')
_BOOLEANS = {
    **dict.fromkeys(('true', '1', 'yes', 'on'), True),
    **dict.fromkeys(('false', '0', 'no', 'off'), False),
}
_CERT_REQS = ('none', 'optional', 'required')

Host = tuple[str, int]


class Mode(enum.StrEnum):
    """The kind of deployment that a URI names."""

    STANDALONE = 'standalone'
    SENTINEL = 'sentinel'
    CLUSTER = 'cluster'


@dataclass(frozen=True)
class Login:
    """A login; none without a password."""

    username: str | None = None
    password: str | None = None


@dataclass(frozen=True)
class ConnectionSettings:
    """Where a server is and how to connect; durations in seconds.

    :ivar path: of a UNIX socket, instead of hosts
    :ivar master: name by which Sentinels know the server
    :ivar ssl: arguments of the client library for TLS, None without it
    :ivar attempts: connections that one call may lose
    """

    mode: Mode
    hosts: tuple[Host, ...] = ()
    path: str = ''
    credentials: Login = field(default_factory=Login)
    master: str = ''
    sentinel_credentials: Login = field(default_factory=Login)
    database: int = 0
    prefix: str = 'zq'
    ssl: Mapping[str, Any] | None = None
    connect_timeout: float = 1.0
    read_timeout: float = READ_TIMEOUT
    attempts: int = 3
    pause: float = 1.0
    wait_replicas: int = 0
    wait_timeout: float = 1.0


def parse(uri: str, options: Mapping[str, Any]) -> ConnectionSettings:
    scheme, separator, rest = uri.partition('://')
    if not separator or scheme not in _SCHEMES:
        raise ConfigurationError(
            f'the URI must begin with {"://, ".join(_SCHEMES)}://'
        )
    authority, _, query = rest.partition('?')
    values = _query(query)
    login, address = _split_login(authority)
    netloc, slash, path = address.partition('/')
    mode = _mode(scheme, values)
    database = _integer('dbid', values.get('dbid', '0'))
    if netloc and path:
        if 'dbid' in values or not path.isdecimal():
            raise ConfigurationError(
                f'the URI names a host and a path /{path}'
            )
        database = int(path)
    hosts, path = _hosts(netloc, mode), '' if netloc else slash + path
    if not hosts and path in ('', '/'):
        raise ConfigurationError('the URI names no host')
    _check(mode, hosts, database)
    return ConnectionSettings(
        mode=mode,
        hosts=hosts,
        path=path,
        credentials=Login() if login is None else _login(login),
        master=values.get('master', ''),
        sentinel_credentials=_sentinel_login(values),
        database=database,
        prefix=_prefix(values.get('prefix', 'zq')),
        ssl=_ssl(scheme, values, options),
        **_times(values, options),
    )


def _split_login(authority: str) -> tuple[str | None, str]:
    """Return the login, if there is one, and the rest.

    A password may hold a slash, and the path of a socket an at sign.
    """
    netloc, slash, path = authority.partition('/')
    if '@' in netloc:
        login, _, host = netloc.rpartition('@')
        return login, f'{host}{slash}{path}'
    if netloc and '@' in path:
        login, _, address = authority.rpartition('@')
        return login, address
    return None, authority


def _query(text: str) -> Mapping[str, str]:
    try:
        pairs = url.parse_qsl(
            text, keep_blank_values=True, strict_parsing=bool(text)
        )
    except ValueError:
        raise ConfigurationError(
            'what follows the question mark of the URI is malformed'
        ) from None
    values = dict(pairs)
    for name in values:
        if name not in _OPTIONS:
            raise ConfigurationError(
                f'the URI has an unknown option "{name}"; known are '
                f'{", ".join(sorted(_OPTIONS))}'
            )
    if len(values) < len(pairs):
        raise ConfigurationError('the URI has an option twice')
    return values


def _mode(scheme: str, values: Mapping[str, str]) -> Mode:
    if scheme.endswith('+cluster'):
        if 'master' in values:
            raise ConfigurationError('a cluster has no option "master"')
        return Mode.CLUSTER
    if 'master' not in values:
        return Mode.STANDALONE
    if not values['master']:
        raise ConfigurationError('the option "master" of the URI is empty')
    return Mode.SENTINEL


def _hosts(netloc: str, mode: Mode) -> tuple[Host, ...]:
    port = SENTINEL_PORT if mode is Mode.SENTINEL else PORT
    return tuple(_host(text, port) for text in netloc.split(',') if netloc)


def _host(text: str, default: int) -> Host:
    match = _HOST.fullmatch(text)
    if not match:
        raise ConfigurationError(f'the URI has a malformed host "{text}"')
    port = int(match[2] or default)
    if not 0 < port < 65536:
        raise ConfigurationError(f'the URI has a malformed port "{match[2]}"')
    return match[1].strip('[]'), port


def _check(mode: Mode, hosts: tuple[Host, ...], database: int) -> None:
    if mode is Mode.STANDALONE and len(hosts) > 1:
        raise ConfigurationError(
            'the URI names several hosts; Sentinels need "?master=NAME", a '
            'cluster the scheme redis+cluster'
        )
    if mode is not Mode.STANDALONE and not hosts:
        raise ConfigurationError('the URI names no host')
    if mode is Mode.CLUSTER and database:
        raise ConfigurationError('a cluster has no databases but 0')


def _login(text: str) -> Login:
    user, _, password = text.partition(':')
    if not password:
        raise ConfigurationError('the URI has a user without a password')
    return Login(url.unquote(user) or None, url.unquote(password))


def _sentinel_login(values: Mapping[str, str]) -> Login:
    user = values.get('sentinel_username') or None
    password = values.get('sentinel_password') or None
    if user and not password:
        raise ConfigurationError(
            'the URI has a sentinel_username without a sentinel_password'
        )
    return Login(user, password)


def _prefix(text: str) -> str:
    if not _PREFIX.fullmatch(text):
        raise ConfigurationError(
            'the option "prefix" of the URI must be 1 to 64 letters, digits, '
            'dots, dashes or underscores'
        )
    return text


def _ssl(
    scheme: str, values: Mapping[str, str], options: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    wanted = _boolean('ssl', values.get('ssl', 'false'))
    if scheme.startswith('rediss'):
        if values.get('ssl') and not wanted:
            raise ConfigurationError('the URI both wants and refuses TLS')
        wanted = True
    if not wanted:
        for name in _SSL:
            if name in values:
                raise ConfigurationError(
                    f'the URI has the option "{name}" without ssl=true'
                )
        return None
    ssl = {name: values.get(name, options.get(name)) for name in _SSL}
    reqs = str(ssl['ssl_cert_reqs'] or 'required').lower()
    reqs = reqs.removeprefix('cert_')
    if reqs not in _CERT_REQS:
        raise ConfigurationError(
            f'ssl_cert_reqs must be one of {", ".join(_CERT_REQS)}'
        )
    check = ssl['ssl_check_hostname']
    check = check is None or _boolean('ssl_check_hostname', str(check))
    ssl['ssl_cert_reqs'] = reqs
    ssl['ssl_check_hostname'] = check and reqs != 'none'
    _check_files(ssl)
    return {name: value for name, value in ssl.items() if value is not None}


def _check_files(ssl: Mapping[str, Any]) -> None:
    for name in ('ssl_ca_certs', 'ssl_certfile', 'ssl_keyfile'):
        path = ssl[name]
        # A device or a pipe may never end.
        if path and not (os.path.isfile(path) and os.access(path, os.R_OK)):
            raise ConfigurationError(f'{name}: {path} cannot be read')


def _times(
    values: Mapping[str, str], options: Mapping[str, Any]
) -> dict[str, Any]:
    read = READ_TIMEOUT
    if 'socket_timeout' in values:
        read = _seconds('socket_timeout', values['socket_timeout'])
    wait = float(options.get('wait_timeout') or 1.0)
    replicas = int(options.get('wait_replicas') or 0)
    if replicas:
        # The answer of a write may take that long.
        read = max(read, wait + 0.5)
    retries = options.get('max_reconnect_attempts')
    pause = options.get('reconnect_sleep')
    return {
        'connect_timeout': float(options.get('connect_timeout') or 1.0),
        'read_timeout': min(read, MAX_READ_TIMEOUT),
        'attempts': 1 + min(2 if retries is None else int(retries), 2),
        'pause': 1.0 if pause is None else float(pause),
        'wait_replicas': replicas,
        'wait_timeout': wait,
    }


def _integer(name: str, text: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise ConfigurationError(
            f'the option "{name}" of the URI must be a whole number'
        )
    return int(text)


def _seconds(name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float('inf'):
        raise ConfigurationError(
            f'the option "{name}" of the URI must be a number of seconds'
        )
    return seconds


def _boolean(name: str, text: str) -> bool:
    try:
        return _BOOLEANS[text.lower()]
    except KeyError:
        raise ConfigurationError(
            f'the option "{name}" must be true or false'
        ) from None

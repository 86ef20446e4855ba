# SPDX-License-Identifier: Apache-2.0
"""Connections to one server, and what its errors mean."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis import connection as _connection
from redis import exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from zaqar.storage.redis.address import Address, Host, Login

Command = tuple[Any, ...]

#: The client library gives its connections no types.
Connection = Any
_redis: Any = _connection

#: Words that errors begin with, where the client library leaves them out.
_WORDS: Sequence[tuple[type[Exception], str]] = (
    (exceptions.MovedError, 'MOVED'),
    (exceptions.AskError, 'ASK'),
    (exceptions.NoScriptError, 'NOSCRIPT'),
    (exceptions.ReadOnlyError, 'READONLY'),
    (exceptions.TryAgainError, 'TRYAGAIN'),
    (exceptions.ClusterDownError, 'CLUSTERDOWN'),
    (exceptions.MasterDownError, 'MASTERDOWN'),
    (exceptions.BusyLoadingError, 'LOADING'),
    (exceptions.AuthenticationError, 'NOAUTH'),
    (exceptions.NoPermissionError, 'NOPERM'),
    (exceptions.OutOfMemoryError, 'OOM'),
)


#: How the client library is told not to introduce itself.
_NAMELESS: Mapping[str, None] = (
    {'driver_info': None}
    if 'driver_info' in inspect.signature(_redis.AbstractConnection).parameters
    else {'lib_name': None, 'lib_version': None}
)


#: How commands are put together; the client library does without, slowly.
_pack: Callable[[Command], bytes] | None = None
with contextlib.suppress(ImportError):
    _pack = getattr(importlib.import_module('hiredis'), 'pack_command', None)

#: Seconds after which a connection is asked anew whether its server has become
#: a replica. One behind an address that fails over keeps its old connections,
#: and answers what only reads from what it had.
ROLE_INTERVAL = 5.0

_ROLE: Command = ('INFO', 'replication')

_WITHIN = re.compile(r'Error running script.*: -([A-Z]+) ', re.DOTALL)


class Lost(Exception):
    """There is no connection, or none any more."""


class Refused(Lost):
    """The server does not let us in."""


def code(answer: Any) -> str:
    """Return the word that an error begins with, '' for other answers."""
    if not isinstance(answer, exceptions.RedisError):
        return ''
    for kind, word in _WORDS:
        if isinstance(answer, kind):
            return word
    # Redis 6 puts the errors of a script's commands into one of its own.
    found = _WITHIN.search(str(answer))
    if found:
        return found[1]
    words = str(answer).split()
    return words[0] if words else 'ERR'


@dataclass(slots=True)
class _Lent:
    """A connection, and what is known of it.

    :ivar epoch: how often all had been closed when it was made
    :ivar role_due: when its server is to be asked for its role, monotonic
    """

    connection: Connection
    epoch: int
    role_due: float = 0.0


class Link:
    """Connections to one server, lent to one call at a time.

    There are as many as there have been calls at once.

    :param make: returns a connection that is not open yet
    :ivar name: host of the server, for messages
    :ivar needs_primary: refuse what a replica answers
    """

    def __init__(self, make: Callable[[], Connection], name: str) -> None:
        self._make = make
        self._idle: list[_Lent] = []
        self._epoch = 0
        self._lock = threading.Lock()
        self.name = name
        self.needs_primary = False

    def exchange(
        self, commands: Sequence[Command], until: float | None = None
    ) -> list[Any]:
        """Send commands at once and return their answers, errors included.

        :param until: monotonic time at which to give up waiting; None for
            the patience of the connection
        :raises Lost: the connection was; nobody knows what has been done
        """
        is_fresh = until is not None
        lent = self._new() if is_fresh else self._borrow()
        connection = lent.connection
        try:
            if until is not None:
                _hurry(connection, until - time.monotonic())
            connection.connect()
            answers = self._answers(lent, commands)
        except (exceptions.RedisError, OSError) as error:
            connection.disconnect()
            # The others are most likely as dead.
            self.close()
            refusals = exceptions.AuthenticationError
            kind = Refused if isinstance(error, refusals) else Lost
            raise kind(_one_line(error)) from error
        except BaseException:
            connection.disconnect()
            raise
        if is_fresh:
            connection.disconnect()
        else:
            self._give_back(lent)
        return answers

    def close(self) -> None:
        """Close all connections, those that are lent when they come back."""
        with self._lock:
            idle, self._idle = self._idle, []
            self._epoch += 1
        for lent in idle:
            lent.connection.disconnect()

    def _answers(self, lent: _Lent, commands: Sequence[Command]) -> list[Any]:
        connection, now = lent.connection, time.monotonic()
        if not self.needs_primary or now < lent.role_due:
            connection.send_packed_command(_packed(connection, commands))
            return [_answer(connection) for _ in commands]
        # In one go with the rest, hence without a further round trip.
        connection.send_packed_command(
            connection.pack_commands([_ROLE, *commands])
        )
        role, *answers = [_answer(connection) for _ in (_ROLE, *commands)]
        if isinstance(role, bytes) and b'role:slave' in role:
            return [exceptions.ReadOnlyError('this is a replica')] * len(
                answers
            )
        lent.role_due = now + ROLE_INTERVAL
        return answers

    def _new(self) -> _Lent:
        return _Lent(self._make(), self._epoch)

    def _borrow(self) -> _Lent:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._new()

    def _give_back(self, lent: _Lent) -> None:
        with self._lock:
            if lent.epoch == self._epoch:
                self._idle.append(lent)
                return
        lent.connection.disconnect()


def make_link(
    address: Address,
    host: Host | None,
    *,
    login: Login | None = None,
    patience: float | None = None,
) -> Link:
    """Return a way to one server of an address.

    :param host: None for the socket of the address
    :param login: None for that of the address
    :param patience: seconds for connecting and for each answer; None for
        those of the address
    """
    who = address.login if login is None else login
    options: dict[str, Any] = {
        'username': who.username,
        'password': who.password,
        # Sentinels know no databases.
        'db': address.database if login is None else 0,
        'socket_timeout': patience or address.read_timeout,
        'retry': Retry(NoBackoff(), 0),
        'protocol': 2,
        # It has no word for itself: that would be two more round trips.
        **_NAMELESS,
    }
    if host is None:
        options['path'] = address.path
        return Link(
            lambda: _redis.UnixDomainSocketConnection(**options), address.path
        )
    options |= {
        'host': host[0],
        'port': host[1],
        'socket_connect_timeout': patience or address.connect_timeout,
        'socket_keepalive': True,
    }
    if address.ssl is None:
        return Link(lambda: _redis.Connection(**options), host[0])
    options |= address.ssl
    return Link(lambda: _redis.SSLConnection(**options), host[0])


def _hurry(connection: Connection, seconds: float) -> None:
    """Let a connection that is not open yet wait only so long."""
    left = max(seconds, 0.05)
    connection.socket_timeout = min(connection.socket_timeout, left / 2)
    if isinstance(connection, _redis.Connection):
        connection.socket_connect_timeout = min(
            connection.socket_connect_timeout, left / 2
        )


def _packed(
    connection: Connection, commands: Sequence[Command]
) -> Sequence[bytes]:
    """Return commands as they are sent.

    The client library looks for other types than ours among the arguments and
    for blanks in the name, at twice the cost of all that remains.
    """
    if _pack is None or len(commands) > 1 or ' ' in commands[0][0]:
        packed: Sequence[bytes] = connection.pack_commands(commands)
        return packed
    return (_pack(commands[0]),)


def _answer(connection: Connection) -> Any:
    try:
        return connection.read_response()
    except exceptions.AuthenticationError:
        raise
    except exceptions.ResponseError as error:
        return error


def _one_line(error: BaseException) -> str:
    return ' '.join(str(error).split()) or type(error).__name__

# SPDX-License-Identifier: Apache-2.0
"""One Redis server: its connections."""

from __future__ import annotations

import contextlib
import importlib
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis import connection as _connection
from redis import exceptions

from zaqar.current_request import OF_THREAD
from zaqar.errors import one_line
from zaqar.event_loop_greenlets import Hub, LoopGreenlet, offload_to
from zaqar.storage.redis.server_role import ROLE, is_replica
from zaqar.storage.redis.uri_parsing import ConnectionSettings

if TYPE_CHECKING:
    from zaqar.storage.redis.pipelined_connection import PipelinedConnection

LOG = logging.getLogger(__name__)

Command = tuple[Any, ...]

#: The client library gives its connections no types.
Connection = Any
_redis: Any = _connection


#: Packs a command; the client library does without, slowly.
_pack: Callable[[Command], bytes] | None = None
with contextlib.suppress(ImportError):
    _pack = getattr(importlib.import_module('hiredis'), 'pack_command', None)

#: Seconds until a deadline in which silence tells of the server, and not only
#: of a call that came late.
FAIR_WAIT = 0.7

#: Seconds after which a connection is checked again for a server that became a
#: replica. After a failover behind one address, the old server keeps its
#: connections and answers reads from stale data.
ROLE_INTERVAL = 5.0

#: Seconds after which it is tried again to open a connection for greenlets.
OPENING_PAUSE = 0.25

_TIMEOUTS = (exceptions.TimeoutError, TimeoutError)


class ConnectionLost(Exception):
    """There is no connection, or it broke."""


class CutShort(ConnectionLost):
    """There was no answer in less time than a server may take."""


class LoginRefused(ConnectionLost):
    """The server refused the login."""


@dataclass(slots=True)
class _PooledConnection:
    """A connection and its state.

    :ivar home: the idle ones when it was created; others since all were closed
    :ivar role_due: when the role of its server is due for a check, monotonic
    """

    connection: Connection
    home: list[Any]
    role_due: float = 0.0
    is_open: bool = False


class RedisNode:
    """A server, through connections that are lent to one call at a time.

    There are as many as there have been concurrent calls. The greenlets of an
    event loop share one besides, as long as nothing is the matter.

    :param make: returns a connection that is not open yet; takes what differs
        from our usual settings
    :param is_shareable: whether greenlets may share a connection
    :ivar name: host of the server, for messages
    :ivar needs_primary: reject the answers of a replica
    """

    def __init__(
        self,
        make: Callable[..., Connection],
        name: str,
        *,
        is_shareable: bool = False,
    ) -> None:
        self._make = make
        self._is_shareable = is_shareable
        self._shared: PipelinedConnection | None = None
        self._is_opening = False
        self._opening_due = -math.inf
        #: Taken from and added to in single steps of the interpreter, hence
        #: without a lock.
        self._idle: list[_PooledConnection] = []
        self.name = name
        self.needs_primary = False

    def exchange(
        self, commands: Sequence[Command], until: float | None = None
    ) -> list[Any]:
        """Send commands at once and return their answers, errors included.

        :param until: monotonic time at which to stop waiting; None for the
            time-out of the connection
        :raises ConnectionLost: the commands may have been executed or not
        """
        one: LoopGreenlet | None = OF_THREAD.request.greenlet
        if one is not None:
            return self._exchange_in_loop(one, commands, until)
        is_fresh = until is not None
        left = math.inf if until is None else until - time.monotonic()
        try:
            lent = self._new() if is_fresh else self._idle.pop()
        except IndexError:
            lent = self._new()
        connection = lent.connection
        try:
            if is_fresh:
                _shorten_timeouts(connection, left)
            if not lent.is_open:
                connection.connect()
                lent.is_open = True
            answers = self._answers(lent, commands)
        except (exceptions.RedisError, OSError) as error:
            connection.disconnect()
            if left < FAIR_WAIT and isinstance(error, _TIMEOUTS):
                raise CutShort(one_line(error)) from error
            # The others are most likely broken, too.
            self.close()
            raise _lost(error) from error
        except BaseException:
            connection.disconnect()
            raise
        if is_fresh:
            connection.disconnect()
        else:
            self._give_back(lent)
        return answers

    def open(self) -> Connection:
        """Return an open connection, which the caller closes.

        Its protocol is RESP3: what was subscribed to arrives between the
        answers to commands.

        :raises ConnectionLost: it cannot be opened
        """
        connection = self._make(protocol=3)
        try:
            connection.connect()
        except (exceptions.RedisError, OSError) as error:
            connection.disconnect()
            raise ConnectionLost(one_line(error)) from error
        return connection

    def close(self) -> None:
        """Close all connections, those in use when they are given back."""
        idle, self._idle = self._idle, []
        shared, self._shared = self._shared, None
        if shared is not None:
            shared.close_soon()
        _disconnect(idle)

    def _exchange_in_loop(
        self,
        one: LoopGreenlet,
        commands: Sequence[Command],
        until: float | None,
    ) -> list[Any]:
        """Do so in a greenlet, without blocking its loop."""
        if until is None:
            shared = self._shared
            if shared is not None and shared.is_open:
                assert _pack is not None
                data = b''.join(map(_pack, commands))
                try:
                    return shared.exchange(one, data, len(commands))
                except TimeoutError as error:
                    # That of the request: the connection is whole.
                    raise CutShort(one_line(error)) from error
                except (exceptions.RedisError, OSError) as error:
                    # The others are most likely broken, too.
                    self.close()
                    raise _lost(error) from error
            if (
                self._is_shareable
                and not self._is_opening
                and (shared is None or shared.is_over)
                and time.monotonic() >= self._opening_due
            ):
                self._begin_to_open(one.hub)
        return offload_to(self, self.exchange, commands, until)

    def _begin_to_open(self, hub: Hub) -> None:
        self._is_opening = True
        try:
            hub.begin_in_thread(self._try_to_open, hub)
        except RuntimeError as error:
            # It is done without.
            self._opening_due = time.monotonic() + OPENING_PAUSE
            self._is_opening = False
            LOG.warning('Cannot begin to connect to Redis: %s', error)

    def _try_to_open(self, hub: Hub) -> None:
        """Open the connection of a loop, in another thread."""
        try:
            self._open_shared(hub)
        except Exception as error:
            # Whoever needs one finds out why.
            self._opening_due = time.monotonic() + OPENING_PAUSE
            if not isinstance(error, (exceptions.RedisError, OSError)):
                LOG.exception('Cannot connect to Redis')
        finally:
            self._is_opening = False

    def _open_shared(self, hub: Hub) -> None:
        # Only here: without it there is none.
        from zaqar.storage.redis.pipelined_connection import (
            PipelinedConnection,
        )

        connection, home = self._make(), self._idle
        try:
            connection.connect()
        except BaseException:
            connection.disconnect()
            raise
        assert _pack is not None
        opened = PipelinedConnection(
            hub,
            connection,
            connection.socket_timeout,
            _pack(ROLE) if self.needs_primary else b'',
            ROLE_INTERVAL,
            server=self,
        )
        self._shared = opened
        if home is not self._idle:
            # All were closed meanwhile.
            self._shared = None
            opened.close_soon()
        else:
            hub.call(opened.open)

    def _answers(
        self, lent: _PooledConnection, commands: Sequence[Command]
    ) -> list[Any]:
        connection, now = lent.connection, time.monotonic()
        if not self.needs_primary or now < lent.role_due:
            # Its own check of the connection is off, but costs a call.
            connection.send_packed_command(
                packed(connection, commands), check_health=False
            )
            return [_answer(connection) for _ in commands]
        # In one packet with the rest, hence without a further round trip.
        connection.send_packed_command(
            packed(connection, [ROLE, *commands]), check_health=False
        )
        role, *answers = [_answer(connection) for _ in (ROLE, *commands)]
        if is_replica(role):
            return [exceptions.ReadOnlyError('this is a replica')] * len(
                answers
            )
        lent.role_due = now + ROLE_INTERVAL
        return answers

    def _new(self) -> _PooledConnection:
        # Before it is made: what is closed meanwhile counts.
        home = self._idle
        return _PooledConnection(self._make(), home)

    def _give_back(self, lent: _PooledConnection) -> None:
        lent.home.append(lent)
        if lent.home is not self._idle:
            # All were closed meanwhile, perhaps just before it was added.
            _disconnect(lent.home)


def _lost(error: Exception) -> ConnectionLost:
    refusals = exceptions.AuthenticationError
    kind = LoginRefused if isinstance(error, refusals) else ConnectionLost
    return kind(one_line(error))


def _disconnect(idle: list[_PooledConnection]) -> None:
    """Close connections; another thread may do so with the same list."""
    with contextlib.suppress(IndexError):
        while True:
            idle.pop().connection.disconnect()


def is_shareable(settings: ConnectionSettings) -> bool:
    """Tell whether the greenlets of a loop may share connections.

    Not where one of them would wait for replicas, and the others behind it.
    """
    return (
        _pack is not None
        and settings.ssl is None
        and not settings.wait_replicas
    )


def _shorten_timeouts(connection: Connection, seconds: float) -> None:
    """Limit the time-outs of a connection that is not open yet."""
    left = max(seconds, 0.05)
    connection.socket_timeout = min(connection.socket_timeout, left / 2)
    if isinstance(connection, _redis.Connection):
        connection.socket_connect_timeout = min(
            connection.socket_connect_timeout, left / 2
        )


def packed(
    connection: Connection, commands: Sequence[Command]
) -> Sequence[bytes]:
    """Return commands as they are sent.

    The client library looks for other argument types than ours and for blanks
    in the name, at twice the cost of the rest of a call.
    """
    if _pack is None:
        pieces: Sequence[bytes] = connection.pack_commands(commands)
        return pieces
    return [b''.join(map(_pack, commands))]


def _answer(connection: Connection) -> Any:
    try:
        return connection.read_response()
    except exceptions.AuthenticationError:
        raise
    except exceptions.ResponseError as error:
        return error

# SPDX-License-Identifier: Apache-2.0
"""Calls of a Redis deployment: scripts, retries, deadlines."""

import logging
import random
import time
from collections.abc import Sequence
from typing import Any

from redis import exceptions

from zaqar import event_loop_greenlets, request_deadline
from zaqar.errors import StoreUnavailable
from zaqar.storage.redis import (
    key_names,
    node_connection_pool,
    server_topology,
)
from zaqar.storage.redis.error_code_parsing import error_code
from zaqar.storage.redis.node_connection_pool import (
    Command,
    ConnectionLost,
    CutShort,
)
from zaqar.storage.redis.scripts import Script
from zaqar.storage.redis.uri_parsing import ConnectionSettings

LOG = logging.getLogger(__name__)

#: Seconds after which no further try is begun.
RETRY_PERIOD = 2.5

#: Seconds after which a call ends, whatever it waits for.
DEADLINE = 4.0

#: Seconds between two tries while the server answers with a passing error.
PAUSE = 0.1

#: Seconds that one of several servers may take to answer what all could.
PROBE_TIMEOUT = 0.8

#: Milliseconds for which the mark of a change is kept: it is only sent on.
MARK_MILLISECONDS = 1000

#: Errors that pass. The command was not executed.
_TRANSIENT = frozenset(
    (
        'ASK',
        'BUSY',
        'CLUSTERDOWN',
        'LOADING',
        'MASTERDOWN',
        'MISCONF',
        'MOVED',
        'NOREPLICAS',
        'OOM',
        'READONLY',
        'TRYAGAIN',
    )
)
#: Those of them after which another server may be responsible: this one has
#: lost its role, is cut off from the others, or has just been started.
_MOVED = frozenset(
    ('CLUSTERDOWN', 'LOADING', 'MASTERDOWN', 'MOVED', 'NOREPLICAS', 'READONLY')
)

#: Errors of a client without permission. The last one is about long commands
#: before a password.
_REFUSALS = frozenset(('NOAUTH', 'NOPERM', 'WRONGPASS', 'Protocol'))


class RedisClient:
    """A client of one server or of several.

    Calls go to the server that has their first key.

    :ivar prefix: of all keys
    :ivar wait_replicas: how many replicas have a change before it is
        acknowledged
    :ivar is_single_server: whether a script may use keys with different tags
    :ivar waits_in_greenlets: whether calls in greenlets of a loop block it not
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings
        self.prefix = settings.prefix
        self.wait_replicas = settings.wait_replicas
        self._home = key_names.of_server(settings.prefix)
        self.topology = server_topology.make_topology(settings)
        self.is_single_server = self.topology.is_single_server
        self.waits_in_greenlets = node_connection_pool.is_shareable(settings)
        milliseconds = round(settings.wait_timeout * 1000)
        self._wait = 'WAIT', settings.wait_replicas, milliseconds

    def call(self, key: str, *command: Any) -> Any:
        """Run a command that changes nothing."""
        commands = [command]
        return self._try(key, commands, commands)[0]

    def answers(self, key: str, commands: Sequence[Command]) -> list[Any]:
        """Run commands that change nothing, in one round trip.

        Only the first may not be refused; further errors are answers.
        """
        return self._try(key, commands, commands)

    def run(
        self,
        script: Script,
        names: Sequence[str],
        arguments: Sequence[Any],
        *,
        pass_repeated: bool = False,
    ) -> Any:
        """Run a script that may be run again after a lost answer.

        :param pass_repeated: pass a last argument, '1' if it may have been
            run before
        """
        call = ('EVALSHA', script.sha, len(names), *names, *arguments)
        waits = script.writes and self.wait_replicas > 0
        wait = (_mark(names[0]), self._wait) if waits else ()
        commands = again = [call, *wait]
        if pass_repeated:
            commands, again = [(*call, '0'), *wait], [(*call, '1'), *wait]
        answers = self._try(names[0], commands, again, script)
        if wait:
            self._check_wait(*answers[1:])
        return answers[0]

    @property
    def server(self) -> ConnectionSettings:
        """What :meth:`ping` pings."""
        return self._settings

    def ping(self) -> None:
        """Return when a server answers."""
        self._call_any('PING')

    def now(self) -> int:
        """Return the time in milliseconds.

        That of one server, so that all callers agree; while it is down, that
        of another one.
        """
        seconds, micros = self._call_any('TIME')
        return int(seconds) * 1000 + int(micros) // 1000

    def close(self) -> None:
        self.topology.close()

    def _check_wait(self, marked: Any, count: Any) -> None:
        """Raise an error unless enough replicas have a change.

        :param marked: the answer to :func:`_mark`
        :param count: that to ``WAIT``
        """
        # Whoever moves a slot away refuses new keys in it.
        is_moving = error_code(marked) in ('ASK', 'MOVED', 'TRYAGAIN')
        _checked([count] if is_moving else [marked, count])
        if count < self.wait_replicas:
            LOG.error(
                'A change has reached %d replicas instead of %d',
                count,
                self.wait_replicas,
            )
            raise StoreUnavailable

    def _call_any(self, *command: Any) -> Any:
        key = self._home
        if self.is_single_server:
            return self.call(key, *command)
        if not request_deadline.left(DEADLINE):
            raise StoreUnavailable
        cause = ConnectionLost('')
        try:
            first = self.topology.node(key)
            nodes = self.topology.nodes()
        except ConnectionLost:
            # The topology is unknown; this call discovers it.
            return self.call(key, *command)
        end = request_deadline.cap(time.monotonic() + RETRY_PERIOD)
        for node in (first, *(node for node in nodes if node is not first)):
            now = time.monotonic()
            if now > end:
                break
            try:
                (answer,) = node.exchange([command], now + PROBE_TIMEOUT)
                return _checked([answer])[0]
            except ConnectionLost as error:
                cause = error
                self.topology.invalidate()
        LOG.error('No server of the cluster answers: %s', cause)
        raise StoreUnavailable from cause

    def _try(
        self,
        key: str,
        commands: Sequence[Command],
        again: Sequence[Command],
        script: Script | None = None,
    ) -> list[Any]:
        """Send commands until there are answers, the first no error.

        :param again: the same where they may have been executed before
        """
        start = time.monotonic()
        end = request_deadline.cap(start + DEADLINE)
        if end <= start:
            # Any answer would be too late, and seem to be a lost connection.
            raise StoreUnavailable
        # A connection that is open has the time-out of the settings.
        is_late = end - start < self._settings.read_timeout
        lost, cause = 0, ConnectionLost('')
        while lost < self._settings.attempts:
            until = end if lost or is_late else None
            try:
                answers = self.topology.exchange(key, commands, until)
                if not isinstance(answers[0], exceptions.RedisError):
                    return answers
                if script is not None:
                    answers = self._with_text(
                        key, commands, until, script, answers
                    )
            except ConnectionLost as error:
                lost, cause, commands = lost + 1, error, again
                if not isinstance(error, CutShort):
                    self.topology.invalidate()
                # The first may have been just an old connection.
                pause = self._settings.pause if lost > 1 else 0.0
            else:
                code = error_code(answers[0])
                if code not in _TRANSIENT:
                    _checked(answers[:1])
                    return answers
                cause, pause = ConnectionLost(f'{code} {answers[0]}'), PAUSE
                if code in _MOVED:
                    self.topology.invalidate()
            left = min(start + RETRY_PERIOD, end) - time.monotonic()
            if left <= 0 or lost == self._settings.attempts:
                break
            # Rivals that collided once should not collide again.
            event_loop_greenlets.sleep(
                min(pause * random.uniform(0.5, 1), left)
            )
        LOG.error('Redis does not answer: %s', cause)
        raise StoreUnavailable from cause

    def _with_text(
        self,
        key: str,
        commands: Sequence[Command],
        until: float | None,
        script: Script,
        answers: list[Any],
    ) -> list[Any]:
        """Send a script itself if a server does not know its hash."""
        if error_code(answers[0]) != 'NOSCRIPT':
            return answers
        # The server was restarted, or this is the first call.
        _, _, *rest = commands[0]
        call = ('EVAL', script.text, *rest)
        return self.topology.exchange(key, [call, *commands[1:]], until)


def _mark(key: str) -> Command:
    """Return a change that is replicated whatever a script has changed.

    ``WAIT`` waits for the last change that its own connection has made. A
    script that is run again, or finds deleted what it is to delete, makes
    none; the one that did so before may be at no replica yet.
    """
    return 'SET', f'{key}:mark', '', 'PX', MARK_MILLISECONDS


def _checked(answers: list[Any]) -> list[Any]:
    """Return answers without errors."""
    for answer in answers:
        if not isinstance(answer, exceptions.RedisError):
            continue
        code = error_code(answer)
        if code in _REFUSALS:
            LOG.error('Redis refuses a command: %s %s', code, answer)
            raise StoreUnavailable
        raise answer
    return answers

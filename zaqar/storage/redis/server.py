# SPDX-License-Identifier: Apache-2.0
"""Calls to a server: tries, patience, scripts."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from redis import exceptions

from zaqar.errors import StoreUnavailable
from zaqar.storage.redis import topology
from zaqar.storage.redis.address import Address
from zaqar.storage.redis.links import Command, Lost, code
from zaqar.storage.redis.scripts import Script

LOG = logging.getLogger(__name__)

#: Seconds after which no further try is begun.
PATIENCE = 2.5

#: Seconds after which a call ends, whatever it waits for.
DEADLINE = 4.0

#: Seconds between two tries while the server is there but cannot answer.
PAUSE = 0.1

#: Seconds that one of several servers may take to answer what all could.
ASIDE = 0.8

#: Answers that will be others in a moment. Nothing has been done then.
_PASSING = frozenset(
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
#: Those of them after which another server may have to be asked: this one has
#: lost its role, is cut off from the others, or has just been started.
_DOUBTFUL = frozenset(
    (
        'CLUSTERDOWN',
        'LOADING',
        'MASTERDOWN',
        'MOVED',
        'NOREPLICAS',
        'READONLY',
    )
)

#: Answers by which the server refuses what may not be done. The last one is
#: about long commands before a password.
_REFUSALS = frozenset(('NOAUTH', 'NOPERM', 'WRONGPASS', 'Protocol'))


class Server:
    """A server, or several, at an address.

    Calls go to the server that has their first key.

    :ivar is_one: whether a script may use keys with different tags
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self.topology = topology.find(address)
        self.is_one = self.topology.is_one
        self._wait: Sequence[Command] = ()
        if address.wait_replicas:
            milliseconds = round(address.wait_timeout * 1000)
            self._wait = [('WAIT', address.wait_replicas, milliseconds)]

    def call(self, key: str, *command: Any) -> Any:
        """Run a command that changes nothing.

        :raises StoreUnavailable: the server does not answer
        """
        return self._try(key, lambda _: [command])[0]

    def run(
        self,
        script: Script,
        keys: Sequence[str],
        arguments: Sequence[Any],
        *,
        writes: bool = True,
        tells: bool = False,
    ) -> Any:
        """Run a script that may be run again after a lost answer.

        :param writes: whether replicas have to be waited for, if they are
            at all
        :param tells: pass a last argument, '1' if it may have been run before
        :raises StoreUnavailable: the server does not answer
        """

        def commands(repeated: bool) -> Sequence[Command]:
            more = ('1' if repeated else '0',) if tells else ()
            call = 'EVALSHA', script.sha, len(keys), *keys, *arguments, *more
            return [call, *self._wait] if writes else [call]

        answers = self._try(keys[0], commands, script)
        if len(answers) > 1 and answers[1] < self._address.wait_replicas:
            LOG.error(
                'A change has reached %d replicas instead of %d',
                answers[1],
                self._address.wait_replicas,
            )
            raise StoreUnavailable
        return answers[0]

    def ping(self, key: str) -> None:
        """Return when the server that has a key answers, or another one.

        :raises StoreUnavailable: none does
        """
        self._call_any(key, 'PING')

    def now(self, key: str) -> int:
        """Return the time in milliseconds.

        It is that of the server that has a key, so that all agree; where
        that one is down the others have to do.

        :raises StoreUnavailable: none answers
        """
        seconds, micros = self._call_any(key, 'TIME')
        return int(seconds) * 1000 + int(micros) // 1000

    def close(self) -> None:
        """Give back all connections."""
        self.topology.close()

    def _call_any(self, key: str, *command: Any) -> Any:
        if self.is_one:
            return self.call(key, *command)
        cause = Lost('')
        try:
            first = self.topology.link(key)
            others = [one for one in self.topology.links() if one is not first]
        except Lost:
            # As long as nobody knows who serves.
            return self.call(key, *command)
        end = time.monotonic() + PATIENCE
        for link in (first, *others):
            now = time.monotonic()
            if now > end:
                break
            try:
                (answer,) = link.exchange([command], now + ASIDE)
                return _checked([answer])[0]
            except Lost as error:
                cause = error
                self.topology.doubt()
        LOG.error('No server of the cluster answers: %s', cause)
        raise StoreUnavailable from cause

    def _try(
        self,
        key: str,
        commands: Callable[[bool], Sequence[Command]],
        script: Script | None = None,
    ) -> list[Any]:
        begun = time.monotonic()
        lost, cause = 0, Lost('')
        is_repeated = False
        while lost < self._address.attempts:
            until = begun + DEADLINE if lost else None
            try:
                answers = self._exchange(
                    key, commands(is_repeated), until, script
                )
            except Lost as error:
                lost, cause, is_repeated = lost + 1, error, True
                self.topology.doubt()
                # The first was perhaps just an old connection.
                pause = self._address.pause if lost > 1 else 0.0
            else:
                word = code(answers[0])
                if word not in _PASSING:
                    return _checked(answers)
                cause, pause = Lost(f'{word} {answers[0]}'), PAUSE
                if word in _DOUBTFUL:
                    self.topology.doubt()
            left = begun + PATIENCE - time.monotonic()
            if left <= 0 or lost == self._address.attempts:
                break
            # Rivals that met once are not to meet again.
            time.sleep(min(pause * random.uniform(0.5, 1), left))
        LOG.error('Redis does not answer: %s', cause)
        raise StoreUnavailable from cause

    def _exchange(
        self,
        key: str,
        commands: Sequence[Command],
        until: float | None,
        script: Script | None,
    ) -> list[Any]:
        answers = self.topology.exchange(key, commands, until)
        if script is None or code(answers[0]) != 'NOSCRIPT':
            return answers
        # It has been restarted, or has never seen us.
        _, _, *rest = commands[0]
        whole = 'EVAL', script.text, *rest
        return self.topology.exchange(key, [whole, *commands[1:]], until)


def _checked(answers: list[Any]) -> list[Any]:
    """Return answers without errors.

    :raises StoreUnavailable: the server refuses what we may not do
    """
    for answer in answers:
        word = code(answer)
        if word in _REFUSALS:
            LOG.error('Redis refuses a command: %s %s', word, answer)
            raise StoreUnavailable
        if isinstance(answer, exceptions.RedisError):
            raise answer
    return answers

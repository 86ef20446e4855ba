# SPDX-License-Identifier: Apache-2.0
"""Attempts to deliver messages, as they are recorded for their owner.

They are a member of the record with the statistics of a subscription, and are
written with these: failures, and the last success.

:source: reference/delivery, "Attempts"
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args
from urllib.parse import quote

import msgspec

from zaqar.objects import Scope

#: The member of the record.
MEMBER = 'attempts'

#: The queue or topic and the id of a subscription.
Key = tuple[Scope, str]

#: Failures that are recorded for a subscription, and seconds for which they
#: are shown.
MOST, LIFETIME = 100, 7 * 86_400

#: Characters of an error.
_LONGEST = 200

Outcome = Literal['delivered', 'retried', 'given_up']
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

#: Attempts as they are in a record.
Rows = Sequence[Sequence[Any]]


class Attempt(msgspec.Struct, frozen=True, array_like=True):
    """An attempt to deliver a message.

    :ivar id: of the delivery, as receivers get it; the same in all attempts.
        In a record without its :func:`prefix`
    :ivar at: when it began, in milliseconds
    :ivar attempt: 1 for the first one
    :ivar outcome: ``retried`` if it is to be repeated
    :ivar http_status: of the answer, None without one
    :ivar duration_ms: milliseconds that it took
    :ivar error: why it failed, '' on success
    :ivar next_at: when the next attempt is due, None without one
    :ivar pool: name of that in which the delivery is kept to be sent again
    :ivar copy_id: its id there, '' if it is not kept
    """

    id: str
    at: int
    attempt: int
    outcome: Outcome
    http_status: int | None = None
    duration_ms: int = 0
    error: str = ''
    next_at: int | None = None
    pool: str = ''
    copy_id: str = ''

    @property
    def key(self) -> tuple[int, int, str]:
        """Its place in the order of attempts."""
        return self.at, self.attempt, self.id

    @property
    def marker(self) -> str:
        return f'{self.at}-{self.attempt}-{self.id}'

    def row(self, start: str = '') -> Sequence[Any]:
        """Return it as it is recorded, without the start of its id."""
        row: Sequence[Any] = msgspec.to_builtins(
            msgspec.structs.replace(
                self,
                id=self.id.removeprefix(start),
                error=self.error[:_LONGEST],
            )
        )
        return row


def prefix(key: Key) -> str:
    """Return how the ids of all deliveries of a subscription begin.

    Receivers get them, and they are signed: they name whom a message is for.
    """
    scope, subscription_id = key
    return f'{quote(scope.project, "")}.{subscription_id}.'


def rows(key: Key, attempts: Sequence[Attempt]) -> Rows:
    """Return attempts of a subscription as they are recorded."""
    start = prefix(key)
    return [attempt.row(start) for attempt in attempts]


def merged(
    old: Rows, new: Rows, most: int = MOST, lifetime: int = LIFETIME
) -> tuple[list[Sequence[Any]], list[Attempt]]:
    """Add attempts to others.

    :returns: those to record, the oldest first, and those that are dropped
    """
    attempts = sorted(
        (_read(row) for row in (*old, *new)), key=lambda one: one.key
    )
    since = attempts[-1].at - lifetime * 1000 if attempts else 0
    failures = [one for one in attempts if one.outcome != 'delivered']
    recorded = {
        one.key
        for one in failures[max(len(failures) - most, 0) :]
        if one.at > since
    }
    recorded.update(
        one.key
        for one in [one for one in attempts if one.outcome == 'delivered'][-1:]
    )
    rows = [one.row() for one in attempts if one.key in recorded]
    return rows, [one for one in attempts if one.key not in recorded]


def read(
    key: Key, data: Mapping[str, Any], now: int, lifetime: int = LIFETIME
) -> Sequence[Attempt]:
    """Return the attempts in the record of a subscription, the newest first.

    :param now: in milliseconds
    """
    start = prefix(key)
    attempts = [_full(_read(row), start) for row in data.get(MEMBER, ())]
    since = now - lifetime * 1000
    shown = [one for one in attempts if one.at > since]
    return sorted(shown, key=lambda one: one.key, reverse=True)


def behind(attempts: Sequence[Attempt], marker: str) -> Sequence[Attempt]:
    """Return those behind a marker, none if it is malformed."""
    at, _, rest = marker.partition('-')
    attempt, _, name = rest.partition('-')
    if not (at.isdecimal() and attempt.isdecimal() and len(marker) < 4096):
        return ()
    key = int(at), int(attempt), name
    return [one for one in attempts if one.key < key]


def _full(attempt: Attempt, start: str) -> Attempt:
    # Those of earlier releases name no project, and are recorded as they are.
    if attempt.id.count('.') > 1:
        return attempt
    return msgspec.structs.replace(attempt, id=start + attempt.id)


def _read(row: Sequence[Any]) -> Attempt:
    return msgspec.convert(row, Attempt)

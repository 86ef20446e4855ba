# SPDX-License-Identifier: Apache-2.0
"""When subscriptions end, in that order, for who tidies up.

A record of kind ``ending`` stands under the moment at which a subscription
ends, and names it. It is made before the subscription says so, hence one may
be left over, but none is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from zaqar.models import Kind, Record, Scope
from zaqar.storage.base import ManagementStore

KIND = 'ending'

#: What all of them stand under: the text is our own, no project's.
PARENT = 'subscriptions'

#: Hexadecimal digits of a moment in milliseconds.
_DIGITS = 14


@dataclass(frozen=True, slots=True)
class Ending:
    """A subscription that has ended, unless its life was changed."""

    scope: Scope
    subscription_id: str
    name: str


def note(
    store: ManagementStore, scope: Scope, subscription_id: str, at: int
) -> None:
    """Note when a subscription will end.

    :param at: in milliseconds
    """
    place = {'kind': scope.kind, 'project': scope.project, 'name': scope.name}
    store.create(KIND, PARENT, _name(subscription_id, at), place)


def forget(store: ManagementStore, subscription_id: str, at: int) -> None:
    """Note that it will not end then."""
    store.delete(KIND, PARENT, _name(subscription_id, at))


def past(store: ManagementStore, now: int, most: int) -> Iterator[Ending]:
    """Yield what has ended, ``most`` of them, the oldest first."""
    found = store.list(KIND, PARENT, after=None, limit=most)
    for record in found:
        if int(record.name[:_DIGITS], 16) > now:
            return
        yield _ending(record)


def _name(subscription_id: str, at: int) -> str:
    return f'{at:0{_DIGITS}x}{subscription_id}'


def _ending(record: Record) -> Ending:
    place = record.data
    scope = Scope(place['project'], place['name'], Kind(place['kind']))
    return Ending(scope, record.name[_DIGITS:], record.name)

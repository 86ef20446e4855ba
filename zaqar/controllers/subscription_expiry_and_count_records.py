# SPDX-License-Identifier: Apache-2.0
"""Indexes of subscriptions: by expiry time to sweep, by project to count them.

A record of kind ``ending`` is named after the moment at which a subscription
expires, and its id. It is created before the subscription says so, hence one
may be left over, but none is missing. The same holds for a record of kind
``subscribed`` under the project, which is named after the id.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from zaqar.objects import Kind, Scope
from zaqar.storage.abstract_stores import ManagementStore

ENDING = 'ending'
COUNTED = 'subscribed'

#: The parent of all records by expiry time.
PARENT = 'subscriptions'

#: Hexadecimal digits of a moment in milliseconds.
_DIGITS = 14


@dataclass(frozen=True, slots=True)
class Expiry:
    """An entry of the index; the subscription may have changed since."""

    scope: Scope
    subscription_id: str
    name: str


def add(
    store: ManagementStore, scope: Scope, subscription_id: str, at: int
) -> None:
    """Index the expiry of a subscription, in milliseconds.

    With it the subscription is counted, even if an older release has made it.
    """
    place = {'kind': scope.kind, 'name': scope.name}
    store.create(COUNTED, scope.project, subscription_id, place)
    place = {'kind': scope.kind, 'project': scope.project, 'name': scope.name}
    store.create(ENDING, PARENT, _name(subscription_id, at), place)


def remove(store: ManagementStore, subscription_id: str, at: int) -> None:
    store.delete(ENDING, PARENT, _name(subscription_id, at))


def uncount(
    store: ManagementStore, scope: Scope, subscription_id: str
) -> None:
    store.delete(COUNTED, scope.project, subscription_id)


def count(store: ManagementStore, project: str) -> int:
    """Count the subscriptions of a project.

    Among them those that have expired and are still to be swept.
    """
    return store.count(COUNTED, project)


def past(store: ManagementStore, now: int, limit: int) -> Iterator[Expiry]:
    """Yield up to ``limit`` past expiries, the oldest first."""
    for record in store.list(ENDING, PARENT, after=None, limit=limit):
        if int(record.name[:_DIGITS], 16) > now:
            return
        place = record.data
        scope = Scope(place['project'], place['name'], Kind(place['kind']))
        yield Expiry(scope, record.name[_DIGITS:], record.name)


def _name(subscription_id: str, at: int) -> str:
    return f'{at:0{_DIGITS}x}{subscription_id}'

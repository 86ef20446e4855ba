# SPDX-License-Identifier: Apache-2.0
"""Index of subscriptions by expiry time, for the sweeper.

A record of kind ``ending`` is named after the moment at which a subscription
expires, and its id. It is created before the subscription says so, hence one
may be left over, but none is missing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from zaqar.controllers import project_subscriptions
from zaqar.models import Kind, Scope
from zaqar.storage.base import ManagementStore

KIND = 'ending'

#: The parent of all of them.
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
    project_subscriptions.add(store, scope, subscription_id)
    place = {'kind': scope.kind, 'project': scope.project, 'name': scope.name}
    store.create(KIND, PARENT, _name(subscription_id, at), place)


def remove(store: ManagementStore, subscription_id: str, at: int) -> None:
    store.delete(KIND, PARENT, _name(subscription_id, at))


def past(store: ManagementStore, now: int, limit: int) -> Iterator[Expiry]:
    """Yield up to ``limit`` past expiries, the oldest first."""
    for record in store.list(KIND, PARENT, after=None, limit=limit):
        if int(record.name[:_DIGITS], 16) > now:
            return
        place = record.data
        scope = Scope(place['project'], place['name'], Kind(place['kind']))
        yield Expiry(scope, record.name[_DIGITS:], record.name)


def _name(subscription_id: str, at: int) -> str:
    return f'{at:0{_DIGITS}x}{subscription_id}'

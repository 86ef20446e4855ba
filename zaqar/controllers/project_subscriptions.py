# SPDX-License-Identifier: Apache-2.0
"""Index of subscriptions by project, to count them.

A record of kind ``subscribed`` is named after the id of a subscription. It is
created before the subscription and removed after it, so that none is missing.
"""

from zaqar.models import Scope
from zaqar.storage.base import ManagementStore

KIND = 'subscribed'


def add(store: ManagementStore, scope: Scope, subscription_id: str) -> None:
    place = {'kind': scope.kind, 'name': scope.name}
    store.create(KIND, scope.project, subscription_id, place)


def remove(store: ManagementStore, scope: Scope, subscription_id: str) -> None:
    store.delete(KIND, scope.project, subscription_id)


def count(store: ManagementStore, project: str) -> int:
    """Count the subscriptions of a project.

    Among them those that have expired and are still to be swept.
    """
    return store.count(KIND, project)

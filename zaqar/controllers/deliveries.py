# SPDX-License-Identifier: Apache-2.0
"""What became of the deliveries of a subscription, for its owner.

A record of kind ``deliveries`` stands beside a subscription, under its id,
from the first delivery or confirmation notice on. Notifiers add to it about
every second, so that who asks sees what was a moment ago, and a notifier that
is killed takes its last second of counts along: counts, not deliveries.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

from zaqar.models import Scope
from zaqar.storage.base import ManagementStore
from zaqar.storage.records import Data, update

KIND = 'deliveries'

#: What is counted.
COUNTS = ('delivered', 'retried', 'given_up')

#: Milliseconds between two confirmation notices of one kind.
ASK_INTERVAL = 60_000


def parent(scope: Scope) -> str:
    """Return what the records of a queue's subscriptions stand under."""
    # The name holds no slash, so no two scopes share a parent.
    return f'{scope.kind}/{scope.name}/{scope.project}'


def read(store: ManagementStore, scope: Scope, subscription_id: str) -> Data:
    """Return what is known, nothing before the first delivery."""
    record = store.get(KIND, parent(scope), subscription_id)
    return {} if record is None else record.data


def shown(data: Data) -> dict[str, Any]:
    """Return what the owner sees."""
    failure = data.get('last_failure')
    found: dict[str, Any] = {key: data.get(key, 0) for key in COUNTS}
    found['last_delivery_at'] = _moment(data.get('last_delivery_at'))
    found['last_failure'] = failure and {
        'at': _moment(failure['at']),
        'reason': failure['reason'],
        'given_up': failure['given_up'],
    }
    return found


def change(
    store: ManagementStore,
    scope: Scope,
    subscription_id: str,
    edit: Callable[[Data], Data | None],
) -> bool:
    """Change a record, made if it is missing.

    :param edit: returns the data as it is to be, None to leave it
    :returns: whether it was changed
    """
    data = update(
        store,
        (KIND, parent(scope), subscription_id),
        lambda record: edit(record.data if record else {}),
    )
    return data is not None


def ask_now(
    store: ManagementStore,
    scope: Scope,
    subscription_id: str,
    *,
    wanted: bool,
    now: int,
) -> bool:
    """Tell whether a confirmation notice may go out, and note that it does.

    Whoever may subscribe could otherwise have anybody flooded with mail.
    """
    key = 'asked_at' if wanted else 'unasked_at'

    def edit(data: Data) -> Data | None:
        last = data.get(key)
        if last is not None and now - last < ASK_INTERVAL:
            return None
        return {**data, key: now}

    return change(store, scope, subscription_id, edit)


def fail(
    store: ManagementStore,
    scope: Scope,
    subscription_id: str,
    reason: str,
    now: int,
) -> None:
    """Note that a subscriber could not even be asked."""
    failure = {'at': now, 'reason': reason, 'given_up': True}
    change(
        store,
        scope,
        subscription_id,
        lambda data: {**data, 'last_failure': failure},
    )


def forget(store: ManagementStore, scope: Scope, subscription_id: str) -> None:
    """Remove what is known of a subscription that has ended."""
    store.delete(KIND, parent(scope), subscription_id)


def _moment(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    found = datetime.datetime.fromtimestamp(milliseconds // 1000, datetime.UTC)
    return found.strftime('%Y-%m-%dT%H:%M:%SZ')

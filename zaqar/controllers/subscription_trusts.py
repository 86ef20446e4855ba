# SPDX-License-Identifier: Apache-2.0
"""Trusts of subscriptions whose subscribers are notified with a token.

The trust is always that of the user who has last changed where and how the
token is sent: nobody may send the token of another user somewhere else.
"""

import datetime
import logging
import math
from collections.abc import Callable
from typing import Any

from zaqar import request_deadline
from zaqar.controllers import (
    subscription_records,
    trust_interface,
    trusts_to_delete,
)
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.trust_interface import (
    BROUGHT,
    OPTION,
    TrustRefused,
    Trusts,
)
from zaqar.errors import InvalidRequest, StoreUnavailable
from zaqar.objects import Scope, Subscription

LOG = logging.getLogger(__name__)


def attach(ctx: Context, data: dict[str, Any], now: int) -> str | None:
    """Add a trust to the data of a new subscription.

    The subscription expires with the trust at the latest.

    :param data: see :func:`zaqar.controllers.subscription_records.data_of`;
        changed in place
    :returns: the id of a trust that was created for it, None if none was
    :raises InvalidRequest: the subscriber takes no token, or there can be none
    :raises TrustRefused: the caller may not use it
    """
    options = dict(data['options'])
    brought = options.pop(OPTION, None)
    data['options'] = options
    if not trust_interface.is_wanted(data['subscriber']):
        if brought is not None:
            raise InvalidRequest(
                f'The option {OPTION} is for trust+http and trust+https '
                'subscribers.'
            )
        return None
    keystone = _keystone(ctx)
    if brought is not None:
        ends_at = keystone.check(ctx.identity, brought)
        options[BROUGHT] = brought
        _cut(ctx, data, ends_at, now)
        return None
    trust_id, ends_at = keystone.create(ctx.identity, data['ttl'])
    options[OPTION] = trust_id
    _cut(ctx, data, ends_at, now)
    return trust_id


def renew(
    ctx: Context,
    old: Subscription,
    data: dict[str, Any],
    brought: str | None,
    now: int,
) -> str | None:
    """Add a trust to the changed data of a subscription.

    The current one stays if it is of the caller and lasts as long.

    :param data: as for :func:`attach`
    :param brought: the trust that the change names
    :returns: as :func:`attach`
    """
    options: dict[str, Any] = {
        name: value
        for name, value in data['options'].items()
        if name not in (OPTION, BROUGHT)
    }
    data['options'] = options
    if brought is None and _keeps(ctx, old, data, now):
        return None
    if brought is not None:
        options[OPTION] = brought
    return attach(ctx, data, now)


def _keeps(
    ctx: Context, old: Subscription, data: dict[str, Any], now: int
) -> bool:
    """Keep the current trust, if it suffices and is of the caller."""
    had = trust_interface.used(old.options)
    is_ours = OPTION in old.options
    lasts = data['expires_at'] == old.expires_at
    if had is None or not trust_interface.is_wanted(data['subscriber']):
        return False
    if is_ours and not lasts:
        return False
    try:
        ends_at = _keystone(ctx).check(ctx.identity, had)
    except TrustRefused:
        return False
    data['options'][OPTION if is_ours else BROUGHT] = had
    if not lasts:
        _cut(ctx, data, ends_at, now)
    return True


def _keystone(ctx: Context) -> Trusts:
    if ctx.trusts is None:
        raise InvalidRequest(
            'Subscribers that want a token need a service with Keystone and '
            'a user that can be trusted.'
        )
    return ctx.trusts


def _cut(
    ctx: Context,
    data: dict[str, Any],
    ends_at: datetime.datetime | None,
    now: int,
) -> None:
    """Let a subscription expire with its trust."""
    if ends_at is None:
        return
    left = math.floor((ends_at - ctx.signer.now()).total_seconds())
    if left < data['ttl']:
        data['ttl'] = max(1, left)
        data['expires_at'] = now + data['ttl'] * 1000


def end_unused(
    ctx: Context,
    scope: Scope,
    trust_ids: set[str | None],
    find: Callable[[], str | None],
) -> None:
    """End trusts that a subscription does not use after a failed change.

    The store may have recorded it, though the answer was lost.

    :param find: returns the id of the subscription
    """
    trust_ids.discard(None)
    if not trust_ids:
        return
    try:
        with request_deadline.undoing():
            used = subscription_records.trust_of(ctx, scope, find())
    except StoreUnavailable:
        LOG.warning(
            'A store did not tell whether the trust of a subscription is '
            'used: it lasts until it expires.'
        )
        return
    for trust_id in trust_ids - {used}:
        trusts_to_delete.end(ctx, trust_id)

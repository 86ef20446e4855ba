# SPDX-License-Identifier: Apache-2.0
"""The secret of a subscription, for its project: shown and replaced.

:source: reference/delivery, "Signatures"
"""

from __future__ import annotations

from zaqar.controllers import subscription_records as records
from zaqar.controllers import subscription_signing_keys
from zaqar.controllers.call_context import Context
from zaqar.controllers.subscription_signing_keys import Key
from zaqar.errors import Forbidden, NotFound
from zaqar.models import Scope
from zaqar.storage.record_updates_and_listing import repeat


def show(ctx: Context, *, scope: Scope, subscription_id: str) -> Key:
    """Return the key of a subscription.

    :raises NotFound: it does not exist, or the service has made no key for it
    :raises Forbidden: the caller has nothing but a pre-signed URL
    """
    _check_caller(ctx)
    now = ctx.catalogue.management.clock.now()
    subscription, _ = records.current(ctx, scope, subscription_id, now)
    key = subscription_signing_keys.made(subscription.options, now)
    if key is None:
        raise NotFound(
            f'The service has made no secret for subscription '
            f'{subscription_id}. POST makes one, in place of any other.'
        )
    return key


def rotate(ctx: Context, *, scope: Scope, subscription_id: str) -> Key:
    """Make another key; the former one stays valid for a day.

    :raises NotFound: the subscription does not exist
    :raises Forbidden: the caller has nothing but a pre-signed URL
    """
    _check_caller(ctx)
    now = ctx.catalogue.management.clock.now()

    def attempt() -> Key | None:
        old, version = records.current(ctx, scope, subscription_id, now)
        options = subscription_signing_keys.rotated(old.options, now)
        data = {**records.data_of(old), 'options': options}
        if not records.replace(ctx, scope, old, data, version):
            return None
        return subscription_signing_keys.made(options, now)

    return repeat(attempt)


def _check_caller(ctx: Context) -> None:
    # Such a URL gives access to the subscriptions of a queue, but whoever has
    # a secret can forge what their receivers get.
    if ctx.identity.signed is not None:
        raise Forbidden

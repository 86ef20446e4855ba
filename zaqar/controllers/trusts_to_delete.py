# SPDX-License-Identifier: Apache-2.0
"""Trusts to delete in Keystone, which no subscription uses any more.

Each is recorded first: Keystone may not respond, or the process may die.
"""

import contextlib
import random

from zaqar import request_deadline
from zaqar.controllers.caller_and_services import Context
from zaqar.errors import StoreUnavailable

KIND = 'ended_trust'

#: The parent of all of them.
PARENT = 'subscriptions'


def end(ctx: Context, trust_id: str | None) -> None:
    """Delete a trust, if there is one, now or with a later sweep."""
    if trust_id is None or ctx.trusts is None:
        return
    store = ctx.catalogue.management
    # Without the store there is this one try.
    with contextlib.suppress(StoreUnavailable), request_deadline.undoing():
        store.create(KIND, PARENT, trust_id, {})
    if ctx.trusts.delete(trust_id):
        with contextlib.suppress(StoreUnavailable):
            store.delete(KIND, PARENT, trust_id)


def sweep(ctx: Context, batch: int) -> None:
    """Delete trusts that could not be, until Keystone does not respond."""
    if ctx.trusts is None:
        return
    store = ctx.catalogue.management
    records = store.list(KIND, PARENT, after=None, limit=batch)
    # One that Keystone always fails at must not keep the others for ever.
    for record in random.sample(records, len(records)):
        if not ctx.trusts.delete(record.name):
            return
        store.delete(KIND, PARENT, record.name)

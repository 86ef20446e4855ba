# SPDX-License-Identifier: Apache-2.0
"""Trusts of Keystone, as controllers ask for them.

:source: notifications.md 7
"""

from __future__ import annotations

from typing import Protocol

from zaqar.models import Identity

#: Where a subscription keeps the id of its trust; never shown, never taken.
OPTION = 'trust_id'


class Trusts(Protocol):
    """Makes and ends trusts."""

    def create(self, identity: Identity, seconds: int) -> str:
        """Let our user act for the caller in the caller's project.

        :param seconds: how long
        :returns: the id of the trust
        :raises InvalidRequest: there is no caller whom Keystone knows
        :raises StoreUnavailable: Keystone does not do it
        """

    def delete(self, trust_id: str) -> None:
        """End a trust; one that is gone or cannot be ended is logged."""


def is_wanted(subscriber: str) -> bool:
    """Tell whether a subscriber is told with a token."""
    return subscriber.lower().startswith('trust+')


def end(trusts: Trusts | None, trust_id: str | None) -> None:
    """End a trust, if there is one and there is who can."""
    if trust_id is not None and trusts is not None:
        trusts.delete(trust_id)

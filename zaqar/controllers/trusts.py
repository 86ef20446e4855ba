# SPDX-License-Identifier: Apache-2.0
"""Trusts of Keystone, as controllers ask for them.

:source: Identity API v3, "OS-TRUST"
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, Protocol

from zaqar.errors import ZaqarError
from zaqar.models import Identity

#: Where a subscription keeps the id of its trust: one that we have made, which
#: ends with it, under the name by which a client may bring one.
OPTION = 'trust_id'

#: Where it keeps the id of one that the client has brought, which is not ours
#: to end.
BROUGHT = '_brought_trust_id'


class TrustRefused(ZaqarError):
    """The caller cannot let our user act for it."""

    status = 403
    default_title = 'Not authorized'


class Trusts(Protocol):
    """Makes, checks and ends trusts."""

    def create(
        self, identity: Identity, seconds: int
    ) -> tuple[str, datetime.datetime | None]:
        """Let our user act for the caller in the caller's project.

        :param seconds: how long
        :returns: the id of the trust, and when it ends if the caller's own
            token allows no more than that
        :raises InvalidRequest: there is no caller whom Keystone knows
        :raises TrustRefused: Keystone refuses it to this caller
        :raises StoreUnavailable: Keystone does not answer
        """

    def check(
        self, identity: Identity, trust_id: str
    ) -> datetime.datetime | None:
        """Return when a trust ends that is the caller's, None for never.

        :raises InvalidRequest: there is no caller whom Keystone knows
        :raises TrustRefused: it is not, or the caller's token is itself a
            delegated one
        :raises StoreUnavailable: Keystone does not answer
        """

    def delete(self, trust_id: str) -> None:
        """End a trust; one that is gone or cannot be ended is logged."""


def is_wanted(subscriber: str) -> bool:
    """Tell whether a subscriber is notified with a token."""
    return subscriber.lower().startswith('trust+')


def used(options: Mapping[str, Any]) -> str | None:
    """Return the id of the trust that a subscription uses."""
    found: str | None = options.get(OPTION) or options.get(BROUGHT)
    return found


def end(trusts: Trusts | None, trust_id: str | None) -> None:
    """End a trust, if there is one and there is who can."""
    if trust_id is not None and trusts is not None:
        trusts.delete(trust_id)

# SPDX-License-Identifier: Apache-2.0
"""The interface to trusts in Keystone.

:source: Identity API v3, "OS-TRUST"
"""

import datetime
from collections.abc import Mapping
from typing import Any, Protocol

from zaqar.errors import ZaqarError
from zaqar.identity import Identity

#: Option with the id of the trust of a subscription, which the service has
#: created and deletes with it. A client may name its own by the same option.
OPTION = 'trust_id'

#: Option with the id of a trust that the client has named, which the service
#: does not delete.
BROUGHT = '_brought_trust_id'


class TrustRefused(ZaqarError, status=403, title='Not authorized'):
    """The caller cannot make the service its trustee."""


class Trusts(Protocol):
    """Creates, checks and deletes trusts."""

    def create(
        self, identity: Identity, seconds: int
    ) -> tuple[str, datetime.datetime | None]:
        """Create a trust of the caller in the service, for its project.

        :param seconds: how long it lasts
        :returns: the id of the trust, and when it expires if the token of the
            caller limits that
        :raises InvalidRequest: the caller has no token
        :raises TrustRefused: Keystone refuses it
        :raises StoreUnavailable: Keystone does not respond
        """

    def check(
        self, identity: Identity, trust_id: str
    ) -> datetime.datetime | None:
        """Return when a trust of the caller expires, None for never.

        :raises InvalidRequest: the caller has no token
        :raises TrustRefused: it is of another user, or the token of the
            caller is itself delegated
        :raises StoreUnavailable: Keystone does not respond
        """

    def delete(self, trust_id: str) -> bool:
        """Delete a trust; failures are only logged.

        :returns: False if the same call may succeed later
        """


def is_wanted(subscriber: str) -> bool:
    """Return whether a subscriber is notified with a token."""
    return subscriber.lower().startswith('trust+')


def used(options: Mapping[str, Any]) -> str | None:
    """Return the id of the trust that a subscription uses."""
    trust_id: str | None = options.get(OPTION) or options.get(BROUGHT)
    return trust_id

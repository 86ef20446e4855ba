# SPDX-License-Identifier: Apache-2.0
"""Who makes a request, and what its signature gives access to.

The service itself makes some: see :func:`service_identity`.
"""

import datetime
from collections.abc import Mapping
from typing import Any

import msgspec


class SignedAccess(msgspec.Struct, frozen=True):
    """The access that a signature gives: a pre-signed URL, or a confirmation.

    :ivar ends_at: when it expires
    :ivar fingerprint: of the only queue that it reaches, '' for any
    """

    ends_at: datetime.datetime
    fingerprint: str = ''


class Identity(msgspec.Struct, frozen=True):
    """The caller of a request, as authenticated by the transport.

    :ivar project: owner of all data of the request
    :ivar client: canonical client id
    :ivar values: other credentials for policy rules
    :ivar token: the caller's token; never logged
    :ivar address: URI under which messages can be pushed to the caller's own
        connection, '' without one
    :ivar validated: Keystone's record of the token
    :ivar signed: what its signature gives, None without one
    """

    project: str
    client: str
    roles: tuple[str, ...] = ()
    request_id: str | None = None
    values: Mapping[str, Any] = msgspec.field(default_factory=dict)
    token: str | None = None
    address: str = ''
    signed: SignedAccess | None = None
    validated: Mapping[str, Any] | None = None

    def __repr__(self) -> str:
        """Return it without the token and Keystone's record of it."""
        return f'Identity({self.project!r}, {self.client!r}, {self.roles!r})'


#: Client id of the service itself, and of all records in the outbox.
SERVICE_CLIENT = '00000000-0000-0000-0000-000000000000'


def service_identity(project: str) -> Identity:
    """Return the identity under which notifiers work for a project."""
    return Identity(project, SERVICE_CLIENT)

# SPDX-License-Identifier: Apache-2.0
"""What Keystone has said of a caller's token, for making trusts.

Read from what keystonemiddleware has validated already.

:source: Identity API v3, "Authentication and token management", "OS-TRUST"
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keystoneauth1 import exceptions

from zaqar.controllers.trusts import TrustRefused
from zaqar.errors import InvalidRequest
from zaqar.models import Identity

_TRUST = 'OS-TRUST:trust'

#: Members of tokens that somebody else's right has led to, or a part of it.
_DELEGATED = frozenset((_TRUST, 'application_credential', 'OS-OAUTH1'))
_METHODS = frozenset(
    ('application_credential', 'oauth1', 'ec2credential', 'oauth2_credential')
)

#: Answers after which the same request may be fine.
_PASSING = frozenset((408, 409, 429))

#: Ids, which reasons of Keystone may hold.
_ID = re.compile(r'\b[0-9a-f]{32}\b')


@dataclass(frozen=True, slots=True)
class Grantor:
    """Somebody who has shown a token for a project.

    :ivar roles: their ids
    :ivar trust_id: of the trust that the token was made for, if any
    :ivar is_delegated: whether it is less than the user's own token
    """

    token: str
    user_id: str
    project_id: str
    roles: frozenset[str]
    trust_id: str | None
    is_delegated: bool


def grantor(identity: Identity) -> Grantor:
    """Return who could make a trust.

    :raises InvalidRequest: there is no token for a project
    """
    said = identity.validated or {}
    if identity.token is None or 'project' not in said:
        raise InvalidRequest(
            'Only a caller with a token can have a subscriber notified with '
            'a token.'
        )
    return Grantor(
        identity.token,
        said['user']['id'],
        said['project']['id'],
        frozenset(role['id'] for role in said.get('roles') or ()),
        (said.get(_TRUST) or {}).get('id'),
        _is_delegated(said),
    )


def _is_delegated(said: Mapping[str, Any]) -> bool:
    methods = said.get('methods') or ()
    # Some versions of Keystone lose the names of odd methods.
    return (
        not methods
        or not _METHODS.isdisjoint(methods)
        or not _DELEGATED.isdisjoint(said)
    )


def is_final(error: exceptions.ClientException) -> bool:
    """Tell whether Keystone would refuse the same request again."""
    status = getattr(error, 'http_status', 0)
    return 400 <= status < 500 and status not in _PASSING


def refusal(error: exceptions.ClientException) -> TrustRefused:
    """Return Keystone's refusal for the caller."""
    reason = without_ids(error).partition(' (HTTP ')[0]
    return TrustRefused(f'The identity service has refused a trust: {reason}')


def without_ids(error: exceptions.ClientException) -> str:
    """Return what an error says, without ids: they may be those of trusts."""
    return _ID.sub('...', str(error))


def roles(trust: Mapping[str, Any]) -> frozenset[str]:
    """Return the ids of the roles of a trust."""
    return frozenset(role['id'] for role in trust.get('roles') or ())


def admits(trust: Mapping[str, Any], caller: Grantor, trustee: str) -> bool:
    """Tell whether a caller may have us use a trust that it names."""
    return (
        trust.get('trustee_user_id') == trustee
        and trust.get('trustor_user_id') == caller.user_id
        and trust.get('project_id') == caller.project_id
        and roles(trust) <= caller.roles
    )

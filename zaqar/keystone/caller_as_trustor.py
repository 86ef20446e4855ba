# SPDX-License-Identifier: Apache-2.0
"""Checks of the caller as a trustor, by the token of the request.

:source: Identity API v3, "Authentication and token management", "OS-TRUST"
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zaqar.errors import InvalidRequest
from zaqar.identity import Identity

_TRUST = 'OS-TRUST:trust'

#: Members and methods of tokens that are delegated or restricted.
_DELEGATED = frozenset((_TRUST, 'application_credential', 'OS-OAUTH1'))
_METHODS = frozenset(
    ('application_credential', 'oauth1', 'ec2credential', 'oauth2_credential')
)


@dataclass(frozen=True, slots=True)
class Trustor:
    """A user with a token for a project.

    :ivar roles: ids of the roles
    :ivar trust_id: id of the trust that the token is for, if any
    :ivar is_delegated: whether the token is delegated or restricted
    """

    token: str
    user_id: str
    project_id: str
    roles: frozenset[str]
    trust_id: str | None
    is_delegated: bool


def trustor(identity: Identity) -> Trustor:
    """Return the caller as the trustor of a new trust.

    :raises InvalidRequest: the caller has no token for a project
    """
    token = identity.validated or {}
    if identity.token is None or 'project' not in token:
        raise InvalidRequest(
            'Only a caller with a token can have a subscriber notified with '
            'a token.'
        )
    return Trustor(
        identity.token,
        token['user']['id'],
        token['project']['id'],
        frozenset(role['id'] for role in token.get('roles') or ()),
        (token.get(_TRUST) or {}).get('id'),
        _is_delegated(token),
    )


def _is_delegated(token: Mapping[str, Any]) -> bool:
    methods = token.get('methods') or ()
    # Some versions of Keystone lose the names of odd methods.
    return (
        not methods
        or not _METHODS.isdisjoint(methods)
        or not _DELEGATED.isdisjoint(token)
    )


def roles(trust: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(role['id'] for role in trust.get('roles') or ())


def admits(trust: Mapping[str, Any], caller: Trustor, trustee: str) -> bool:
    """Return whether a caller may subscribe with an existing trust."""
    return (
        trust.get('trustee_user_id') == trustee
        and trust.get('trustor_user_id') == caller.user_id
        and trust.get('project_id') == caller.project_id
        and roles(trust) <= caller.roles
    )

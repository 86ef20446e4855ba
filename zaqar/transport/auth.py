# SPDX-License-Identifier: Apache-2.0
"""Who is asking: from verified headers to an identity.

With ``auth_strategy = keystone`` the headers read here were put in by
keystonemiddleware, which removes those that came from the network. Without,
they *are* the identity, and whoever reaches the port is trusted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oslo_config import cfg

from zaqar.api import identity_checks
from zaqar.controllers.limits import Limits
from zaqar.controllers.signatures import Grant, Signer, moment
from zaqar.errors import ConfigurationError, InvalidRequest
from zaqar.models import Identity

KEYSTONE = 'keystone'

OPTS = [
    cfg.StrOpt(
        'auth_strategy',
        default='',
        help='How callers prove who they are: "keystone" for tokens, or empty '
        'to believe the headers of a request (X-Project-ID, X-Roles), for '
        'trusted networks only.',
    ),
]

#: Credentials offered to policy rules, by the environment that holds them.
_VALUES = {
    'user_id': 'HTTP_X_USER_ID',
    'user_domain_id': 'HTTP_X_USER_DOMAIN_ID',
    'project_domain_id': 'HTTP_X_PROJECT_DOMAIN_ID',
    'domain_id': 'HTTP_X_DOMAIN_ID',
    'system_scope': 'HTTP_OPENSTACK_SYSTEM_SCOPE',
}

#: What stands in for a missing project without Keystone.
_PROJECT = ('HTTP_X_PROJECT_ID', 'HTTP_X_TENANT_ID', 'HTTP_X_TENANT')


#: Key of a request's environment: what Keystone has said of the token.
TOKEN_INFO = 'keystone.token_info'

#: Key of a request's environment: when its pre-signed URL ends.
ENDS_AT = 'zaqar.ends_at'

#: How headers begin that speak of an identity ...
_CLAIMS = ('HTTP_X_', 'HTTP_OPENSTACK_')

#: ... and those that begin so and do not, or are covered by the signature.
_HARMLESS = frozenset(('HTTP_X_PROJECT_ID', 'HTTP_X_OPENSTACK_REQUEST_ID'))


def strategy(conf: cfg.ConfigOpts) -> str:
    """Return ``keystone`` or the empty text.

    :raises ConfigurationError: another value is set
    """
    conf.register_opts(OPTS)
    found: str = conf.auth_strategy or ''
    if found not in ('', KEYSTONE):
        raise ConfigurationError(
            f'[DEFAULT] auth_strategy = {found}: must be "keystone" or empty'
        )
    return found


def identity(
    environ: Mapping[str, Any], limits: Limits, *, verified: bool
) -> Identity:
    """Return the identity of a request; check Client-ID, then project.

    :param verified: whether Keystone has vouched for the headers
    :raises InvalidRequest: one is missing or malformed
    """
    client = identity_checks.client_id(environ.get('HTTP_CLIENT_ID'), limits)
    names = _PROJECT[:1] if verified else _PROJECT
    found = next((environ[key] for key in names if key in environ), None)
    project = identity_checks.project(found if found is None else _text(found))
    return Identity(
        project,
        client,
        _roles(environ.get('HTTP_X_ROLES', '')),
        environ.get('openstack.request_id'),
        {
            name: environ[key]
            for name, key in _VALUES.items()
            if key in environ
        },
        environ.get('HTTP_X_AUTH_TOKEN') if verified else None,
        ends_at=environ.get(ENDS_AT),
        validated=environ.get(TOKEN_INFO, {}).get('token'),
    )


def is_signed(environ: Mapping[str, Any], signer: Signer) -> bool:
    """Tell whether the signature of a request opens what it asks for."""
    try:
        project = _text(environ.get('HTTP_X_PROJECT_ID', ''))
    except InvalidRequest:
        return False
    grant = Grant(
        environ.get('HTTP_URL_PATHS', '').split(','),
        environ.get('HTTP_URL_METHODS', '').split(','),
        project,
        environ.get('HTTP_URL_EXPIRES', ''),
    )
    return bool(project) and signer.admits(
        grant,
        environ['HTTP_URL_SIGNATURE'],
        environ['REQUEST_METHOD'],
        environ.get('PATH_INFO', ''),
    )


def as_signed(environ: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request whose signature holds, without any other identity.

    What remains of the caller is the project and the end of the URL, which
    the signature covers.
    """
    found = {
        key: value
        for key, value in environ.items()
        if not key.startswith(_CLAIMS) or key in _HARMLESS
    }
    return {**found, ENDS_AT: moment(environ['HTTP_URL_EXPIRES'])}


def _roles(text: str) -> tuple[str, ...]:
    if not text:
        return ()
    roles = (role.strip() for role in text.split(','))
    return tuple(role.lower() for role in roles if role)


def _text(header: str) -> str:
    """Read a header as UTF-8, which WSGI hands over as Latin-1."""
    if header.isascii():
        return header
    try:
        return header.encode('latin-1').decode()
    except UnicodeDecodeError:
        raise InvalidRequest(
            'X-PROJECT-ID must be UTF-8.',
            title='Invalid queue identification',
        ) from None

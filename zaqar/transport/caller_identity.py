# SPDX-License-Identifier: Apache-2.0
"""The identity of a caller, from headers or a pre-signed URL.

With ``auth_strategy = keystone`` keystonemiddleware has set the headers and
removed those of the client. Without authentication the service trusts the
identity that the client sends.
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

from oslo_config import cfg

from zaqar.api import client_project_queue_checks
from zaqar.controllers.api_limits_and_defaults import Limits
from zaqar.controllers.time_parsing import parse_iso_8601
from zaqar.controllers.url_signatures import Grant, Signer, fingerprint_of
from zaqar.errors import ConfigurationError, InvalidRequest
from zaqar.identity import Identity, SignedAccess

KEYSTONE = 'keystone'

OPTS = [
    cfg.StrOpt(
        'auth_strategy',
        default='',
        help='How callers authenticate: "keystone" for tokens, or empty to '
        'trust the headers of a request (X-Project-ID, X-Roles), for trusted '
        'networks only.',
    ),
]

#: Credentials for policy rules, with their key in the environment.
_VALUES = {
    'user_id': 'HTTP_X_USER_ID',
    'user_domain_id': 'HTTP_X_USER_DOMAIN_ID',
    'project_domain_id': 'HTTP_X_PROJECT_DOMAIN_ID',
    'domain_id': 'HTTP_X_DOMAIN_ID',
    'system_scope': 'HTTP_OPENSTACK_SYSTEM_SCOPE',
}

_VALUE_ITEMS = tuple(_VALUES.items())

_NO_VALUES: Mapping[str, Any] = {}

#: Callers that are remembered, and the most characters of their headers, which
#: may be of any length.
_KNOWN = 4096
_USUAL = 400

#: Headers of the project; without Keystone, any of them.
_PROJECT = ('HTTP_X_PROJECT_ID', 'HTTP_X_TENANT_ID', 'HTTP_X_TENANT')

#: Key of a request's environment: Keystone's record of the token.
TOKEN_INFO = 'keystone.token_info'

#: Key of a request's environment: the access that its pre-signed URL gives.
SIGNED = 'zaqar.signed'

#: Prefixes of headers that claim an identity ...
IDENTITY_HEADERS = ('HTTP_X_', 'HTTP_OPENSTACK_')

#: ... except for these, which claim none or are covered by the signature.
_HARMLESS = frozenset(
    (
        *('HTTP_X_PROJECT_ID', 'HTTP_X_OPENSTACK_REQUEST_ID'),
        'HTTP_OPENSTACK_API_VERSION',
    )
)


def strategy(conf: cfg.ConfigOpts) -> str:
    """Return ``keystone`` or the empty text."""
    conf.register_opts(OPTS)
    name: str = conf.auth_strategy or ''
    if name not in ('', KEYSTONE):
        raise ConfigurationError(
            f'[DEFAULT] auth_strategy = {name}: must be "keystone" or empty'
        )
    return name


class _Caller(NamedTuple):
    """Who sends a request, as far as it is looked up by three headers."""

    client: str
    project: str
    roles: tuple[str, ...]


class Callers:
    """Identities of requests.

    Clients repeat their headers: what was made of them is remembered.

    :param verified: whether keystonemiddleware has set the headers
    """

    def __init__(self, limits: Limits, *, verified: bool) -> None:
        self._limits = limits
        self._verified = verified
        self._projects = _PROJECT[:1] if verified else _PROJECT
        self._known = functools.lru_cache(_KNOWN)(self._caller)

    def identity(
        self, environ: Mapping[str, Any], *, needs_client: bool = True
    ) -> Identity:
        """Return the identity of a request; check Client-ID, then project.

        :param needs_client: whether there has to be a Client-ID
        :raises InvalidRequest: one is missing or malformed
        """
        client = None
        if 'HTTP_CLIENT_ID' in environ:
            client = environ['HTTP_CLIENT_ID']
            needs_client = True
        project = None
        for key in self._projects:
            if key in environ:
                # It is None for a token without a project.
                project = environ[key]
                break
        roles = ''
        if 'HTTP_X_ROLES' in environ:
            roles = environ['HTTP_X_ROLES']
        size = len(f'{client}{project}{roles}')
        caller = (self._known if size <= _USUAL else self._caller)(
            client, project, roles, needs_client
        )
        values = _NO_VALUES
        for name, key in _VALUE_ITEMS:
            if key in environ:
                values = {**values, name: environ[key]}
        request_id = token = signed = validated = None
        if 'openstack.request_id' in environ:
            request_id = environ['openstack.request_id']
        if self._verified and 'HTTP_X_AUTH_TOKEN' in environ:
            token = environ['HTTP_X_AUTH_TOKEN']
        if SIGNED in environ:
            signed = environ[SIGNED]
        if TOKEN_INFO in environ:
            validated = environ[TOKEN_INFO].get('token')
        return Identity(
            caller.project,
            caller.client,
            caller.roles,
            request_id,
            values,
            token,
            signed=signed,
            validated=validated,
        )

    def _caller(
        self,
        client: str | None,
        project: str | None,
        roles: str,
        needs_client: bool,
    ) -> _Caller:
        """Check the headers of a request, in their order."""
        return _Caller(
            client_project_queue_checks.client_id(client, self._limits)
            if needs_client
            else '',
            client_project_queue_checks.project(
                None if project is None else _text(project)
            ),
            _roles(roles),
        )


def is_signed(environ: Mapping[str, Any], signer: Signer) -> bool:
    """Tell whether a request is covered by its signature."""
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
    """Return a pre-signed request without other claims of an identity.

    The project and the expiry of the URL remain: the signature covers them.
    """
    anonymous = {
        key: value
        for key, value in environ.items()
        if not key.startswith(IDENTITY_HEADERS) or key in _HARMLESS
    }
    signed = access(environ['HTTP_URL_EXPIRES'], environ['HTTP_URL_SIGNATURE'])
    return {**anonymous, SIGNED: signed}


def access(expires: str, signature: str) -> SignedAccess:
    """Return the access that a verified signature gives."""
    return SignedAccess(parse_iso_8601(expires), fingerprint_of(signature))


def _roles(text: str) -> tuple[str, ...]:
    if not text:
        return ()
    roles = (role.strip() for role in text.split(','))
    return tuple(role.lower() for role in roles if role)


def _text(header: str) -> str:
    """Return a header as UTF-8, which WSGI passes as Latin-1."""
    if header.isascii():
        return header
    try:
        return header.encode('latin-1').decode()
    except UnicodeDecodeError:
        raise InvalidRequest(
            'X-PROJECT-ID must be UTF-8.', title='Invalid queue identification'
        ) from None

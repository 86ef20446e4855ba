# SPDX-License-Identifier: Apache-2.0
"""Tokens, proved by keystonemiddleware, for every transport."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from keystoneauth1.exceptions import ClientException
from keystonemiddleware import auth_token
from oslo_config import cfg

from zaqar.transport.auth import TOKEN_INFO
from zaqar.transport.wsgi_types import App, Environ, StartResponse

LOG = logging.getLogger(__name__)

#: What a long session need not remember of its token.
_BULKY = frozenset(('HTTP_X_SERVICE_CATALOG',))

#: What the network may say of a caller whose token is to be proved.
_OFFERED = frozenset(('HTTP_X_AUTH_TOKEN', 'HTTP_X_SERVICE_TOKEN'))

#: How headers begin that speak of an identity.
_CLAIMS = ('HTTP_X_', 'HTTP_OPENSTACK_')

#: In the environment of a request that Keystone has let in.
_ADMITTED = 'zaqar.admitted'

#: Options of keystonemiddleware with another default here: without the type
#: of the service, every token with access rules is refused.
DEFAULTS = {'service_type': 'messaging'}

_REFUSED = 'Token authorization failed'


class _Middleware(auth_token.AuthProtocol):  # type: ignore[misc]
    """keystonemiddleware with the defaults of this service."""

    def __init__(self, app: App, conf: cfg.ConfigOpts) -> None:
        super().__init__(_noted(app), {'oslo_config_config': conf})
        for name, value in DEFAULTS.items():
            conf.set_default(name, value, group='keystone_authtoken')

    def validate_allowed_request(
        self, request: Any, token: Mapping[str, Any]
    ) -> None:
        """Match a request with the access rules of a token.

        :raises InvalidToken: no rule permits it
        """
        if _is_restricted(token) and 'catalog' not in token:
            # keystonemiddleware would fail with a KeyError.
            LOG.warning(
                'A token with access rules cannot be validated without the '
                'service catalog: set [keystone_authtoken] '
                'include_service_catalog = True'
            )
            raise auth_token.InvalidToken(_REFUSED)
        super().validate_allowed_request(request, token)


class _Login(_Middleware):
    """Validates the token of a session, whose frames are matched later."""

    def validate_allowed_request(
        self, request: Any, token: Mapping[str, Any]
    ) -> None:
        """Check that access rules can be matched at all.

        :raises InvalidToken: they cannot
        """
        # A login is no operation: no rule could permit it. With a service
        # token beside it, keystonemiddleware checks all but the rules.
        super().validate_allowed_request(_Request('GET', '/', True), token)

    def permits(self, request: _Request, token: Mapping[str, Any]) -> bool:
        """Tell whether the access rules of a token permit a request."""
        try:
            super().validate_allowed_request(request, token)
        except auth_token.InvalidToken:
            return False
        return True


@dataclass(frozen=True, slots=True)
class _Request:
    """What keystonemiddleware matches with access rules.

    :ivar service_token: whether another service vouches for the request
    """

    method: str
    path: str
    service_token: bool


def _is_restricted(token: Mapping[str, Any]) -> bool:
    credential = token.get('application_credential') or {}
    return credential.get('access_rules') is not None


def with_keystone(app: App, silent: App, conf: cfg.ConfigOpts) -> App:
    """Let in whoever shows a token, and take the identity from it.

    :param silent: answers when Keystone cannot be asked
    """
    return _guarded(_Middleware(app, conf), silent)


def _guarded(checked: App, silent: App) -> App:
    def call(
        environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        refusals: list[str] = []

        def start(status: str, headers: Any, *more: Any) -> Any:
            if status.startswith('503') and _ADMITTED not in environ:
                # Its answer is an HTML page; what failed is in the log.
                refusals.append(status)
                return _discard
            return start_response(status, headers, *more)

        try:
            answer = checked(environ, start)
        except ClientException as error:
            # Some ways in which Keystone can be misconfigured pass through
            # keystonemiddleware: no endpoint of the interface, for one.
            LOG.error('Keystone cannot be used: %s', error)
            return silent(environ, start_response)
        return silent(environ, start_response) if refusals else answer

    return call


def _noted(app: App) -> App:
    """Note that a request has passed."""

    def call(
        environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        environ[_ADMITTED] = True
        return app(environ, start_response)

    return call


def _discard(_data: bytes) -> None:
    """Write nothing."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What Keystone has said of a token.

    :ivar environ: headers of the identity, as a WSGI application sees them
    :ivar expires_at: when the token ends, in seconds since the epoch
    :ivar permits: tells whether the access rules of the token permit a method
        on a path; None where it has no rules
    """

    environ: Mapping[str, Any]
    expires_at: float
    permits: Callable[[str, str], bool] | None = None


class TokenRefused(Exception):
    """No good token.

    :param status: of the answer: 401, or 503 where Keystone is silent
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Tokens:
    """Proves tokens outside of any HTTP request."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._middleware = _Login(_admitted, conf)
        self._app = _guarded(self._middleware, _silent)

    def prove(self, headers: Mapping[str, str]) -> Proof:
        """Return what Keystone says of the token in some headers.

        Whatever else they claim of an identity is not passed on.

        :param headers: as in a WSGI environment, ``HTTP_X_AUTH_TOKEN`` among
            them
        :raises TokenRefused: it is no good
        """
        environ: Environ = {
            **_request(),
            **{
                key: value
                for key, value in headers.items()
                if key in _OFFERED or not key.startswith(_CLAIMS)
            },
        }
        answered: list[str] = []
        list(self._app(environ, lambda line, *_: answered.append(line)))
        status = int(answered[0][:3])
        if status != 204:
            raise TokenRefused(status)
        if TOKEN_INFO not in environ:
            # [keystone_authtoken] delay_auth_decision leaves that to us.
            raise TokenRefused(401)
        return self._proof(environ)

    def _proof(self, environ: Environ) -> Proof:
        token = environ[TOKEN_INFO]['token']
        end = datetime.datetime.fromisoformat(token['expires_at'])
        identity = {
            key: value
            for key, value in environ.items()
            if key.startswith('HTTP_X_') and key not in _BULKY
        }
        # For trusts of the caller; the catalogue is as bulky as its header.
        said = {key: value for key, value in token.items() if key != 'catalog'}
        identity[TOKEN_INFO] = {'token': said}
        return Proof(identity, end.timestamp(), self._rules(environ, token))

    def _rules(
        self, environ: Environ, token: Mapping[str, Any]
    ) -> Callable[[str, str], bool] | None:
        if not _is_restricted(token):
            return None
        # No more of it than is matched: a session may last for hours.
        matched = {
            'application_credential': token['application_credential'],
            'catalog': [{'type': one['type']} for one in token['catalog']],
        }
        by_service = bool(environ.get('HTTP_X_SERVICE_TOKEN'))

        def permits(method: str, path: str) -> bool:
            request = _Request(method, path, by_service)
            return self._middleware.permits(request, matched)

        return permits


def _request() -> Environ:
    return {
        'REQUEST_METHOD': 'GET',
        'SCRIPT_NAME': '',
        'PATH_INFO': '/v2/',
        'QUERY_STRING': '',
        'SERVER_NAME': 'localhost',
        'SERVER_PORT': '80',
        'SERVER_PROTOCOL': 'HTTP/1.1',
        'wsgi.url_scheme': 'http',
    }


def _admitted(
    environ: Environ, start_response: StartResponse
) -> Iterable[bytes]:
    start_response('204 No Content', [])
    return []


def _silent(
    environ: Environ, start_response: StartResponse
) -> Iterable[bytes]:
    start_response('503 Service Unavailable', [])
    return []

# SPDX-License-Identifier: Apache-2.0
"""Validation of tokens by keystonemiddleware, for HTTP and WebSockets."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from keystoneauth1.exceptions import ClientException
from keystonemiddleware import auth_token
from oslo_config import cfg

from zaqar.event_loop_greenlets import offload
from zaqar.transport.caller_identity import IDENTITY_HEADERS, TOKEN_INFO
from zaqar.transport.local_token_cache import LocalTokenCache
from zaqar.transport.wsgi_types import App, Environ, StartResponse

LOG = logging.getLogger(__name__)

#: Headers of a token that a session need not keep.
_BULKY = frozenset(('HTTP_X_SERVICE_CATALOG',))

#: Headers of a client that are passed to keystonemiddleware.
_OFFERED = frozenset(('HTTP_X_AUTH_TOKEN', 'HTTP_X_SERVICE_TOKEN'))

#: Key in the environment of a request that keystonemiddleware has admitted.
_ADMITTED = 'zaqar.admitted'

#: Our defaults of keystonemiddleware's options: without the service type,
#: every token with access rules is refused.
DEFAULTS = {'service_type': 'messaging'}

_REFUSED = 'Token authorization failed'

_REQUEST: Environ = {
    'REQUEST_METHOD': 'GET',
    'SCRIPT_NAME': '',
    'PATH_INFO': '/v2/',
    'QUERY_STRING': '',
    'SERVER_NAME': 'localhost',
    'SERVER_PORT': '80',
    'SERVER_PROTOCOL': 'HTTP/1.1',
    'wsgi.url_scheme': 'http',
}


class Middleware(auth_token.AuthProtocol):  # type: ignore[misc]
    """keystonemiddleware with the defaults of this service."""

    def __init__(self, app: App, conf: cfg.ConfigOpts) -> None:
        super().__init__(_noted(app), {'oslo_config_config': conf})
        for name, value in DEFAULTS.items():
            conf.set_default(name, value, group='keystone_authtoken')

    def _token_cache_factory(self) -> Any:
        """Return the cache of tokens, which keystonemiddleware uses."""
        conf = self._conf
        if (
            conf.get('memcached_servers')
            or conf.get('cache')
            or conf.get('memcache_security_strategy').lower() != 'none'
        ):
            return super()._token_cache_factory()
        return LocalTokenCache(int(conf.get('token_cache_time')))

    def fetch_token(self, token: str, **options: Any) -> Any:
        """Return what a token stands for; wait for Keystone in no event loop.

        :raises InvalidToken: it is not valid
        """
        cache = self._token_cache
        if isinstance(cache, LocalTokenCache):
            cached = cache.get(token)
            if cached:
                return cached
        return offload(super().fetch_token, token, **options)

    @property
    def www_authenticate_uri(self) -> Any:
        """Return where tokens come from, which Keystone may have to tell."""
        return offload(lambda: super(Middleware, self).www_authenticate_uri)

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


class _Login(Middleware):
    """Validates the token of a session, whose frames are checked later."""

    def validate_allowed_request(
        self, request: Any, token: Mapping[str, Any]
    ) -> None:
        """Check that access rules can be evaluated at all.

        :raises InvalidToken: they cannot
        """
        # A login is no operation: no rule could permit it. For a request with
        # a service token, keystonemiddleware checks all but the rules.
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
    """The part of a request that keystonemiddleware checks by access rules.

    :ivar service_token: whether another service sends the request
    """

    method: str
    path: str
    service_token: bool


def _is_restricted(token: Mapping[str, Any]) -> bool:
    credential = token.get('application_credential') or {}
    return credential.get('access_rules') is not None


def guarded(checked: App, unavailable: App) -> App:
    """Return the middleware with an answer for when Keystone has none.

    :param unavailable: gives it
    """

    def call(environ: Environ, start: StartResponse) -> Iterable[bytes]:
        refusals: list[str] = []

        def note(status: str, headers: Any, *more: Any) -> Any:
            if status.startswith('503') and _ADMITTED not in environ:
                # Its answer is an HTML page; what failed is in the log.
                refusals.append(status)
                return _discard
            return start(status, headers, *more)

        try:
            answer = checked(environ, note)
        except ClientException as error:
            # keystonemiddleware does not catch some errors of configuration,
            # such as an interface without an endpoint.
            LOG.error('Keystone cannot be used: %s', error)
            return unavailable(environ, start)
        return unavailable(environ, start) if refusals else answer

    return call


def _noted(app: App) -> App:
    """Mark requests that were admitted."""

    def call(environ: Environ, start: StartResponse) -> Iterable[bytes]:
        environ[_ADMITTED] = True
        return app(environ, start)

    return call


def _discard(_data: bytes) -> None:
    """Write nothing."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A validated token.

    :ivar environ: headers of the identity, as in a WSGI environment
    :ivar expires_at: when the token expires, in seconds since the epoch
    :ivar permits: tells whether the access rules of the token permit a method
        on a path; None without rules
    """

    environ: Mapping[str, Any]
    expires_at: float
    permits: Callable[[str, str], bool] | None = None

    @property
    def project(self) -> str:
        return str(self.environ.get('HTTP_X_PROJECT_ID', ''))


class TokenRefused(Exception):
    """A token that is not accepted, with the status of the answer."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Tokens:
    """Validates tokens outside of HTTP requests."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._middleware = _Login(_admitted, conf)
        self._app = guarded(self._middleware, _silent)

    def prove(self, headers: Mapping[str, str]) -> Credentials:
        """Validate the token in some headers.

        Other claims of an identity among them are ignored.

        :param headers: as in a WSGI environment, with ``HTTP_X_AUTH_TOKEN``
        :raises TokenRefused: it is not valid
        """
        environ = _REQUEST | {
            key: value
            for key, value in headers.items()
            if key in _OFFERED or not key.startswith(IDENTITY_HEADERS)
        }
        answered: list[str] = []
        list(self._app(environ, lambda line, *_: answered.append(line)))
        status = int(answered[0][:3])
        if status != 204:
            raise TokenRefused(status)
        if TOKEN_INFO not in environ:
            # [keystone_authtoken] delay_auth_decision defers the refusal.
            raise TokenRefused(401)
        return self._credentials(environ)

    def _credentials(self, environ: Environ) -> Credentials:
        token = environ[TOKEN_INFO]['token']
        end = datetime.datetime.fromisoformat(token['expires_at'])
        identity = {
            key: value
            for key, value in environ.items()
            if key.startswith('HTTP_X_') and key not in _BULKY
        }
        # For trusts of the caller; the catalogue is as bulky as its header.
        small = {k: v for k, v in token.items() if k != 'catalog'}
        identity[TOKEN_INFO] = {'token': small}
        rules = self._rules(environ, token)
        return Credentials(identity, end.timestamp(), rules)

    def _rules(
        self, environ: Environ, token: Mapping[str, Any]
    ) -> Callable[[str, str], bool] | None:
        if not _is_restricted(token):
            return None
        # Only what rules are matched with: a session may last for hours.
        matched = {
            'application_credential': token['application_credential'],
            'catalog': [{'type': one['type']} for one in token['catalog']],
        }
        by_service = bool(environ.get('HTTP_X_SERVICE_TOKEN'))

        def permits(method: str, path: str) -> bool:
            request = _Request(method, path, by_service)
            return self._middleware.permits(request, matched)

        return permits


def _admitted(environ: Environ, start: StartResponse) -> Iterable[bytes]:
    start('204 No Content', [])
    return []


def _silent(environ: Environ, start: StartResponse) -> Iterable[bytes]:
    start('503 Service Unavailable', [])
    return []

# SPDX-License-Identifier: Apache-2.0
"""Tokens, proved by keystonemiddleware, for every transport."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from keystoneauth1.exceptions import ClientException
from keystonemiddleware import auth_token
from oslo_config import cfg

from zaqar.transport.interface import App, Environ, StartResponse

LOG = logging.getLogger(__name__)

#: What a long session need not remember of its token.
_BULKY = frozenset(('HTTP_X_SERVICE_CATALOG',))

#: What the network may say of a caller whose token is to be proved.
_OFFERED = frozenset(('HTTP_X_AUTH_TOKEN', 'HTTP_X_SERVICE_TOKEN'))

#: How headers begin that speak of an identity.
_CLAIMS = ('HTTP_X_', 'HTTP_OPENSTACK_')

#: In the environment of a request that Keystone has let in.
_ADMITTED = 'zaqar.admitted'


def with_keystone(app: App, silent: App, conf: cfg.ConfigOpts) -> App:
    """Let in whoever shows a token, and take the identity from it.

    :param silent: answers when Keystone cannot be asked
    """
    checked: App = auth_token.AuthProtocol(
        _noted(app), {'oslo_config_config': conf}
    )

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
    """

    environ: Mapping[str, Any]
    expires_at: float


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
        self._app = with_keystone(_admitted, _silent, conf)

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
        return _proof(environ)


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


def _proof(environ: Environ) -> Proof:
    token = environ['keystone.token_info']['token']
    end = datetime.datetime.fromisoformat(token['expires_at'])
    kept = {
        key: value
        for key, value in environ.items()
        if key.startswith('HTTP_X_') and key not in _BULKY
    }
    return Proof(kept, end.timestamp())


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

# SPDX-License-Identifier: Apache-2.0
"""Authentication of frames: by a token, a signature, or the frame alone.

:source: reference/websocket, "Authentication", "Pre-signed frames"
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from oslo_config import cfg

from zaqar.api import websocket_frame_arguments
from zaqar.api.operation import Operation
from zaqar.controllers.api_limits_and_defaults import Limits
from zaqar.controllers.signed_url_creation import PATHS
from zaqar.controllers.url_signatures import Grant, Signer
from zaqar.errors import InvalidRequest, NoRoute, ZaqarError
from zaqar.identity import Identity
from zaqar.transport import caller_identity
from zaqar.transport.token_validation import Credentials, TokenRefused, Tokens

_NAME = re.compile(r'[a-z0-9-]+')


class NotPermitted(ZaqarError, status=403, title='Not authorized'):
    """The client may not do this on this connection."""


class BadToken(ZaqarError, status=401, title='The token was not accepted.'):
    """The token is not valid."""


class KeystoneUnavailable(
    ZaqarError, status=503, title='The identity service is not available.'
):
    """The token could not be validated."""


class Authenticator:
    """Authenticates frames.

    :param tokens: validates tokens; None without authentication
    :param mount: prefix of the paths in access rules
    """

    def __init__(
        self,
        limits: Limits,
        signer: Signer,
        tokens: Tokens | None,
        mount: str = '',
    ) -> None:
        self._claimed = caller_identity.Callers(limits, verified=False)
        self._verified = caller_identity.Callers(limits, verified=True)
        self._signer = signer
        self._tokens = tokens
        self._mount = mount

    @classmethod
    def from_conf(
        cls,
        conf: cfg.ConfigOpts,
        limits: Limits,
        signer: Signer,
        mount: str = '',
    ) -> Authenticator:
        proved = caller_identity.strategy(conf) == caller_identity.KEYSTONE
        return cls(limits, signer, Tokens(conf) if proved else None, mount)

    @property
    def proves(self) -> bool:
        """Tell whether connections have to authenticate."""
        return self._tokens is not None

    def authenticate(self, headers: Mapping[str, Any]) -> Credentials | None:
        """Validate a token; return None without authentication.

        :param headers: by their names in lower case
        :raises InvalidRequest: a required one is missing
        :raises BadToken: the token is not valid
        """
        _check_required(headers, 'X-Project-ID', 'X-Auth-Token')
        if self._tokens is None:
            return None
        try:
            return self._tokens.prove(_environ(headers))
        except TokenRefused as refusal:
            if refusal.status >= 500:
                raise KeystoneUnavailable from None
            raise BadToken from None

    def is_signed(self, headers: Mapping[str, Any]) -> bool:
        """Tell whether a frame has a signature, valid or not."""
        return 'url-signature' in headers

    def identity(
        self,
        row: Operation,
        values: Mapping[str, str],
        headers: Mapping[str, Any],
        credentials: Credentials | None,
    ) -> Identity:
        """Return the identity of a frame.

        :param values: of the path
        :raises NotPermitted: not proved
        :raises InvalidRequest: a header is missing or malformed
        """
        if self.is_signed(headers):
            self._check_signature(row, values, headers)
            return self._bare(headers)
        if self._tokens is None:
            return self._claimed.identity(_environ(headers))
        _check_required(headers, 'Client-ID', 'X-Project-ID')
        if credentials is None:
            raise NotPermitted('The connection has to authenticate first.')
        if headers['x-project-id'] != credentials.project:
            raise NotPermitted('The token is for another project.')
        client = {'HTTP_CLIENT_ID': headers['client-id']}
        return self._verified.identity({**credentials.environ, **client})

    def is_permitted(
        self, credentials: Credentials, method: str, path: str
    ) -> bool:
        """Tell whether the access rules of a session permit a request.

        :param path: from ``/v2`` on
        """
        permits = credentials.permits
        return permits is None or permits(method, self._mount + path)

    def check_rules(
        self, credentials: Credentials | None, method: str, path: str
    ) -> None:
        """Check a request by the access rules of a session.

        :raises NotPermitted: none of them permits it
        """
        if credentials and not self.is_permitted(credentials, method, path):
            raise NotPermitted(
                'The access rules of the application credential do not '
                'permit this.'
            )

    def _bare(self, headers: Mapping[str, Any]) -> Identity:
        """Return the identity of a signature: a project, until it expires."""
        signed = {
            name: headers[name]
            for name in ('client-id', 'x-project-id')
            if name in headers
        }
        environ = _environ(signed)
        environ[caller_identity.SIGNED] = caller_identity.access(
            headers['url-expires'], headers['url-signature']
        )
        return self._verified.identity(environ)

    def _check_signature(
        self,
        row: Operation,
        values: Mapping[str, str],
        headers: Mapping[str, Any],
    ) -> None:
        refused = NotPermitted('The signature does not cover this.')
        try:
            folder = websocket_frame_arguments.collection(row, values)
            grant = Grant(
                _texts(headers['url-paths']),
                _texts(headers['url-methods']),
                _one(headers['x-project-id']),
                _one(headers['url-expires']),
            )
            signature = _one(headers['url-signature'])
        except (KeyError, TypeError, NoRoute):
            raise refused from None
        if folder.rpartition('/')[2] not in PATHS or folder not in grant.paths:
            raise refused
        method, _ = websocket_frame_arguments.target(row, values)
        if not self._signer.admits(grant, signature, method, folder):
            raise refused


def latin(value: str) -> str:
    """Return a text as WSGI passes it."""
    return value if value.isascii() else value.encode().decode('latin-1')


def _check_required(headers: Mapping[str, Any], *names: str) -> None:
    for name in names:
        if name.lower() not in headers:
            raise InvalidRequest(f'The header {name} is missing.')


def _environ(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return headers that are strings as in a WSGI environment."""
    return {
        f'HTTP_{name.upper().replace("-", "_")}': latin(value)
        for name, value in headers.items()
        if isinstance(value, str) and _NAME.fullmatch(name)
    }


def _texts(value: Any) -> list[str]:
    """Read a list of strings, or one string as in HTTP."""
    if isinstance(value, str):
        return value.split(',')
    if not isinstance(value, list):
        raise TypeError
    return [_one(item) for item in value]


def _one(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value

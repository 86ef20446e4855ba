# SPDX-License-Identifier: Apache-2.0
"""Authentication of HTTP requests: by a signature, or by Keystone."""

from collections.abc import Iterable

from oslo_config import cfg

from zaqar.controllers.url_signatures import Signer
from zaqar.errors import NoRoute, StoreUnavailable
from zaqar.transport import caller_identity
from zaqar.transport.wsgi.responses import error_response
from zaqar.transport.wsgi_types import App, Environ, StartResponse


def with_signatures(app: App, signed: App, signer: Signer) -> App:
    """Authenticate requests with a signature, even an empty one, by it alone.

    A token does not make up for an invalid signature; a valid one grants no
    identity but the project that it was made for.

    :param app: for requests without a signature
    :param signed: for requests with a valid signature
    """
    refused = error_response(NoRoute())

    def call(environ: Environ, start: StartResponse) -> Iterable[bytes]:
        # To a CORS preflight, browsers add no header.
        is_preflight = environ['REQUEST_METHOD'] == 'OPTIONS'
        if is_preflight or 'HTTP_URL_SIGNATURE' not in environ:
            return app(environ, start)
        if not caller_identity.is_signed(environ, signer):
            return refused(environ, start)
        return signed(caller_identity.as_signed(environ), start)

    return call


def with_keystone(app: App, conf: cfg.ConfigOpts) -> App:
    """Require a valid token, and take the identity from it."""
    from zaqar.transport import token_validation

    unavailable = error_response(
        StoreUnavailable('The identity service is not available.')
    )
    checked = token_validation.Middleware(app, conf)
    return token_validation.guarded(checked, unavailable)

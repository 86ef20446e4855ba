# SPDX-License-Identifier: Apache-2.0
"""Headers of microversions in requests and responses.

:source: reference/http, "Microversions"
"""

import functools
from collections.abc import Iterable
from typing import Any

from zaqar.api import microversion_negotiation
from zaqar.errors import ZaqarError
from zaqar.microversion_constants import Version
from zaqar.transport.wsgi.responses import Headers
from zaqar.transport.wsgi_types import App, Environ, StartResponse

#: Key of the header in a request's environment.
KEY = 'HTTP_OPENSTACK_API_VERSION'


def version(environ: Environ) -> Version:
    """Return the version of a request.

    :raises ZaqarError: its header is malformed, or names no supported one
    """
    header = environ.get(KEY)
    if not header:
        return microversion_negotiation.MIN
    return (
        microversion_negotiation.requested(header)
        or microversion_negotiation.MIN
    )


def with_version(app: App) -> App:
    """Name the version in responses to requests that name one."""

    def call(environ: Environ, start: StartResponse) -> Iterable[bytes]:
        if KEY in environ:
            start = varied(environ[KEY], start)
        return app(environ, start)

    return call


def varied(header: str, start: StartResponse) -> StartResponse:
    """Return what starts the response to a request with this header."""
    try:
        named = microversion_negotiation.requested(header) if header else None
    except ZaqarError:
        # The answer says so, and no version is used.
        return functools.partial(_varied, (), start)
    if named is None:
        return start
    pair = (microversion_negotiation.HEADER, named.header)
    return functools.partial(_varied, (pair,), start)


def _varied(
    added: Iterable[tuple[str, str]],
    start: StartResponse,
    status: str,
    headers: Headers,
    *more: Any,
) -> Any:
    varies = [value for name, value in headers if name.lower() == 'vary']
    vary = ', '.join([*varies, microversion_negotiation.HEADER])
    others = [pair for pair in headers if pair[0].lower() != 'vary']
    return start(status, [*others, ('Vary', vary), *added], *more)

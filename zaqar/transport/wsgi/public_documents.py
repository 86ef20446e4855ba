# SPDX-License-Identifier: Apache-2.0
"""Documents that need no authentication: API versions and OpenAPI."""

from collections.abc import Iterable

from zaqar.api import microversion_negotiation, openapi
from zaqar.errors import MethodNotAllowed
from zaqar.transport.wsgi.responses import Response, encode, error_response
from zaqar.transport.wsgi_types import App, Environ, StartResponse

_CHANGING = ('DELETE', 'PATCH', 'POST', 'PUT')

_VERSIONS = encode(
    {
        'versions': [
            {
                'id': '2',
                'status': 'CURRENT',
                'version': str(microversion_negotiation.MAX),
                'min_version': str(microversion_negotiation.MIN),
                'updated': '2014-9-24T04:06:47Z',
                'media-types': [
                    {
                        'base': 'application/json',
                        'type': 'application/vnd.openstack.messaging-v2+json',
                    }
                ],
                'links': [{'href': '/v2/', 'rel': 'self'}],
            }
        ]
    }
)


def with_public_documents(app: App) -> App:
    """Serve the public documents: API versions and OpenAPI."""
    public = {
        **dict.fromkeys(('', '/', '//'), Response(300, _VERSIONS)),
        '/v2/openapi.json': Response(200, encode(openapi.document())),
    }
    refused = error_response(
        MethodNotAllowed(headers={'Allow': 'GET, HEAD, OPTIONS'})
    )

    def call(environ: Environ, start: StartResponse) -> Iterable[bytes]:
        answer = public.get(environ.get('PATH_INFO', ''))
        method = environ['REQUEST_METHOD']
        if answer is not None and method in ('GET', 'HEAD'):
            return answer(environ, start)
        if answer is not None and method in _CHANGING:
            return refused(environ, start)
        return app(environ, start)

    return call

# SPDX-License-Identifier: Apache-2.0
"""The way past the layers of middleware that do nothing for a request.

Most layers concern few requests, and which ones shows in the path and a few
headers. Here they are looked at once. What a layer does for every request is
done here, too, by the same functions; whatever else one may do, the request
goes through all of them.
"""

import functools
from collections.abc import Iterable

from zaqar.transport import log_context
from zaqar.transport.wsgi import microversion_headers, middleware
from zaqar.transport.wsgi.middleware import GLOBAL_ID_KEY, REQUEST_ID_KEY
from zaqar.transport.wsgi_types import App, Environ, StartResponse

#: Below which there are no documents outside of the API ...
_FOLDER = '/v2/'

#: ... except for this one.
_DOCUMENT = '/v2/openapi.json'

_ORDINARY_METHODS = frozenset(('DELETE', 'GET', 'PATCH', 'POST', 'PUT'))


def with_shortcut(
    layers: App, inner: App, *, names_project: bool = False
) -> App:
    """Pass ordinary requests to the application, others to its layers.

    :param layers: the application within all layers
    :param inner: the application within those only that concern every request
        and are not repeated here
    :param names_project: whether logs name the project of the headers at once,
        since nobody verifies it
    """

    def call(environ: Environ, start: StartResponse) -> Iterable[bytes]:
        path = environ.get('PATH_INFO', '')
        if not (
            # Whatever concerns none of the layers, in their order: CORS
            environ['REQUEST_METHOD'] in _ORDINARY_METHODS
            and 'HTTP_ORIGIN' not in environ
            # the Accept header, which must be short
            and (
                'HTTP_ACCEPT' not in environ
                or len(environ['HTTP_ACCEPT']) <= middleware.MAX_ACCEPT
            )
            # health, the confirmation page, public documents, version 1.1
            and path[:4] == _FOLDER
            and path != _DOCUMENT
            # signatures, in the query or in a header
            and 'HTTP_URL_SIGNATURE' not in environ
            and (
                'QUERY_STRING' not in environ
                or 'url_signature=' not in environ['QUERY_STRING']
            )
        ):
            return layers(environ, start)
        if microversion_headers.KEY in environ:
            header = environ[microversion_headers.KEY]
            start = microversion_headers.varied(header, start)
        global_id = project = ''
        if GLOBAL_ID_KEY in environ:
            global_id = environ[GLOBAL_ID_KEY]
        if names_project and 'HTTP_X_PROJECT_ID' in environ:
            project = environ['HTTP_X_PROJECT_ID']
        request_id = log_context.begin(global_id, project)
        environ[REQUEST_ID_KEY] = request_id
        named = functools.partial(middleware.named, request_id, start)
        return inner(environ, named)

    return call

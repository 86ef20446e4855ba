# SPDX-License-Identifier: Apache-2.0
"""Compatibility with agents in old guest images, which use API version 1.1.

They post and pop messages. Their paths are rewritten to those of version 2
before authentication, access rules, signatures and policy.
"""

import re
from collections.abc import Iterable

from oslo_config import cfg

from zaqar.transport.wsgi_types import App, Environ, StartResponse

GROUP = 'drivers:transport:wsgi'

OPTS = [
    cfg.BoolOpt(
        'enable_v1_1',
        default=True,
        help='Whether POST and DELETE (to pop) of /v1.1/queues/QUEUE/messages '
        'are accepted as the same requests of /v2, for agents in old guest '
        'images that support no other version.',
    ),
]

_MESSAGES = re.compile(r'/v1\.1(/queues/[^/]+/messages)')

#: OPTIONS is for CORS preflights.
_METHODS = frozenset(('DELETE', 'OPTIONS', 'POST'))


def with_v1_1(app: App, conf: cfg.ConfigOpts) -> App:
    """Rewrite paths of version 1.1, if enabled."""
    conf.register_opts(OPTS, GROUP)
    if not conf[GROUP].enable_v1_1:
        return app

    def call(environ: Environ, start: StartResponse) -> Iterable[bytes]:
        path = environ.get('PATH_INFO', '')
        if path.startswith('/v1.1/'):
            old = _MESSAGES.fullmatch(path)
            if old is not None and environ['REQUEST_METHOD'] in _METHODS:
                environ['PATH_INFO'] = f'/v2{old[1]}'
        return app(environ, start)

    return call

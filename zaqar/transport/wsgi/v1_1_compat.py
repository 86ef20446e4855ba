# SPDX-License-Identifier: Apache-2.0
"""Paths of version 1.1 that programs inside old guest images send.

They post and pop messages and cannot be taught another version. Such a request
is the same request of version 2 from here on: for identity, access rules,
signatures, policy and answer alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from oslo_config import cfg

from zaqar.transport.wsgi_types import App, Environ, StartResponse

GROUP = 'drivers:transport:wsgi'

OPTS = [
    cfg.BoolOpt(
        'enable_v1_1',
        default=True,
        help='Take POST and DELETE (to pop) of /v1.1/queues/QUEUE/messages '
        'for the same of /v2, for agents in old guest images that know no '
        'other version.',
    ),
]

_MESSAGES = re.compile(r'/v1\.1(/queues/[^/]+/messages)')

#: OPTIONS is how browsers ask whether they may.
_METHODS = frozenset(('DELETE', 'OPTIONS', 'POST'))


def with_old_paths(app: App, conf: cfg.ConfigOpts) -> App:
    """Answer what version 1.1 is still needed for, if that is wanted."""
    conf.register_opts(OPTS, GROUP)
    if not conf[GROUP].enable_v1_1:
        return app

    def call(
        environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        path = environ.get('PATH_INFO', '')
        if path.startswith('/v1.1/'):
            old = _MESSAGES.fullmatch(path)
            if old is not None and environ['REQUEST_METHOD'] in _METHODS:
                environ['PATH_INFO'] = f'/v2{old[1]}'
        return app(environ, start_response)

    return call

# SPDX-License-Identifier: Apache-2.0
"""What runs inside Keystone's own environment: its server, and its mint.

A program for the interpreter there, started by
:mod:`zaqar.tests.servers.keystone`; nothing of ours can be imported in it.
Keystone reads further arguments, ``--config-file`` and the like, by itself.
"""

from __future__ import annotations

import datetime
import sys


def serve(port: str) -> None:
    """Serve Keystone on a port of 127.0.0.1."""
    import waitress
    from keystone.wsgi.api import application

    # One thread: with several, its SQLite is locked now and then, and a
    # request was seen with the content of another's token.
    waitress.serve(application, host='127.0.0.1', port=port, threads=1)


def mint() -> None:
    """Print a token for each line ``USER PROJECT SECONDS`` that comes in.

    The token ends in so many seconds, or ended so many ago.
    """
    from keystone.common import provider_api
    from keystone.server import backends, configure

    configure()
    backends.load_backends()
    for line in sys.stdin:
        user, project, seconds = line.split()
        now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        token = provider_api.ProviderAPIs.token_provider_api.issue_token(
            user,
            ['password'],
            expires_at=now + datetime.timedelta(seconds=int(seconds)),
            project_id=project,
        )
        print(token.id, flush=True)


#: What can be asked for, with how many arguments it takes.
PROGRAMS = {'serve': (serve, 1), 'mint': (mint, 0)}

if __name__ == '__main__':
    program, count = PROGRAMS[sys.argv[1]]
    arguments = sys.argv[2 : 2 + count]
    del sys.argv[1 : 2 + count]
    program(*arguments)

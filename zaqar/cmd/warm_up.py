# SPDX-License-Identifier: Apache-2.0
"""What first requests would wait for, done before any is accepted."""

import contextlib
import threading

from zaqar.errors import ZaqarError
from zaqar.service_assembly import Service
from zaqar.transport.wsgi.request_environ import to_environ
from zaqar.transport.wsgi_types import App

#: Seconds that it may take: stores that do not answer are no reason to wait.
_PATIENCE = 2.0

#: Lists messages of a queue that does not exist.
_REQUEST = {
    'scheme': 'http',
    'http_version': '1.1',
    'method': 'GET',
    'raw_path': b'/v2/queues/warm-up/messages',
    'query_string': b'',
    'server': ('localhost', '0'),
    'client': ('127.0.0.1', 0),
    'headers': [
        (b'client-id', b'00000000-0000-0000-0000-000000000000'),
        (b'x-project-id', b'warm-up'),
    ],
}


def warm_up(service: Service, application: App) -> None:
    """Load policy rules, connect to stores, fill caches; change nothing."""
    thread = threading.Thread(
        target=_make_requests,
        args=(service, application),
        name='warm-up',
        daemon=True,
    )
    thread.start()
    thread.join(_PATIENCE)


def _make_requests(service: Service, application: App) -> None:
    with contextlib.suppress(ZaqarError):
        service.catalogue.management.ping()
        for open_store in service.catalogue.openers().values():
            # One that cannot be reached is no reason to skip the others.
            with contextlib.suppress(ZaqarError):
                open_store().ping()
    # Refused without a token where Keystone decides.
    b''.join(application(to_environ(_REQUEST), lambda *_: None))

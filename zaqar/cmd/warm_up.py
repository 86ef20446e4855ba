# SPDX-License-Identifier: Apache-2.0
"""What first requests would wait for, done before any is accepted."""

from __future__ import annotations

import contextlib
import threading

from zaqar.api import operation_table
from zaqar.controllers import outbox_notices
from zaqar.errors import ZaqarError
from zaqar.models import Kind, Scope
from zaqar.service_assembly import Service

#: Seconds that it may take: stores that do not answer are no reason to wait.
_PATIENCE = 2.0

_NOWHERE = Scope('', 'warm-up', Kind.QUEUE)


def warm_up(service: Service) -> None:
    """Load policy rules, connect to stores, fill caches; change nothing."""
    thread = threading.Thread(
        target=_make_requests, args=(service,), name='warm-up', daemon=True
    )
    thread.start()
    thread.join(_PATIENCE)


def _make_requests(service: Service) -> None:
    with contextlib.suppress(ZaqarError):
        service.catalogue.management.ping()
        for open_store in service.catalogue.openers().values():
            open_store().ping()
        service.dispatcher.run(
            operation_table.BY_ACTION['message_list'],
            outbox_notices.service_identity(''),
            scope=_NOWHERE,
            path={},
            values={},
            read_body=lambda *_: None,
        )

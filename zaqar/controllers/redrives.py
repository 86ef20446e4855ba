# SPDX-License-Identifier: Apache-2.0
"""Redrives: messages of a dead-letter queue go back, or elsewhere.

Requests only record them; notifiers do the work: see
:mod:`zaqar.controllers.redrive_batches`.
"""

import time
from collections.abc import Sequence
from typing import Any

from zaqar.controllers import (
    queue_existence_check,
    redrive_records,
    redrive_request,
)
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.redrive_records import Redrive
from zaqar.controllers.redrive_selection import Selection
from zaqar.controllers.result_types import DryRun, StartedRedrive
from zaqar.errors import Conflict, InvalidRequest, NotFound
from zaqar.objects import Queue, Record, Scope
from zaqar.storage.abstract_stores import MessageStore
from zaqar.storage.record_updates_and_listing import repeat

#: Messages, bytes and seconds after which a dry run ends before the queue
#: does, and messages read at a time.
MOST_SCANNED, MOST_BYTES, MOST_SECONDS = 10_000, 32 << 20, 2.0
PAGE = 100


def create(
    ctx: Context, *, scope: Scope, document: Any
) -> StartedRedrive | DryRun:
    """Begin to move messages of a queue, or count what would be moved.

    :raises InvalidRequest: the document is malformed
    :raises NotFound: the queue does not exist
    :raises Conflict: a redrive of the queue is running
    """
    request = redrive_request.parse(document, scope)
    if not request.dry_run and not ctx.pipeline.notifies:
        raise InvalidRequest(
            'This service has no notifiers, which do the work of redrives: '
            '[storage] message_pipeline is empty.'
        )
    queue = ctx.catalogue.find(scope) or ctx.catalogue.read(scope)
    if queue is None:
        raise queue_existence_check.missing(scope)
    now = ctx.catalogue.store(queue).clock.now()
    redrive = Redrive(
        id=redrive_records.new_id(ctx.catalogue.management.clock.now()),
        project=scope.project,
        queue=scope.name,
        qid=queue.qid,
        started_at=now,
        to=request.to,
        filter=request.filter,
        limit=request.limit,
        rate=request.rate,
    )
    if request.dry_run:
        return _dry_run(ctx, redrive)
    _start(ctx, redrive)
    return StartedRedrive(redrive.id)


def targets(document: Any, scope: Scope) -> Scope | None:
    """Return the queue that a redrive posts to, None for sources of messages.

    For policies, before the document is checked.
    """
    to = document.get('to') if isinstance(document, dict) else None
    return Scope(scope.project, to) if isinstance(to, str) else None


def list_(ctx: Context, *, scope: Scope) -> Sequence[Redrive]:
    """Return the redrives of a queue of the last week, the newest first."""
    store = ctx.catalogue.management
    return redrive_records.shown(store, scope, store.clock.now())


def get(ctx: Context, *, scope: Scope, redrive_id: str) -> Redrive:
    """Return a redrive.

    :raises NotFound: there is none
    """
    store = ctx.catalogue.management
    redrive = redrive_records.find(store, scope, redrive_id, store.clock.now())
    if redrive is None:
        raise _missing(redrive_id)
    return redrive


def cancel(ctx: Context, *, scope: Scope, redrive_id: str) -> None:
    """Have a redrive end after the batch that is under way, if any.

    One that has ended stays as it is.

    :raises NotFound: there is none
    """
    store = ctx.catalogue.management

    def attempt() -> bool | None:
        record = redrive_records.job(store, scope)
        if record is None or record.data['id'] != redrive_id:
            get(ctx, scope=scope, redrive_id=redrive_id)
            return True
        redrive = redrive_records.read(record)
        if not redrive.has_ended:
            redrive.end('cancelled', store.clock.now())
            if not redrive_records.replace(store, redrive, record.version):
                return None
        _archive_unless_begun(ctx, scope)
        return True

    repeat(attempt)


def _start(ctx: Context, redrive: Redrive) -> None:
    store = ctx.catalogue.management
    other = redrive_records.start(store, redrive)
    if other is not None and other.has_ended:
        _archive_unless_begun(ctx, redrive.scope)
        other = redrive_records.start(store, redrive)
    if other is not None:
        state = 'ending' if other.has_ended else 'running'
        raise Conflict(
            f'Redrive {other.id} of queue {redrive.queue} is {state}. There '
            'is one at a time.'
        )


def _archive_unless_begun(ctx: Context, scope: Scope) -> None:
    """Archive a job that has ended before any notifier took it."""
    store = ctx.catalogue.management
    record: Record | None = redrive_records.job(store, scope)
    if record is None:
        return
    redrive = redrive_records.read(record)
    if redrive.has_ended and not redrive.was_taken:
        redrive_records.archive(store, redrive, record.version)


def _dry_run(ctx: Context, redrive: Redrive) -> DryRun:
    selection = Selection(redrive, ctx.cipher)

    def scan(store: MessageStore, queue: Queue) -> DryRun:
        end = time.monotonic() + MOST_SECONDS
        marker: str | None = None
        matched = scanned = size = 0

        def has_enough() -> bool:
            return (
                scanned >= MOST_SCANNED
                or size >= MOST_BYTES
                or time.monotonic() >= end
            )

        while True:
            page = store.list(
                queue.qid, now=store.clock.now(), limit=PAGE, marker=marker
            )
            for message in page.messages:
                # Within a page, too: large bodies take a while each.
                if has_enough():
                    return DryRun(matched, scanned, complete=False)
                scanned += 1
                size += len(message.body)
                matched += selection.target(message) is not None
                if matched == redrive.limit:
                    return DryRun(matched, scanned, complete=True)
            marker = page.resume
            if marker is None or has_enough():
                return DryRun(matched, scanned, complete=marker is None)

    return ctx.catalogue.run(redrive.scope, scan, DryRun(0, 0, complete=True))


def _missing(redrive_id: str) -> NotFound:
    return NotFound(f'Redrive {redrive_id} does not exist')

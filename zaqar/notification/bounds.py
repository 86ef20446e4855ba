# SPDX-License-Identifier: Apache-2.0
"""What one project may have waiting in an outbox."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator

import msgspec

from zaqar.controllers.encryption import Cipher
from zaqar.models import Message
from zaqar.notification import dues, metrics
from zaqar.storage.base import DUES, MessageStore

LOG = logging.getLogger(__name__)

#: Dues read, and deleted, at a time.
BATCH = 500


def trim(cipher: Cipher, store: MessageStore, most: int) -> int:
    """Give up dues of projects that have more than ``most``.

    Those that have failed already go first, the oldest of them before the
    others: what is new may still arrive.

    :returns: how many were given up
    """
    found: dict[str, list[tuple[bool, int, str]]] = defaultdict(list)
    for message in _all(store):
        try:
            due = dues.read(cipher, message)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
        is_fresh = due.attempt == 1 and not due.parks
        found[due.project].append((is_fresh, due.first_at, message.id))
    dropped = 0
    for project, waiting in found.items():
        surplus = sorted(waiting)[: max(0, len(waiting) - most)]
        ids = [message_id for _, _, message_id in surplus]
        for start in range(0, len(ids), BATCH):
            store.delete_many(
                DUES, ids[start : start + BATCH], now=store.clock.now()
            )
        if ids:
            LOG.error(
                'Project %s has more than %d deliveries waiting; %d are given '
                'up ([notification] max_outbox_per_project)',
                project,
                most,
                len(ids),
            )
            metrics.counters().deliveries.labels('any', 'dropped').inc(
                len(ids)
            )
            dropped += len(ids)
    return dropped


def _all(store: MessageStore) -> Iterator[Message]:
    marker: str | None = None
    while True:
        page = store.list(
            DUES,
            now=store.clock.now(),
            limit=BATCH,
            marker=marker,
            include_claimed=True,
            include_delayed=True,
        )
        yield from page.messages
        if page.resume is None:
            return
        marker = page.resume

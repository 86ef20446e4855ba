# SPDX-License-Identifier: Apache-2.0
"""Records of the outbox that cannot be read: they are retried later."""

import logging
from collections.abc import Sequence

from zaqar.controllers import outbox_records
from zaqar.notification import notifier_metrics, repeatable_outbox_posts
from zaqar.objects import Message
from zaqar.storage.abstract_stores import MessageStore

LOG = logging.getLogger(__name__)


def requeue(
    store: MessageStore, qid: str, unreadable: Sequence[Message]
) -> None:
    """Store unreadable records again, for a later attempt."""
    now = store.clock.now()
    again = [
        record
        for message in unreadable
        if (record := outbox_records.requeued(message, now)) is not None
    ]
    repeatable_outbox_posts.post(
        store, qid, again, [message.id for message in unreadable]
    )
    notifier_metrics.record('unreadable', len(unreadable))
    LOG.error(
        '%d records of the outbox cannot be read (message_encryption_keys '
        'changed, or a newer release wrote them); %d of them are retried in '
        '%d s, until they expire. The first one is %s.',
        len(unreadable),
        len(again),
        outbox_records.REQUEUE_SECONDS,
        unreadable[0].id,
    )

# SPDX-License-Identifier: Apache-2.0
"""Posts in place of messages, which the store recognizes when repeated."""

import hashlib
from collections.abc import Iterable, Sequence

from zaqar.objects import NewMessage
from zaqar.storage.abstract_stores import MessageStore
from zaqar.storage.splitting_into_posts import batches


def post(
    store: MessageStore,
    qid: str,
    messages: Iterable[NewMessage],
    ids: Sequence[str],
) -> None:
    """Store what takes the place of messages with these ids."""
    for number, batch in enumerate(batches(messages)):
        store.post(
            qid,
            batch,
            now=store.clock.now(),
            token=token_of([str(number), *ids]),
        )


def token_of(names: Sequence[str]) -> str:
    """Return what the store recognizes what it has by."""
    return hashlib.sha256('\n'.join(names).encode()).hexdigest()

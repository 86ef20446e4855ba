# SPDX-License-Identifier: Apache-2.0
"""Splitting of many messages into posts, so that none is too large."""

from collections.abc import Iterable, Iterator

from zaqar.objects import NewMessage

#: Maximum number of messages of a batch, and roughly of bytes.
MAX_MESSAGES = 500
MAX_BYTES = 2**20


def batches(messages: Iterable[NewMessage]) -> Iterator[list[NewMessage]]:
    """Yield the messages in order, each batch for one post."""
    batch: list[NewMessage] = []
    size = 0
    for message in messages:
        if batch and (
            len(batch) >= MAX_MESSAGES or size + len(message.body) > MAX_BYTES
        ):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += len(message.body)
    if batch:
        yield batch


def token_of(batch: list[NewMessage]) -> str:
    """Return what a store recognizes a batch by that is posted again."""
    return batch[0].rnd + batch[-1].rnd

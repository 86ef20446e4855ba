# SPDX-License-Identifier: Apache-2.0
"""Batches of messages are bounded in number and bytes."""

from __future__ import annotations

import pytest

from zaqar.objects import NewMessage
from zaqar.storage.splitting_into_posts import MAX_BYTES, MAX_MESSAGES, batches


def _messages(count: int, size: int) -> list[NewMessage]:
    body = b'x' * size
    return [
        NewMessage(body, 60, f'{number:016x}', '') for number in range(count)
    ]


@pytest.mark.parametrize(
    ('count', 'size', 'sizes'),
    [
        (0, 1, []),
        (1, 1, [1]),
        (MAX_MESSAGES, 1, [MAX_MESSAGES]),
        (MAX_MESSAGES + 1, 1, [MAX_MESSAGES, 1]),
        (5, MAX_BYTES // 2, [2, 2, 1]),
        # A message that is too large by itself has a batch of its own.
        (2, MAX_BYTES + 1, [1, 1]),
    ],
)
def test_all_messages_are_in_bounded_batches(
    count: int, size: int, sizes: list[int]
) -> None:
    messages = _messages(count, size)
    parts = [*batches(messages)]
    assert [len(part) for part in parts] == sizes
    assert [one for part in parts for one in part] == messages

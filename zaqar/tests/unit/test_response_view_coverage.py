# SPDX-License-Identifier: Apache-2.0
"""Each operation has a view in each transport, or nothing starts."""

from __future__ import annotations

import pytest

from zaqar.api import operation_table
from zaqar.transport import response_view_coverage

ROWS = [
    operation_table.BY_ACTION[name]
    for name in ('queue_get', 'topic_get', 'message_get', 'topic_message_get')
]


def test_topics_look_like_queues() -> None:
    views = response_view_coverage.complete(
        {'queue_get': 1, 'message_get': 2}, ROWS
    )
    assert list(views.values()) == [1, 1, 2, 2]


def test_an_operation_without_a_view_is_named() -> None:
    with pytest.raises(LookupError, match=r'message_get, topic_message_get$'):
        response_view_coverage.complete({'queue_get': 1}, ROWS)

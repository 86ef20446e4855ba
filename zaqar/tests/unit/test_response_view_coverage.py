# SPDX-License-Identifier: Apache-2.0
"""Each operation has a view in each transport, or nothing starts."""

from __future__ import annotations

import pytest

from zaqar.api import operation_table
from zaqar.microversion_constants import V2_0
from zaqar.transport import response_view_coverage
from zaqar.transport.websocket import response_views as websocket_views
from zaqar.transport.wsgi import response_views as wsgi_views

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


@pytest.mark.parametrize(
    ('report', 'status'),
    [
        ({'catalog_reachable': False}, 503),
        ({'catalog_reachable': True}, 200),
        ({'storage_reachable': False}, 200),
    ],
)
def test_a_catalogue_that_is_away_is_503_over_both(
    report: dict[str, bool], status: int
) -> None:
    request = websocket_views.RequestInfo(None, {}, repr, V2_0)
    answer = websocket_views.VIEWS['health'](report, request)
    assert answer == (status, report)
    response = wsgi_views.VIEWS[V2_0]['health'](report, None, '/v2/health')
    assert response.status == status

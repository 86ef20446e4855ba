# SPDX-License-Identifier: Apache-2.0
"""Quotas and rates of projects, over WebSocket."""

from __future__ import annotations

import time

from zaqar.api.microversions import HEADER
from zaqar.api_versions import V2_1
from zaqar.tests.functional.websocket.client import Talk
from zaqar.tests.functional.websocket.conftest import MakeServer

_REST = """
[quotas]
queues = 1
sockets = 2
[rates]
requests = 0.01
burst = 1000
"""

NEW = {HEADER: V2_1.header}


def test_a_project_has_no_more_sockets_than_it_may(
    make_server: MakeServer,
) -> None:
    url = make_server(rest=_REST).socket_url
    with Talk(url, 'p') as first, Talk(url, 'p') as second:
        for talk in (first, second):
            assert talk.ask('queue_list').status == 200
        with Talk(url, 'p') as third, Talk(url, 'other') as other:
            assert third.ask('queue_list').is_error(
                403,
                'Project p is over a limit for [Resource sockets is over '
                'limit of 2 due to current usage 2 and delta 1]',
            )
            assert other.ask('queue_list').status == 200
            shown = other.ask('quota_get', headers=NEW)
            assert shown.body['quotas']['sockets']['limit'] == 2
            # Its place is free when the server has noticed that it is gone.
            first.close()
            end = time.monotonic() + 30
            while third.ask('queue_list').status != 200:
                assert time.monotonic() < end


def test_frames_count_as_requests(make_server: MakeServer) -> None:
    url = make_server(rest=_REST).socket_url
    with Talk(url, 'p') as talk:
        statuses = [talk.ask('queue_list').status for _ in range(11)]
        assert statuses == [200] * 10 + [429]
        assert talk.ask('queue_list').is_error(429, 'Please try again in')

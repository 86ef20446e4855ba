# SPDX-License-Identifier: Apache-2.0
"""Quotas and rates of projects, over WebSocket."""

from __future__ import annotations

import time

import requests

from zaqar.api.microversion_negotiation import HEADER
from zaqar.microversion_constants import V2_1
from zaqar.tests.functional.event_source import PATIENCE, EventSource
from zaqar.tests.functional.websocket.client import Talk
from zaqar.tests.functional.websocket.conftest import MakeServer

_QUOTAS = '[quotas]\nsockets = 2\n'

_RATES = """
[rates]
requests = 0.01
burst = 1000
"""

NEW = {HEADER: V2_1.header}


def test_a_project_has_no_more_sockets_than_it_may(
    make_server: MakeServer,
) -> None:
    url = make_server(rest=_QUOTAS).socket_url
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
            end = time.monotonic() + 60
            while third.ask('queue_list').status != 200:
                assert time.monotonic() < end


def test_frames_count_as_requests(make_server: MakeServer) -> None:
    url = make_server(rest=_RATES).socket_url
    with Talk(url, 'p') as talk:
        statuses = [talk.ask('queue_list').status for _ in range(11)]
        assert statuses == [200] * 10 + [429]
        assert talk.ask('queue_list').is_error(429, 'Please try again in')


def test_a_stream_over_http_counts_as_a_socket(
    make_server: MakeServer,
) -> None:
    server = make_server(rest=_QUOTAS)
    url = server.socket_url.replace('ws:', 'http:') + '/v2/queues/q/messages'
    caller = {'X-Project-ID': 'p'}
    streams = [EventSource(url, caller) for _ in range(2)]
    assert [one.status for one in streams] == [200, 200]
    refused = EventSource(url, caller)
    assert refused.status == 403
    assert 'sockets is over limit of 2' in refused.response.text
    other = EventSource(url, {'X-Project-ID': 'other'})
    assert other.status == 200
    # Whoever keeps no connection needs no place.
    listed = requests.get(url, headers=caller, timeout=PATIENCE)
    assert listed.status_code != 403
    with Talk(server.socket_url, 'p') as talk:
        assert talk.ask('queue_list').is_error(403, 'over limit of 2')
        streams[0].close()
        end = time.monotonic() + 60
        while talk.ask('queue_list').status != 200:
            assert time.monotonic() < end
    for one in (streams[1], refused, other):
        one.close()

# SPDX-License-Identifier: Apache-2.0
"""A stream of a queue on each database; other stores use :func:`check`."""

from __future__ import annotations

import uuid

import requests

from zaqar.tests.functional.event_source import PATIENCE, EventSource
from zaqar.tests.servers.zaqar import Zaqar


def test_a_stream_is_cut_and_resumed(
    zaqar_on_each: Zaqar, project: str
) -> None:
    check(zaqar_on_each, project)


def check(zaqar: Zaqar, project: str) -> None:
    """Follow a queue from its beginning, from now on, and after a cut."""
    path = '/v2/queues/q/messages'
    url = zaqar.socket_url.replace('ws:', 'http:') + path
    caller = {'X-Project-ID': project}

    def post(*bodies: int) -> None:
        answer = requests.post(
            zaqar.url + path,
            json={'messages': [{'body': body} for body in bodies]},
            headers=caller | {'Client-ID': str(uuid.uuid4())},
            timeout=PATIENCE,
        )
        assert answer.status_code == 201

    late = EventSource(f'{url}?marker=now', caller)
    post(*range(30))
    stream = EventSource(url, caller)
    assert stream.take(10) == list(range(10))
    stream.close()
    post(30, 31)
    stream = EventSource(url, caller, stream.last_id)
    assert stream.take(22) == list(range(10, 32))
    now = EventSource(f'{url}?marker=now', caller)
    post(32)
    assert now.take(1) == stream.take(1) == [32]
    assert late.take(33) == list(range(33))
    for one in (stream, now, late):
        one.close()

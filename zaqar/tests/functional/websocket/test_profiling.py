# SPDX-License-Identifier: Apache-2.0
"""Traces of frames: admin/osprofiler, with a Redis for them."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator

import pytest

from zaqar.tests.functional import traces
from zaqar.tests.functional.websocket.client import Talk
from zaqar.tests.servers.zaqar import Zaqar

LAYERS = (
    'trace_websocket_transport',
    'trace_message_store',
    'trace_management_store',
)


@pytest.fixture(scope='module')
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Redis server."""
    folder: pathlib.Path = tmp_path_factory.mktemp('redis')
    server, url = traces.serve(folder)
    yield url
    server.stop()


@pytest.fixture(scope='module')
def traced(
    tmp_path_factory: pytest.TempPathFactory, redis: str
) -> Iterator[Zaqar]:
    """A server that traces every layer."""
    server = Zaqar(
        tmp_path_factory.mktemp('traced'),
        rest=traces.profiled(redis, *LAYERS),
    ).start()
    yield server
    assert server.stop() == 0


@pytest.mark.parametrize('is_binary', [False, True], ids=['json', 'msgpack'])
def test_a_frame_is_traced_through_every_layer(
    traced: Zaqar, redis: str, is_binary: bool
) -> None:
    trace, headers = traces.headers()
    messages = [{'body': 'attack at dawn'}]
    with Talk(traced.socket_url, is_binary=is_binary) as talk:
        said = talk.ask(
            'message_post',
            headers=headers,
            queue_name='q',
            messages=messages,
        )
        # The thread that was traced is not any more.
        assert talk.ask('queue_list').status == 200

    assert said.status == 201
    seen = traces.names(redis, trace)
    assert (seen[0], seen[-1]) == ('websocket-start', 'websocket-stop')
    assert seen.count('websocket-start') == 1
    assert 'sqlalchemy_management_controller.create-start' in seen
    assert seen.count('sqlalchemy_message_controller.post-stop') == 1
    records = traces.points(redis, trace)
    assert records[0]['info']['request'] == {'action': 'message_post'}
    assert 'attack' not in json.dumps(records)


def test_a_frame_that_fails_fails_alike_when_traced(
    traced: Zaqar, redis: str
) -> None:
    trace, headers = traces.headers()
    document = {'queue_name': 'q', 'message_id': 'none'}
    with Talk(traced.socket_url) as talk:
        plain = talk.ask('message_get', document)
        said = talk.ask('message_get', document, headers)

    assert (said.status, said.body) == (plain.status, plain.body)
    assert traces.names(redis, trace)[-1] == 'websocket-stop'


def test_only_who_knows_a_key_is_traced(traced: Zaqar, redis: str) -> None:
    trace, forged = traces.headers('guessed')
    strange = (
        forged,
        {**forged, 'X-Trace-HMAC': 'é'},
        {**forged, 'X-Trace-HMAC': 7},
        {'X-Trace-Info': {'base_id': trace}, 'X-Trace-HMAC': ['x']},
        {'X-Trace-Info': forged['X-Trace-Info']},
    )
    with Talk(traced.socket_url) as talk:
        for headers in strange:
            assert talk.ask('queue_list', headers=headers).status == 200

    assert traces.names(redis, trace) == []

# SPDX-License-Identifier: Apache-2.0
"""Quotas, where several processes create at the same moment."""

from __future__ import annotations

import contextlib
import pathlib
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Mapping

import pytest
import requests

from zaqar.tests.contract.crowd import each
from zaqar.tests.functional.websocket.client import Talk
from zaqar.tests.servers.zaqar import Zaqar, with_database

#: Of everything, and of the subscriptions to one queue.
_LIMIT = 5
_OF_QUEUE = 3

#: Bytes of a message.
_SIZE = 10

_REST = f"""
[storage]
message_pipeline = zaqar.notification.notifier
[quotas]
queues = {_LIMIT}
topics = {_LIMIT}
subscriptions = {_LIMIT}
subscriptions_per_queue = {_OF_QUEUE}
sockets = {_LIMIT}
message_bytes = {_LIMIT * _SIZE}
"""

#: Creates something at a server, in the project that is named for its
#: resource; the number tells it from others.
Create = Callable[[Zaqar, int], int]


def _headers(project: str) -> dict[str, str]:
    return {
        'X-Project-ID': project,
        'Client-ID': str(uuid.uuid4()),
        'OpenStack-API-Version': 'messaging 2.1',
    }


def _send(server: Zaqar, project: str, *request: str, body: object) -> int:
    method, path = request
    return requests.request(
        method,
        f'{server.url}/v2/{path}',
        json=body,
        headers=_headers(project),
        timeout=60,
    ).status_code


def _subscribe(server: Zaqar, project: str, queue: str, number: int) -> int:
    there = {'subscriber': f'http://localhost/{number}', 'ttl': 600}
    path = f'queues/{queue}/subscriptions'
    return _send(server, project, 'POST', path, body=there)


_MESSAGE = {'messages': [{'body': 'x' * (_SIZE - 2)}]}

_CREATORS: Mapping[str, Create] = {
    'queues': lambda server, number: _send(
        server, 'queues', 'PUT', f'queues/{number}', body={}
    ),
    'topics': lambda server, number: _send(
        server, 'topics', 'POST', f'topics/{number}/messages', body=_MESSAGE
    ),
    'subscriptions': lambda server, number: _subscribe(
        server, 'subscriptions', f'q{number % _LIMIT}', number
    ),
    'subscriptions_per_queue': lambda server, number: _subscribe(
        server, 'subscriptions_per_queue', 'q', number
    ),
    'message_bytes': lambda server, _: _send(
        server, 'message_bytes', 'POST', 'queues/q/messages', body=_MESSAGE
    ),
}


@pytest.fixture
def servers(tmp_path: pathlib.Path) -> Iterator[list[Zaqar]]:
    """Two servers on one database, each with one worker."""
    rest = _REST + with_database(f'sqlite:///{tmp_path}/zaqar.sqlite')
    with contextlib.ExitStack() as running:
        started = []
        for name in ('first', 'second'):
            folder = tmp_path / name
            folder.mkdir()
            started.append(Zaqar(folder, rest=rest).start())
            running.callback(started[-1].stop, signal.SIGKILL)
        yield started


def test_processes_exceed_a_quota_by_less_than_their_number(
    servers: list[Zaqar],
) -> None:
    with contextlib.ExitStack() as opened:

        def connect(server: Zaqar, _: int) -> int:
            talk = opened.enter_context(Talk(server.socket_url, 'sockets'))
            status = talk.ask('queue_list').status
            return 201 if status == 200 else status

        # A server records now and then how many it has: meanwhile the others.
        creators = {'sockets': connect, **_CREATORS}
        for resource, create in creators.items():
            for number in range(_limit(resource) - 1):
                assert create(servers[0], number) == 201
        for resource, create in _CREATORS.items():
            _create_eight(servers, resource, create)
        end = time.monotonic() + 60
        while _usage(servers[1], 'sockets') != _LIMIT - 1:
            assert time.monotonic() < end
            time.sleep(0.1)
        _create_eight(servers, 'sockets', connect)


def _limit(resource: str) -> int:
    return _OF_QUEUE if resource == 'subscriptions_per_queue' else _LIMIT


def _create_eight(servers: list[Zaqar], resource: str, create: Create) -> None:
    statuses = each(
        lambda number: create(servers[number % 2], _LIMIT + number), range(8)
    )
    assert set(statuses) == {201, 403}, resource
    assert 1 <= statuses.count(201) <= len(servers), resource
    usage = _usage(servers[0], resource)
    if usage is not None and resource != 'sockets':
        size = _SIZE if resource == 'message_bytes' else 1
        made = _limit(resource) - 1 + statuses.count(201)
        assert usage == made * size, resource


def _usage(server: Zaqar, project: str) -> int | None:
    shown = requests.get(
        f'{server.url}/v2/quotas', headers=_headers(project), timeout=60
    ).json()['quotas']
    usage: int | None = shown[project]['usage']
    return usage

# SPDX-License-Identifier: Apache-2.0
"""The running service on Redis: it serves, waits and recovers."""

from __future__ import annotations

import pathlib
import uuid
from collections.abc import Callable
from typing import Any

import requests

from zaqar.tests.contract.crowd import ends_within
from zaqar.tests.functional.redis.conftest import DURABLE
from zaqar.tests.functional.redis.test_access import settings
from zaqar.tests.servers.redis import Redis
from zaqar.tests.servers.zaqar import Zaqar

Start = Callable[..., Redis]

HEADERS = {'Client-ID': str(uuid.uuid4()), 'X-Project-ID': 'demo'}


def ask(server: Zaqar, method: str, path: str, **body: Any) -> Any:
    """Ask the service about the queue of the tests."""
    return requests.request(
        method,
        f'{server.url}/v2/queues/orders{path}',
        headers=HEADERS,
        json=body or None,
        timeout=60,
    )


def post(server: Zaqar, body: str) -> Any:
    """Post a message."""
    return ask(server, 'POST', '/messages', messages=[{'body': body}])


def test_an_outage_is_503_with_retry_after_and_nothing_is_lost(
    own_server: Start, tmp_path: pathlib.Path
) -> None:
    redis = own_server(**DURABLE)
    server = Zaqar(tmp_path, rest=settings(redis.url)).start()
    try:
        assert post(server, 'before').status_code == 201
        redis.kill()
        for call in (
            lambda: post(server, 'during'),
            lambda: ask(server, 'GET', '/messages?echo=true'),
            lambda: ask(server, 'POST', '/claims', ttl=60, grace=60),
        ):
            with ends_within(5):
                answer = call()
            assert answer.status_code == 503
            assert answer.headers['Retry-After']
        redis.start()
        assert post(server, 'after').status_code == 201
        claim = ask(server, 'POST', '/claims', ttl=60, grace=60)
        assert claim.status_code == 201
        bodies = [one['body'] for one in claim.json()['messages']]
        assert bodies == ['before', 'after']
    finally:
        assert server.stop() == 0


def test_it_starts_without_its_server_and_recovers_by_itself(
    own_server: Start, tmp_path: pathlib.Path
) -> None:
    redis = own_server()
    redis.kill()
    server = Zaqar(tmp_path, rest=settings(redis.url)).start()
    try:
        assert post(server, 'a').status_code == 503
        redis.start()
        assert post(server, 'b').status_code == 201
    finally:
        assert server.stop() == 0

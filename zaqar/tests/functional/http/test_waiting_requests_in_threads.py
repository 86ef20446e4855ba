# SPDX-License-Identifier: Apache-2.0
"""Requests that wait where each holds a thread."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from zaqar.tests.functional.http.client import Api, Response
from zaqar.tests.functional.http.conftest import MakeApi

pytestmark = pytest.mark.sqlite

CLAIMS = '/v2/queues/q/claims'
MESSAGES = '/v2/queues/q/messages'

VERSION = {'OpenStack-API-Version': 'messaging 2.1'}

#: Longer than any of these tests may take.
LONG = 60


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


@pytest.fixture
def api(make_api: MakeApi) -> Api:
    return make_api('[drivers:transport:wsgi]\nmax_waiting = 2\n')


def claim(api: Api, wait: int = LONG, **body: Any) -> Response:
    return api('POST', f'{CLAIMS}?limit=1&wait={wait}', body, headers=VERSION)


def post(api: Api, *bodies: Any) -> None:
    messages = [{'body': body} for body in bodies]
    assert api('POST', MESSAGES, {'messages': messages}).status == 201


def bodies(answer: Response) -> list[Any]:
    return [message['body'] for message in answer.json['messages']]


def begun(
    api: Api, pool: ThreadPoolExecutor, count: int
) -> list[Future[Response]]:
    """Return requests that wait."""
    waiting = [pool.submit(claim, api, ttl=60, grace=60) for _ in range(count)]
    waiters = api.service.waited.waiters
    while len(waiters) < count:
        assert not any(each.done() for each in waiting)
    return waiting


def test_messages_end_waits(api: Api, pool: ThreadPoolExecutor) -> None:
    waiting = begun(api, pool, 2)
    post(api, 'a')
    post(api, 'b')
    answers = [each.result() for each in waiting]
    assert sorted(bodies(answer)[0] for answer in answers) == ['a', 'b']
    assert not len(api.service.waited.waiters)


def test_faults_are_not_waited_for(api: Api) -> None:
    for _ in range(3):
        assert claim(api, ttl=0).status == 400
        assert claim(api, wait=1).status == 204
    assert not len(api.service.waited.waiters)


@pytest.mark.parametrize(
    ('method', 'path', 'status'),
    [
        ('POST', f'{CLAIMS}?limit=1', 204),
        ('GET', f'{MESSAGES}?echo=true', 200),
        ('DELETE', f'{MESSAGES}?pop=1', 200),
    ],
)
def test_those_that_may_not_wait_are_answered_at_once(
    make_api: MakeApi, method: str, path: str, status: int
) -> None:
    api = make_api()
    answer = api(method, f'{path}&wait={LONG}', headers=VERSION)
    assert answer.status == status
    assert answer.headers['retry-after'] == '1'
    assert not len(api.service.waited.waiters)
    # Not so what need not wait.
    answer = api(method, f'{path}&wait=0', headers=VERSION)
    assert 'retry-after' not in answer.headers
    answer = api(method, f'{path}&wait={LONG}')
    assert 'retry-after' not in answer.headers
    post(api, 'a')
    answer = api(method, f'{path}&wait={LONG}', headers=VERSION)
    assert bodies(answer) == ['a']
    assert 'retry-after' not in answer.headers

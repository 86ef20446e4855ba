# SPDX-License-Identifier: Apache-2.0
"""Rates: how much a project may do per second."""

from __future__ import annotations

from typing import Any

import pytest

from zaqar import top_projects
from zaqar.tests.functional.http.client import PROJECT, Api, Response
from zaqar.tests.functional.http.conftest import MakeApi

pytestmark = pytest.mark.sqlite

# So slow that nothing comes back while a test runs.
SLOW = '[rates]\nburst = 1000\n{} = 0.003\n'


def _is_refused(answer: Response, name: str, policy: str) -> bool:
    seconds = int(answer.headers['retry-after'])
    assert 0 < seconds <= 1000
    assert answer.headers['ratelimit'] == f'"{name}";r=0;t={seconds}'
    assert answer.headers['ratelimit-policy'] == f'"{name}";{policy}'
    return answer.is_error(429, 'Too many requests', 'a-project may have')


def test_requests_have_a_rate_for_each_project(make_api: MakeApi) -> None:
    api = make_api(SLOW.format('requests'))
    assert [api('GET', '/v2/queues').status for _ in range(3)] == [200] * 3
    refused = api('GET', '/v2/queues')
    assert _is_refused(refused, 'requests', 'q=3;w=1000')
    assert api.as_project('other')('GET', '/v2/queues').status == 200


def _post(api: Api, *bodies: Any) -> Response:
    messages = {'messages': [{'body': body} for body in bodies]}
    return api('POST', '/v2/queues/q/messages', messages)


def test_messages_have_a_rate(make_api: MakeApi) -> None:
    api = make_api(SLOW.format('messages'))
    assert _post(api, 1, 2).status == 201
    refused = _post(api, 3, 4)
    assert _is_refused(refused, 'messages', 'q=3;w=1000')
    assert api.bodies('q') == [1, 2]
    assert _post(api, 3).status == 201


def test_bytes_have_a_rate_and_a_full_bucket_takes_anything(
    make_api: MakeApi,
) -> None:
    text = '[rates]\nburst = 10\nmessage_bytes = 100\n'
    api = make_api(text)
    assert _post(api, 'a' * 50_000).status == 201
    policy = 'q=1000;w=10;qu="content-bytes"'
    refused = _post(api, 'a')
    assert int(refused.headers['retry-after']) > 400
    assert _is_refused(refused, 'message_bytes', policy)


def test_what_is_refused_for_its_bytes_takes_no_messages(
    make_api: MakeApi,
) -> None:
    text = '[rates]\nburst = 1000\nmessages = 0.003\nmessage_bytes = 0.1\n'
    api = make_api(text)
    assert _post(api, 1).status == 201
    assert _post(api, 'a' * 200).status == 429
    assert _post(api, 2, 3).status == 201


def test_who_does_most_is_counted(
    make_api: MakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = make_api('[metrics]\ntop_projects = 1\n' + SLOW.format('messages'))
    assert [_post(api, 1, 2).status for _ in range(2)] == [201, 429]
    api.as_project('other')('GET', '/v2/queues')
    # The minute is over.
    monkeypatch.setattr(top_projects, 'INTERVAL', 0.0)
    _post(api, 3)
    counted = api.service.metrics.top_projects
    assert counted is not None
    size = (
        len('{"messages": []}' + '{"body": 1}') * 3 + len(', {"body": 1}') * 2
    )
    assert counted.facts() == {
        'requests': f'{PROJECT} 3',
        'bytes': f'{PROJECT} {size}',
        'rejections': f'{PROJECT} 1',
    }

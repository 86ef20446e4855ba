# SPDX-License-Identifier: Apache-2.0
"""Requests about the subscriptions of a queue."""

from __future__ import annotations

from typing import Any

from zaqar.tests.functional.http.client import Api, Response

QUEUE = '/v2/queues/jobs'
ALL = f'{QUEUE}/subscriptions'
HOOK = 'https://ops.example/hook'


def post(api: Api, **fields: Any) -> Response:
    """Subscribe the hook."""
    return api('POST', ALL, {'subscriber': HOOK, **fields})


def make(api: Api, **fields: Any) -> str:
    """Subscribe the hook; return the path of the subscription."""
    answer = post(api, **fields)
    assert answer.status == 201, answer
    return f'{ALL}/{answer.json["subscription_id"]}'


def listed(api: Api, query: str = '') -> list[str]:
    """Return the subscribers of a page."""
    page = api('GET', f'{ALL}{query}').json['subscriptions']
    return [one['subscriber'] for one in page]

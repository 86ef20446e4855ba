# SPDX-License-Identifier: Apache-2.0
"""Quotas, where several processes create at the same moment."""

from __future__ import annotations

import uuid

import requests

from zaqar.tests.contract.crowd import each
from zaqar.tests.functional.server.conftest import MakeServer

_LIMIT = 5
_PROCESSES = 2

_REST = f"""
[quotas]
queues = {_LIMIT}
subscriptions = {_LIMIT}
[storage]
message_pipeline = zaqar.notification.notifier
"""


def test_processes_exceed_a_quota_by_less_than_their_number(
    make_server: MakeServer,
) -> None:
    server = make_server(workers=_PROCESSES, rest=_REST).start()
    headers = {
        'X-Project-ID': 'p',
        'Client-ID': str(uuid.uuid4()),
        'OpenStack-API-Version': 'messaging 2.1',
    }

    def queue(number: int) -> int:
        url = f'{server.url}/v2/queues/q{number}'
        return requests.put(url, headers=headers, timeout=60).status_code

    def subscription(number: int) -> int:
        return requests.post(
            f'{server.url}/v2/queues/q0/subscriptions',
            json={'subscriber': f'http://localhost/{number}', 'ttl': 600},
            headers=headers,
            timeout=60,
        ).status_code

    made = {}
    for name, create in (('queues', queue), ('subscriptions', subscription)):
        statuses = [create(number) for number in range(_LIMIT - 1)]
        assert statuses == [201] * len(statuses)
        more = each(create, range(_LIMIT, _LIMIT + 8))
        assert set(more) == {201, 403}
        made[name] = len(statuses) + more.count(201)
        assert _LIMIT <= made[name] <= _LIMIT + _PROCESSES - 1
    shown = requests.get(
        f'{server.url}/v2/quotas', headers=headers, timeout=60
    ).json()['quotas']
    assert {name: shown[name]['usage'] for name in made} == made

# SPDX-License-Identifier: Apache-2.0
"""What 2.1 adds to subscriptions, over WebSocket."""

from __future__ import annotations

from typing import Any

from zaqar.tests.functional.websocket.client import Talk

VERSION = {'OpenStack-API-Version': 'messaging 2.1'}
BODY = {'queue_name': 'q'}
HOOK = 'https://ops.example/hook'


def test_filters_secrets_attempts_and_replays(talk: Talk) -> None:
    def ask(action: str, status: int, **members: Any) -> Any:
        said = talk.ask(action, headers=VERSION, **BODY, **members)
        assert said.status == status, said
        return said.body

    wrong = {'subscriber': HOOK, 'options': {'_filter': {'a': 1}}}
    ask('subscription_create', 400, **wrong)
    options = {'_filter': {'a': [1]}}
    created = ask('subscription_create', 201, subscriber=HOOK, options=options)
    item = {'subscription_id': created['subscription_id']}
    assert ask('subscription_get', 200, **item)['options'] == options
    shown = ask('subscription_secret', 200, **item)
    assert shown == {'secret': created['secret'], 'former_until': None}
    rotated = ask('subscription_rotate_secret', 200, **item)
    assert rotated['secret'] != shown['secret']
    assert rotated['former_until']
    counts = ask('subscription_deliveries', 200, **item)
    assert (counts['filtered'], counts['pending']) == (0, 0)
    page = ask('subscription_attempts', 200, **item, state='given_up')
    assert page == {'attempts': []}
    ask('subscription_attempts', 400, **item, state='lost')
    ask('subscription_resend', 404, **item, attempt_id='x')
    assert ask('subscription_replay', 202, **item, marker='x') == {}
    ask('subscription_replay', 409, **item, marker='x')
    ask('subscription_replay', 400, **item, since='yesterday')
    # Below its version there is no such action.
    assert talk.ask('subscription_secret', **BODY, **item).status == 400

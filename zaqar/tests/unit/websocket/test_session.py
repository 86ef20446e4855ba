# SPDX-License-Identifier: Apache-2.0
"""Unforeseen errors of an operation: reference/websocket, "Frames"."""

from __future__ import annotations

import logging
import re
from typing import Any

import msgspec
import pytest

from zaqar.api import operation_table
from zaqar.api.dispatch import explained
from zaqar.controllers.api_limits_and_defaults import Limits
from zaqar.controllers.url_signatures import Signer
from zaqar.errors import StoreUnavailable
from zaqar.transport.websocket.frame_and_answer_types import Frame
from zaqar.transport.websocket.frame_authentication import Authenticator
from zaqar.transport.websocket.frame_handler import FrameHandler

HEADERS = {
    'Client-ID': '11111111-2222-4333-8444-555555555555',
    'X-Project-ID': 'p',
    'X-Auth-Token': 'gAAAA-secret',
}

DOCUMENT = {
    'action': 'queue_get',
    'headers': HEADERS,
    'body': {
        'queue_name': 'q',
        'topic_name': 't',
        'claim_id': 'c',
        'message_id': 'm',
        'subscription_id': 's',
        'pool_name': 'p',
        'flavor_name': 'f',
        'project_id': 'p',
        'body': 'private',
    },
}


class Failing:
    """In the place of the dispatcher: raises whatever it is given."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def run(self, *_: Any, **__: Any) -> Any:
        raise self.error


def _answer(
    error: Exception, is_binary: bool, action: str = 'queue_get'
) -> Any:
    handler: Any = FrameHandler(
        Failing(error),  # type: ignore[arg-type]
        Authenticator(Limits(), Signer(), None),
    )
    coder: Any = msgspec.msgpack if is_binary else msgspec.json
    session = handler.session('11111111-2222-4333-8444-555555555555')
    document = {**DOCUMENT, 'action': action}
    frame = Frame(coder.encode(document), is_binary)
    answer = handler.answer(session, frame)
    assert answer.is_binary is is_binary
    return coder.decode(answer.data)


@pytest.mark.parametrize('is_binary', [False, True])
def test_what_nobody_foresaw_is_told_to_no_one(
    is_binary: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        said = _answer(RuntimeError('at /etc/passwd'), is_binary)
    assert said['headers'] == {'status': 500}
    error = said['body']['error']
    assert re.search(r'\(req-[0-9a-f-]{36}\)', error)
    assert said['body'] == {'error': error, 'exception': error}
    assert 'passwd' not in repr(said)
    assert 'at /etc/passwd' in caplog.text
    assert 'private' not in caplog.text
    assert 'gAAAA-secret' not in caplog.text


@pytest.mark.parametrize('is_binary', [False, True])
def test_a_silent_store_is_503_with_the_request_repeated(
    is_binary: bool,
) -> None:
    said = _answer(StoreUnavailable('Not now.'), is_binary)
    assert said['headers'] == {'status': 503}
    assert said['body'] == {'error': 'Not now.', 'exception': 'Not now.'}
    assert said['request']['action'] == 'queue_get'
    assert 'X-Auth-Token' not in said['request']['headers']


FAILURES = [
    ('queue_create', 'Queue q could not be created.'),
    ('queue_delete', 'Queue q could not be deleted.'),
    ('queue_list', 'Queues could not be listed.'),
    ('queue_get', 'Queue q metadata could not be retrieved.'),
    ('queue_purge', 'Queue q could not be purged.'),
    ('topic_create', 'Topic t could not be created.'),
    ('message_post', 'Messages could not be enqueued.'),
    ('message_get', 'Message m could not be retrieved.'),
    ('message_delete', 'Message m could not be deleted.'),
    ('claim_create', 'Claim could not be created.'),
    ('claim_update', 'Claim c could not be updated.'),
    ('claim_delete', 'Claim c could not be deleted.'),
    ('subscription_create', 'Subscription q could not be created.'),
    ('subscription_delete', 'Subscription s could not be deleted.'),
    ('pool_get', 'Pool p could not be retrieved.'),
    ('flavor_delete', 'Flavor f could not be deleted.'),
]


@pytest.mark.parametrize('is_binary', [False, True])
@pytest.mark.parametrize(('action', 'text'), FAILURES)
def test_a_store_that_fails_is_said_with_the_name(
    action: str, text: str, is_binary: bool
) -> None:
    row = operation_table.BY_ACTION[action]
    said = _answer(explained(StoreUnavailable(), row), is_binary, action)
    assert said['headers'] == {'status': 503}
    assert said['body'] == {'error': text, 'exception': text}

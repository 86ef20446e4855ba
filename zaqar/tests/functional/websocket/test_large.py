# SPDX-License-Identifier: Apache-2.0
"""Large messages: 10 MiB in and out, and as a push."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from zaqar.tests.functional.websocket.client import Talk
from zaqar.tests.servers.zaqar import Zaqar

SIZE = 10 * 1024 * 1024

#: A body that fits, with its frame of other keys.
BODY = 'ä' * ((SIZE - 100) // 2)


@pytest.fixture(scope='module')
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zaqar]:
    """A server that takes them."""
    zaqar = Zaqar(
        tmp_path_factory.mktemp('large'),
        rest=f'[transport]\nmax_messages_post_size = {SIZE}\n',
    ).start()
    yield zaqar
    assert zaqar.stop() == 0


@pytest.mark.parametrize('is_binary', [False, True])
def test_a_large_message_is_posted_claimed_and_pushed(
    large: Zaqar, project: str, is_binary: bool
) -> None:
    with Talk(large.socket_url, project, is_binary=is_binary) as talk:
        said = talk.ask('subscription_create', queue_name='q')
        assert said.status == 201
        # As text of ASCII it would be three times as long.
        with Talk(large.socket_url, project, is_binary=True) as poster:
            poster.post('q', BODY)
        assert talk.pushed()['body'] == BODY
        claimed = talk.ask('claim_create', queue_name='q')
        assert claimed.body['messages'][0]['body'] == BODY
        assert talk.ask('queue_delete', queue_name='q').status == 204


def test_one_posted_over_http_is_pushed(large: Zaqar, project: str) -> None:
    with Talk(large.socket_url, project) as talk:
        talk.ask('subscription_create', queue_name='q')
        body = 'x' * (SIZE - 100)
        answer = requests.post(
            f'{large.url}/v2/queues/q/messages',
            json={'messages': [{'body': body}]},
            headers=talk.headers,
            timeout=60,
        )
        assert answer.status_code == 201
        assert talk.pushed()['body'] == body


@pytest.mark.parametrize('is_binary', [False, True])
def test_one_byte_too_many_is_refused(
    large: Zaqar, project: str, is_binary: bool
) -> None:
    with Talk(large.socket_url, project, is_binary=is_binary) as talk:
        said = talk.ask(
            'message_post', queue_name='q', messages=[{'body': 'x' * SIZE}]
        )
        assert said.is_error(400, 'too large')
        assert talk.bodies('q') == []


def test_message_pack_counts_as_received(server: Zaqar, project: str) -> None:
    # As JSON six times as long.
    body = '\0' * 200_000
    with Talk(server.socket_url, project, is_binary=True) as talk:
        talk.post('q', body)
        assert talk.bodies('q') == [body]

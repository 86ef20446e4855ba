# SPDX-License-Identifier: Apache-2.0
"""``zaqar-server`` with bodies in Swift, as operators set it up."""

from __future__ import annotations

import pathlib
import secrets
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from zaqar.tests.contract.crowd import ends_within
from zaqar.tests.functional.swift.objects import LARGE
from zaqar.tests.servers.swift import PASSWORD, Swift
from zaqar.tests.servers.zaqar import Zaqar

HEADERS = {
    'Client-ID': '3381af92-2b9e-11e3-b191-71861300734c',
    'X-Project-ID': 'p',
    'X-Roles': 'admin',
}

STORES = """
[drivers]
message_store = swift
management_store = sqlalchemy
[drivers:message_store:swift]
uri = {uri}
auth_url = {auth_url}
"""

MakeServer = Callable[..., Zaqar]


@pytest.fixture
def make_server(tmp_path: pathlib.Path) -> Iterator[MakeServer]:
    """Prepare servers; those that were started end with the test."""
    servers: list[Zaqar] = []

    def make(**settings: Any) -> Zaqar:
        servers.append(Zaqar(tmp_path, **settings))
        return servers[-1]

    yield make
    for server in servers:
        if hasattr(server, 'process'):
            server.stop(signal.SIGKILL)


@pytest.fixture
def service(make_server: MakeServer, swift: Swift) -> Zaqar:
    """A service whose message store is Swift."""
    stores = STORES.format(uri=swift.uri, auth_url=swift.auth_url)
    return make_server(rest=stores).start()


def ask(
    server: Zaqar, method: str, path: str, document: Any = None
) -> requests.Response:
    """Send a request; all are of one client, and see its own messages."""
    return requests.request(
        method,
        f'{server.url}/v2/{path}',
        json=document,
        params={'echo': 'true'} if method == 'GET' else None,
        headers=HEADERS,
        timeout=60,
    )


def post(server: Zaqar, queue: str, *bodies: Any) -> requests.Response:
    """Post messages."""
    document = {'messages': [{'body': body, 'ttl': 300} for body in bodies]}
    return ask(server, 'POST', f'queues/{queue}/messages', document)


def shown(server: Zaqar, queue: str) -> list[Any]:
    """Return the bodies that a listing shows."""
    answer = ask(server, 'GET', f'queues/{queue}/messages')
    assert answer.status_code == 200, answer.text
    return [message['body'] for message in answer.json()['messages']]


def test_messages_of_all_sizes_are_posted_claimed_and_deleted(
    service: Zaqar,
) -> None:
    sent = [{'a': LARGE}, 'b', 'x' * 200_000]
    assert post(service, 'q', *sent).status_code == 201
    assert shown(service, 'q') == sent
    claim = ask(service, 'POST', 'queues/q/claims', {'ttl': 60, 'grace': 60})
    assert [item['body'] for item in claim.json()['messages']] == sent
    for message in claim.json()['messages']:
        path = message['href'].removeprefix('/v2/')
        assert ask(service, 'DELETE', path).status_code == 204
    assert shown(service, 'q') == []


def test_while_swift_is_down_small_messages_are_served_and_others_503(
    service: Zaqar, swift: Swift
) -> None:
    post(service, 'q', LARGE)
    with swift.down('object'):
        for call in (
            lambda: post(service, 'q', 'b', LARGE),
            lambda: ask(service, 'GET', 'queues/q/messages'),
        ):
            with ends_within(5):
                answer = call()
            assert answer.status_code == 503
            assert int(answer.headers['Retry-After']) > 0
        assert post(service, 'small', 'b').status_code == 201
        assert shown(service, 'small') == ['b']
    assert shown(service, 'q') == [LARGE]


def test_a_pool_may_keep_its_bodies_in_swift(
    make_server: MakeServer, swift: Swift
) -> None:
    server = make_server(general='pooling = True\nadmin_mode = True').start()
    pool = {
        'uri': swift.uri,
        'weight': 1,
        'options': {'auth_url': swift.auth_url},
    }
    answer = ask(server, 'PUT', 'pools/bodies', pool)
    assert answer.status_code == 201, answer.text
    ask(server, 'PUT', 'flavors/large', {'pool_list': ['bodies']})
    queue = secrets.token_hex(8)
    created = ask(server, 'PUT', f'queues/{queue}', {'_flavor': 'large'})
    assert created.status_code == 201, created.text
    before = len(swift.objects())
    assert post(server, queue, LARGE, 'b').status_code == 201
    assert shown(server, queue) == [LARGE, 'b']
    assert len(swift.objects()) == before + 1


@pytest.mark.parametrize(
    ('fault', 'pool'),
    {
        'wrong password': {'uri': 'swift://tester:wrong@/zaqar'},
        'no project': {'uri': 'swift://tester:testing@/'},
        'no URL': {'options': {'auth_url': 'nowhere'}},
    }.items(),
)
def test_a_pool_that_cannot_be_opened_is_refused(
    make_server: MakeServer, swift: Swift, fault: str, pool: dict[str, Any]
) -> None:
    server = make_server(general='pooling = True\nadmin_mode = True').start()
    good = {
        'uri': swift.uri,
        'weight': 1,
        'options': {'auth_url': swift.auth_url},
    }
    answer = ask(server, 'PUT', 'pools/bodies', good | pool)
    assert answer.status_code == 400, fault


FAULTS = {
    'management store in Swift, too': (
        '[drivers]\nmessage_store = swift\n[drivers:message_store:swift]\n'
        'uri = {uri}\nauth_url = {auth_url}\n',
        'management_store = sqlalchemy',
    ),
    'no URI': (
        '[drivers]\nmessage_store = swift\nmanagement_store = sqlalchemy\n',
        '[drivers:message_store:swift] uri is not set',
    ),
    'refused password': (
        STORES.replace('uri = {uri}', 'uri = swift://tester:wrong@/zaqar'),
        '[drivers:message_store:swift] uri',
    ),
    'a URI of something else': (
        STORES.replace('uri = {uri}', 'uri = http://127.0.0.1/v1'),
        'swift://user:password@/project',
    ),
}


@pytest.mark.parametrize('fault', FAULTS)
def test_a_fault_of_the_configuration_ends_the_start_with_one_line(
    make_server: MakeServer, swift: Swift, fault: str
) -> None:
    text, message = FAULTS[fault]
    server = make_server(
        rest=text.format(uri=swift.uri, auth_url=swift.auth_url)
    )
    done = server.run()
    assert done.returncode == 1
    assert message in done.stderr
    assert 'Traceback' not in done.stderr
    assert PASSWORD not in done.stderr

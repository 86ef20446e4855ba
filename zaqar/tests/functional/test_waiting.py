# SPDX-License-Identifier: Apache-2.0
"""Requests that wait for messages, over HTTP."""

from __future__ import annotations

import pathlib
import signal
import socket
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import requests

from zaqar.tests.contract.crowd import ends_within
from zaqar.tests.servers.zaqar import Zaqar

CLIENT = str(uuid.UUID(int=1))
OTHER_CLIENT = str(uuid.UUID(int=2))

#: Longer than any of these tests may take.
LONG = 60

_HTTP_ALONE = '[drivers]\ntransport = wsgi\n[notification]\nembedded = False\n'


class Api:
    """A client that waits.

    Its requests are sent through connections of their own, hence to either
    worker.
    """

    def __init__(
        self,
        url: str,
        project: str,
        version: str = '2.1',
        client: str = CLIENT,
    ) -> None:
        self._url = f'{url}/v2/queues'
        self._headers = {
            'Client-ID': client,
            'X-Project-ID': project,
            'OpenStack-API-Version': f'messaging {version}',
        }
        self.pool = ThreadPoolExecutor(32)

    def __call__(
        self, method: str, path: str, document: Any = None
    ) -> requests.Response:
        return requests.request(
            method,
            f'{self._url}/{path}'.replace('/?', '?'),
            json=document,
            headers=self._headers,
            timeout=LONG + 5,
        )

    def post(self, queue: str, *bodies: Any, **more: Any) -> None:
        messages = [{'body': body, **more} for body in bodies]
        answer = self('POST', f'{queue}/messages', {'messages': messages})
        assert answer.status_code == 201, answer.text

    def waiting(
        self, method: str, path: str, document: Any = None
    ) -> Future[requests.Response]:
        """Begin a request."""
        return self.pool.submit(self, method, path, document)

    def raw(self, method: str, path: str) -> bytes:
        """Return the bytes of a request without a body."""
        lines = [f'{method} /v2/queues/{path} HTTP/1.1', 'Host: x']
        lines += [f'{name}: {text}' for name, text in self._headers.items()]
        return '\r\n'.join([*lines, 'Content-Length: 0', '', '']).encode()


@pytest.fixture
def api(zaqar: Zaqar, project: str) -> Iterator[Api]:
    made = Api(zaqar.url, project)
    yield made
    made.pool.shutdown()


@pytest.fixture
def stored(zaqar_on_each: Zaqar, project: str) -> Iterator[Api]:
    """The same on each engine, where it has to notice what ends a wait."""
    made = Api(zaqar_on_each.url, project)
    yield made
    made.pool.shutdown()


@pytest.fixture
def alone(tmp_path: pathlib.Path) -> Iterator[Zaqar]:
    """A server with one worker, for tests that stop it."""
    server = Zaqar(tmp_path, rest=_HTTP_ALONE).start()
    yield server
    server.stop(signal.SIGKILL)


def bodies(answer: requests.Response) -> Sequence[Any]:
    return [message['body'] for message in answer.json()['messages']]


@pytest.mark.parametrize('is_known', [True, False])
@pytest.mark.parametrize(
    ('method', 'path', 'status'),
    [
        ('POST', 'claims?limit=1', 201),
        ('GET', 'messages?echo=true', 200),
        ('DELETE', 'messages?pop=1', 200),
    ],
)
def test_a_message_ends_a_wait(
    stored: Api, method: str, path: str, status: int, is_known: bool
) -> None:
    if is_known:
        assert stored('PUT', 'q').status_code == 201
    waiting = [
        stored.waiting(method, f'q/{path}&wait={LONG}') for _ in range(4)
    ]
    for number in range(4):
        stored.post('q', number)
    answers = [each.result() for each in waiting]
    assert {answer.status_code for answer in answers} == {status}
    seen = [body for answer in answers for body in bodies(answer)]
    if method == 'GET':
        assert set(seen) <= {0, 1, 2, 3}
        assert {bodies(answer)[0] for answer in answers} == {0}
    else:
        assert sorted(seen) == [0, 1, 2, 3]


def test_what_is_there_is_not_waited_for(api: Api) -> None:
    api.post('q', 'a')
    before = time.monotonic()
    assert bodies(api('GET', f'q/messages?echo=true&wait={LONG}')) == ['a']
    assert bodies(api('POST', f'q/claims?wait={LONG}')) == ['a']
    assert api('POST', 'q/claims?wait=0').status_code == 204
    assert time.monotonic() - before < LONG / 2


def test_the_time_is_over(api: Api) -> None:
    waiting = [
        api.waiting('POST', 'q/claims?wait=1'),
        api.waiting('GET', 'q/messages?wait=1'),
        api.waiting('DELETE', 'q/messages?pop=1&wait=1'),
        api.waiting('DELETE', 'q/messages?pop=1&wait=1'),
    ]
    answers = [each.result() for each in waiting]
    assert [answer.status_code for answer in answers] == [204, 200, 200, 200]
    assert [bodies(answer) for answer in answers[1:]] == [[], [], []]
    assert min(answer.elapsed.total_seconds() for answer in answers) >= 1


def test_the_end_of_a_claim_by_release_ends_a_wait(stored: Api) -> None:
    stored.post('q', 'a')
    claim = stored('POST', 'q/claims').json()['messages'][0]['href']
    claim_id = claim.partition('claim_id=')[2]
    waiting = stored.waiting('POST', f'q/claims?wait={LONG}')
    assert stored('DELETE', f'q/claims/{claim_id}').status_code == 204
    assert bodies(waiting.result()) == ['a']


@pytest.mark.parametrize('delay', [0, 1])
def test_a_settled_message_ends_a_wait(stored: Api, delay: int) -> None:
    stored.post('q', 'a')
    claim = stored('POST', 'q/claims').json()['messages'][0]['href']
    message_id, _, claim_id = claim.rpartition('/')[2].partition('?claim_id=')
    waiting = stored.waiting('POST', f'q/claims?wait={LONG}')
    entry = {'id': message_id, 'delay': delay}
    path = f'q/claims/{claim_id}/settle'
    assert stored('POST', path, {'release': [entry]}).status_code == 200
    assert bodies(waiting.result()) == ['a']


def test_the_end_of_a_delay_ends_a_wait(stored: Api) -> None:
    waiting = stored.waiting('POST', f'q/claims?wait={LONG}')
    stored.post('q', 'a', delay=1)
    assert bodies(waiting.result()) == ['a']


def test_a_dead_letter_ends_a_wait(stored: Api) -> None:
    stored('PUT', 'dead')
    stored('PUT', 'q', {'_dead_letter_queue': 'dead', '_max_claim_count': 1})
    stored.post('q', 'a')
    href = stored('POST', 'q/claims').json()['messages'][0]['href']
    waiting = stored.waiting('POST', f'dead/claims?wait={LONG}')
    claim_id = href.partition('claim_id=')[2]
    assert stored('DELETE', f'q/claims/{claim_id}').status_code == 204
    assert stored('POST', 'q/claims?wait=1').status_code == 204
    assert bodies(waiting.result()) == ['a']


def test_topics_are_waited_for_alike(api: Api) -> None:
    waiting = [
        api.waiting('GET', f'../topics/t/messages?echo=true&wait={LONG}'),
        api.waiting('DELETE', f'../topics/t/messages?pop=1&wait={LONG}'),
    ]
    api.post('../topics/t', 'a')
    api.post('../topics/t', 'b')
    for each in waiting:
        assert set(bodies(each.result())) <= {'a', 'b'}


@pytest.mark.parametrize(
    ('method', 'path', 'part'),
    [
        ('POST', 'q/claims?wait=-1', 'between 0 and 60'),
        ('POST', 'q/claims?wait=61', 'between 0 and 60'),
        ('POST', 'q/claims?wait=soon', 'must be an integer'),
        ('GET', 'q/messages?wait=61', 'between 0 and 60'),
        ('DELETE', 'q/messages?pop=1&wait=61', 'between 0 and 60'),
        ('DELETE', 'q/messages?ids=a&wait=1', 'invalid without "pop"'),
        ('GET', 'q/stats?wait=1', 'invalid here'),
        ('PUT', 'q?wait=1', 'invalid here'),
    ],
)
def test_waits_that_are_refused(
    api: Api, method: str, path: str, part: str
) -> None:
    answer = api(method, path)
    assert answer.status_code == 400
    assert part in answer.json()['description']


def test_other_faults_are_not_waited_for(api: Api) -> None:
    waiting = api.waiting('POST', f'q/claims?wait={LONG}')
    # Behind it or not.
    answer = api('POST', f'q/claims?limit=0&wait={LONG}')
    assert answer.status_code == 400
    answer = api('DELETE', f'q/messages?pop=0&wait={LONG}')
    assert answer.status_code == 400
    api.post('q', 'a')
    assert bodies(waiting.result()) == ['a']


def test_version_2_0_knows_no_wait(zaqar: Zaqar, project: str) -> None:
    api = Api(zaqar.url, project, '2.0')
    with ends_within(15):
        for wait in ('20', '-1', 'soon'):
            assert api('POST', f'q/claims?wait={wait}').status_code == 204
            assert bodies(api('GET', f'q/messages?wait={wait}')) == []
            path = f'q/messages?pop=1&wait={wait}'
            assert bodies(api('DELETE', path)) == []


def test_on_the_list_of_queues_it_is_a_filter(api: Api) -> None:
    api('PUT', 'q', {'wait': 'no'})
    api('PUT', 'r')
    page = api('GET', '?wait=no').json()
    assert [queue['name'] for queue in page['queues']] == ['q']


def test_nothing_is_claimed_for_a_client_that_has_gone(
    alone: Zaqar,
) -> None:
    api = Api(alone.url, 'p')
    address = ('127.0.0.1', alone.port)
    connections = [socket.create_connection(address) for _ in range(5)]
    for connection in connections:
        connection.sendall(api.raw('POST', f'q/claims?wait={LONG}'))
    # It is answered by the same worker, behind the others.
    last = api.waiting('POST', f'q/claims?wait={LONG}')
    assert api('POST', 'other/claims?wait=1').status_code == 204
    for connection in connections:
        connection.close()
    # Their ends are noticed by then.
    assert api('POST', 'other/claims?wait=1').status_code == 204
    api.post('q', 'a')
    assert bodies(last.result()) == ['a']
    assert api('GET', 'q/stats').json()['messages']['claimed'] == 1


@pytest.mark.parametrize('how', [signal.SIGTERM, signal.SIGHUP])
def test_a_shutdown_answers_all_that_wait(
    alone: Zaqar, how: signal.Signals
) -> None:
    api = Api(alone.url, 'p')
    address = ('127.0.0.1', alone.port)
    connections = [socket.create_connection(address) for _ in range(20)]
    for connection in connections:
        connection.sendall(api.raw('POST', f'q/claims?wait={LONG}'))
    # Behind them, at the same worker.
    assert api('POST', 'other/claims?wait=1').status_code == 204
    alone.process.child.send_signal(how)
    with ends_within(LONG / 2):
        for connection in connections:
            with connection:
                connection.settimeout(LONG)
                assert connection.recv(64).startswith(b'HTTP/1.1 204 ')


def test_those_that_wait_hold_no_thread(alone: Zaqar) -> None:
    api = Api(alone.url, 'p')
    address = ('127.0.0.1', alone.port)
    connections = [socket.create_connection(address) for _ in range(500)]
    for connection in connections:
        connection.sendall(api.raw('POST', f'q/claims?limit=1&wait={LONG}'))
    assert api('POST', 'other/claims?wait=1').status_code == 204
    threads = pathlib.Path(f'/proc/{alone.workers()[0]}/task')
    assert len(list(threads.iterdir())) < 50
    for _ in range(0, 500, 20):
        api.post('q', *range(20))
    for connection in connections:
        connection.settimeout(LONG)
        assert connection.recv(64).startswith(b'HTTP/1.1 201 ')
        connection.close()
    assert api('GET', 'q/stats').json()['messages']['free'] == 0


@pytest.fixture
def two(tmp_path: pathlib.Path) -> Iterator[tuple[Api, Api]]:
    """Servers with one worker each, and one database."""
    first = Zaqar(tmp_path, rest=_HTTP_ALONE).start()
    second = None
    try:
        folder = tmp_path / 'second'
        folder.mkdir()
        second = Zaqar(folder, rest=_HTTP_ALONE)
        text = second.conf.read_text()
        second.conf.write_text(text.replace(str(folder), str(tmp_path), 1))
        second.start()
        yield Api(first.url, 'p'), Api(second.url, 'p', client=OTHER_CLIENT)
    finally:
        for server in (first, second):
            if server is not None:
                server.stop()


def test_the_other_worker_is_heard_of(two: tuple[Api, Api]) -> None:
    waits, posts = two
    waits('PUT', 'q')
    for number in range(10):
        waiting = waits.waiting('POST', f'q/claims?wait={LONG}')
        posts.post('q', number)
        assert bodies(waiting.result()) == [number]


def test_the_other_worker_releases_one_of_many(two: tuple[Api, Api]) -> None:
    waits, works = two
    works.post('q', 'a')
    path = works('POST', 'q/claims').headers['Location'].rpartition('/q/')[2]
    # More than are counted, and none that a list shows to who has posted them.
    for _ in range(6):
        waits.post('q', *range(20))
    waiting = waits.waiting('GET', f'q/messages?wait={LONG}')
    # It has been looked at by then.
    assert waits('POST', 'other/claims?wait=2').status_code == 204
    with ends_within(10):
        assert works('DELETE', f'q/{path}').status_code == 204
        assert bodies(waiting.result()) == ['a']

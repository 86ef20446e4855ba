# SPDX-License-Identifier: Apache-2.0
"""Requests that wait for messages under uWSGI, each in its thread."""

from __future__ import annotations

import http.client
import json
import pathlib
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Any

import pytest
import requests

from zaqar.tests.functional.sqs.clients import sqs
from zaqar.tests.functional.sqs.conftest import ENABLED
from zaqar.tests.servers import process
from zaqar.tests.servers.nginx import Nginx

_BIN = pathlib.Path(sys.executable).parent
_SAMPLE = pathlib.Path(__file__).parents[4] / 'etc' / 'zaqar' / 'uwsgi.ini'
_LISTENS = '\nhttp-socket = 127.0.0.1:8888\n'

HEADERS = {
    'Client-ID': str(uuid.UUID(int=1)),
    'X-Project-ID': 'p',
    'OpenStack-API-Version': 'messaging 2.1',
}

#: Seconds that waits may last, and in which they end early.
LONG, SOON = 60, 30

#: Of the four threads of a process half may wait.
THREADS, MAY_WAIT = 4, 2


class Api:
    """The service under uWSGI as our sample runs it, with one process.

    :param how: the option by which it listens; "socket" is behind nginx
    :param threads: of the process
    """

    def __init__(
        self,
        folder: pathlib.Path,
        how: str = 'http-socket',
        threads: int = THREADS,
    ) -> None:
        if not (_BIN / 'uwsgi').exists():
            process.missing('uWSGI is not installed')
        conf = folder / 'zaqar.conf'
        conf.write_text(f'[DEFAULT]\nstate_path = {folder}\n{ENABLED}')
        self.port = port = process.free_port()
        self.sample = folder / 'uwsgi.ini'
        self._configure(how, threads)
        self.server = process.Process(
            [str(_BIN / 'uwsgi'), '--ini', str(self.sample)],
            folder / 'log',
            env={'OS_ZAQAR_CONFIG_FILES': str(conf)},
        )
        self.server.wait_until(lambda: process.accepts(port))
        self._web: Nginx | None = None
        if how == 'socket':
            self._web = Nginx(
                folder / 'nginx',
                'include /etc/nginx/uwsgi_params; '
                f'location / {{ uwsgi_pass 127.0.0.1:{port}; }}',
            )
            self.port = self._web.port
        self.origin = f'http://127.0.0.1:{self.port}'
        self._url = f'{self.origin}/v2/queues/q'
        self.pool = ThreadPoolExecutor(threads)
        self._may_wait = threads // 2

    def _configure(self, how: str, threads: int) -> None:
        text = _SAMPLE.read_text()
        for old, new in (
            (_LISTENS, f'\n{how} = 127.0.0.1:{self.port}\n'),
            ('\nprocesses = 4\n', '\nprocesses = 1\n'),
            (f'\nthreads = {THREADS}\n', f'\nthreads = {threads}\n'),
        ):
            assert old in text
            text = text.replace(old, new)
        chain = self.sample.parent / 'chain'
        chain.touch()
        self.sample.write_text(f'{text}touch-chain-reload = {chain}\n')

    def stop(self) -> None:
        self.pool.shutdown()
        if self._web is not None:
            self._web.stop()
        self.server.stop()

    def claim(self, wait: int = LONG) -> requests.Response:
        return requests.post(
            f'{self._url}/claims?limit=1&wait={wait}',
            json={'ttl': 60},
            headers=HEADERS,
            timeout=2 * LONG,
        )

    def post(self, *bodies: Any) -> None:
        messages = [{'body': body} for body in bodies]
        answer = requests.post(
            f'{self._url}/messages',
            json={'messages': messages},
            headers=HEADERS,
            timeout=LONG,
        )
        assert answer.status_code == 201, answer.text

    def claiming(self) -> Future[requests.Response]:
        return self.pool.submit(self.claim)

    def is_full(self) -> bool:
        """Tell whether as many wait as may."""
        return 'Retry-After' in self.claim(wait=1).headers

    def all_waiting(self) -> list[Future[requests.Response]]:
        """Have as many claims wait as may."""
        claiming: list[Future[requests.Response]] = []
        while len(claiming) < self._may_wait or not self.is_full():
            # The last look may have been in the way of one.
            claiming = [each for each in claiming if not each.done()]
            while len(claiming) < self._may_wait:
                claiming.append(self.claiming())
        return claiming

    def leaving(self) -> list[http.client.HTTPConnection]:
        """Have as many claims wait as may; return their connections."""
        while True:
            connections = []
            for _ in range(MAY_WAIT):
                connection = http.client.HTTPConnection(
                    '127.0.0.1', self.port, timeout=LONG
                )
                connection.request(
                    'POST',
                    f'/v2/queues/q/claims?limit=1&wait={LONG}',
                    json.dumps({'ttl': 60}),
                    {**HEADERS, 'Content-Type': 'application/json'},
                )
                connections.append(connection)
            if self.is_full():
                return connections
            for connection in connections:
                connection.close()


@pytest.fixture
def start(
    tmp_path: pathlib.Path,
) -> Iterator[Callable[..., Api]]:
    """A function that starts the service."""
    started: list[Api] = []

    def one(*arguments: Any, **options: Any) -> Api:
        started.append(Api(tmp_path, *arguments, **options))
        return started[-1]

    yield one
    for api in started:
        api.stop()


@pytest.fixture
def api(start: Callable[..., Api]) -> Api:
    """The service."""
    return start()


def test_a_message_ends_a_wait(api: Api) -> None:
    claiming = api.claiming()
    api.post('a')
    answer = claiming.result()
    assert answer.status_code == 201
    assert answer.json()['messages'][0]['body'] == 'a'
    assert api.claim(wait=1).status_code == 204


def test_half_of_the_threads_are_left_to_others(api: Api) -> None:
    claiming = [api.claiming() for _ in range(MAY_WAIT + 1)]
    refused = next(as_completed(claiming, LONG)).result()
    assert refused.status_code == 204
    assert refused.headers['Retry-After'] == '1'
    assert sum(each.done() for each in claiming) == 1
    api.post('a', 'b')
    answers = [each.result() for each in claiming]
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [201] * MAY_WAIT + [204]


def test_clients_of_sqs_wait_as_others_do(api: Api) -> None:
    client = sqs(api.origin, HEADERS['X-Project-ID'])
    url = client.create_queue(QueueName='q')['QueueUrl']
    began = time.monotonic()
    assert 'Messages' not in client.receive_message(
        QueueUrl=url, WaitTimeSeconds=1
    )
    assert time.monotonic() - began > 0.9
    receiving = api.pool.submit(
        client.receive_message, QueueUrl=url, WaitTimeSeconds=20
    )
    api.post('a')
    assert receiving.result()['Messages'][0]['Body'] == 'a'


def test_many_wait_if_there_are_many_threads(
    start: Callable[..., Api],
) -> None:
    api = start(threads=100)
    claiming = api.all_waiting()
    assert len(claiming) == 50
    # The other threads answer these.
    assert api.is_full()
    api.post(*range(50))
    answers = [each.result(SOON).json() for each in claiming]
    bodies = sorted(answer['messages'][0]['body'] for answer in answers)
    assert bodies == list(range(50))


def test_nothing_is_claimed_for_a_client_that_has_gone(api: Api) -> None:
    for connection in api.leaving():
        connection.close()
    api.post('a', 'b')
    for _ in range(MAY_WAIT):
        assert api.claim(wait=1).status_code == 201


# Not "http": its router does not notice it once it has read a body that came
# after the headers.
@pytest.mark.parametrize('how', ['http-socket', 'socket'])
def test_a_client_that_goes_makes_room(
    start: Callable[..., Api], how: str
) -> None:
    api = start(how)
    for connection in api.leaving():
        connection.close()
    # Proxies between have noticed it, too.
    api.server.wait_until(lambda: not api.is_full(), SOON)
    claiming = api.all_waiting()
    api.post(*map(str, range(MAY_WAIT)))
    bodies = {each.result().json()['messages'][0]['body'] for each in claiming}
    assert bodies == {*map(str, range(MAY_WAIT))}


def _reload(api: Api) -> None:
    api.server.child.send_signal(signal.SIGHUP)


def _reload_in_turn(api: Api) -> None:
    api.sample.with_name('chain').write_text('again')


@pytest.mark.parametrize('how', ['http-socket', 'socket'])
@pytest.mark.parametrize('reload', [_reload, _reload_in_turn])
def test_waits_end_when_the_process_is_replaced(
    start: Callable[..., Api], how: str, reload: Callable[[Api], None]
) -> None:
    api = start(how)
    claiming = api.all_waiting()
    began = time.monotonic()
    reload(api)
    for each in claiming:
        assert each.result().status_code == 204
    assert time.monotonic() - began < SOON
    # The new one has room, and finds what is posted.
    claiming = api.all_waiting()
    api.post('a', 'b')
    assert all(each.result().status_code == 201 for each in claiming)


@pytest.mark.parametrize('how', ['http-socket', 'http'])
def test_waits_end_when_it_is_stopped(
    start: Callable[..., Api], how: str
) -> None:
    api = start(how)
    claiming = api.all_waiting()
    began = time.monotonic()
    assert api.server.stop(signal.SIGTERM, SOON) == 0
    assert time.monotonic() - began < SOON
    assert [each.result().status_code for each in claiming] == [204, 204]

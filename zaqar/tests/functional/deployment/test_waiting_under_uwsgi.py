# SPDX-License-Identifier: Apache-2.0
"""Requests that wait for messages under uWSGI, each in its thread."""

from __future__ import annotations

import pathlib
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Any

import pytest
import requests

from zaqar.tests.servers import process

_BIN = pathlib.Path(sys.executable).parent
_SAMPLE = pathlib.Path(__file__).parents[4] / 'etc' / 'zaqar' / 'uwsgi.ini'

HEADERS = {
    'Client-ID': str(uuid.UUID(int=1)),
    'X-Project-ID': 'p',
    'OpenStack-API-Version': 'messaging 2.1',
}

#: Longer than any of these tests may take.
LONG = 60

#: Of the four threads of a process half may wait.
THREADS, MAY_WAIT = 4, 2


class Api:
    def __init__(self, port: int) -> None:
        self._url = f'http://127.0.0.1:{port}/v2/queues/q'
        self.pool = ThreadPoolExecutor(THREADS)

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


@pytest.fixture
def api(tmp_path: pathlib.Path) -> Iterator[Api]:
    """The service under uWSGI as our sample runs it, with one process."""
    if not (_BIN / 'uwsgi').exists():
        process.missing('uWSGI is not installed')
    conf = tmp_path / 'zaqar.conf'
    conf.write_text(f'[DEFAULT]\nstate_path = {tmp_path}\n')
    port = process.free_port()
    text = _SAMPLE.read_text()
    for old, new in (
        ('127.0.0.1:8888\nmaster', f'127.0.0.1:{port}\nmaster'),
        ('processes = 4', 'processes = 1'),
    ):
        assert old in text
        text = text.replace(old, new)
    assert f'threads = {THREADS}' in text
    sample = tmp_path / 'uwsgi.ini'
    sample.write_text(text)
    server = process.Process(
        [str(_BIN / 'uwsgi'), '--ini', str(sample)],
        tmp_path / 'log',
        env={'OS_ZAQAR_CONFIG_FILES': str(conf)},
    )
    server.wait_until(lambda: process.accepts(port))
    made = Api(port)
    yield made
    made.pool.shutdown()
    server.stop()


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

# SPDX-License-Identifier: Apache-2.0
"""Metadata that one process changes counts at once for all of them."""

from __future__ import annotations

import pathlib
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import requests
import sqlalchemy as sa

from zaqar.storage.sqlalchemy import driver_declaration
from zaqar.tests.functional.deployment.load import HEADERS
from zaqar.tests.servers.redis import Redis
from zaqar.tests.servers.zaqar import Zaqar

QUEUE = '/v2/queues/q'
PATCH = 'application/openstack-messaging-v2.0-json-patch'

_REST = """
[drivers]
transport = wsgi
message_store = {driver}
management_store = {driver}
[drivers:message_store:{driver}]
uri = {uri}
[drivers:management_store:{driver}]
uri = {uri}
[notification]
embedded = False
[storage]
message_pipeline =
[transport]
message_encryption_key = a key of some length
"""


@pytest.fixture(params=['sqlalchemy', 'redis'])
def pair(
    request: pytest.FixtureRequest, tmp_path: pathlib.Path
) -> Iterator[tuple[Zaqar, Zaqar]]:
    """Two servers on one store, as on two machines."""
    if request.param == 'redis':
        redis = Redis()
        request.addfinalizer(redis.stop)
        uri = redis.url
    else:
        uri = request.getfixturevalue('postgresql').database()
    rest = _REST.format(driver=request.param, uri=uri.replace('$', '$$'))
    servers = []
    for name in ('one', 'two'):
        (tmp_path / name).mkdir()
        servers.append(Zaqar(tmp_path / name, rest=rest))
    if request.param != 'redis':
        done = servers[0].run('upgrade', 'head', program='sql_db_manage')
        assert done.returncode == 0, done.stderr
    try:
        yield servers[0].start(), servers[1].start()
    finally:
        for server in servers:
            if hasattr(server, 'process'):
                server.stop(signal.SIGKILL)


def _call(server: Zaqar, method: str, path: str, **options: Any) -> Any:
    headers = {**HEADERS, **options.pop('headers', {})}
    answer = requests.request(
        method, server.url + path, headers=headers, timeout=30, **options
    )
    assert answer.status_code < 300, answer.text
    return answer


def _patch(server: Zaqar, key: str, value: Any) -> None:
    changes = [{'op': 'add', 'path': f'/metadata/{key}', 'value': value}]
    _call(
        server, 'PATCH', QUEUE, json=changes, headers={'Content-Type': PATCH}
    )


def _post(server: Zaqar, body: Any) -> str:
    answer = _call(
        server,
        'POST',
        f'{QUEUE}/messages',
        json={'messages': [{'body': body}]},
    )
    return str(answer.json()['resources'][0])


def _stored(server: Zaqar) -> list[bytes]:
    text = server.conf.read_text()
    url = text.partition('uri = ')[2].split()[0].replace('$$', '$')
    if url.startswith('redis'):
        with redis.Redis.from_url(url) as client:
            return [
                blob
                for key in client.scan_iter('*:m')
                for blob in client.hvals(key)
            ]
    engine = sa.create_engine(
        driver_declaration.parse(url), poolclass=sa.NullPool
    )
    with engine.connect() as connection:
        rows = connection.exec_driver_sql('SELECT body FROM message')
        return [bytes(row[0]) for row in rows]


def test_a_post_after_the_answer_obeys_the_change(
    pair: tuple[Zaqar, Zaqar],
) -> None:
    one, two = pair
    _call(one, 'PUT', QUEUE)
    for server in pair:
        _post(server, 'so that it is known')
    for seconds in range(60, 80):
        changed, posted = (one, two) if seconds % 2 else (two, one)
        _patch(changed, '_default_message_ttl', seconds)
        message = _post(posted, 'x')
        assert _call(posted, 'GET', message).json()['ttl'] == seconds


@pytest.mark.proves('encryption without delay')
def test_nothing_is_stored_in_the_clear_after_encryption_was_switched_on(
    pair: tuple[Zaqar, Zaqar],
) -> None:
    one, two = pair
    _call(one, 'PUT', QUEUE)
    _post(two, 'known')
    _patch(one, '_enable_encrypt_messages', True)
    for _ in range(3):
        _post(two, 'secret')
    stored = _stored(one)
    assert [blob for blob in stored if b'secret' in blob] == []
    assert len([blob for blob in stored if b'known' in blob]) == 1
    assert len(stored) == 4

# SPDX-License-Identifier: Apache-2.0
"""More requests than threads, while the database does not respond."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import sqlalchemy as sa

from zaqar import request_deadline
from zaqar.storage.sqlalchemy import migrations
from zaqar.storage.sqlalchemy.driver_declaration import parse
from zaqar.tests.contract.crowd import each, ends_within
from zaqar.tests.servers.zaqar import Zaqar, with_database

#: Seconds beyond its deadline in which a request is answered.
BEYOND = 2.0

_FEW_THREADS = '\n[drivers:transport:wsgi]\nthreads = 2\n'


@pytest.fixture
def uri(postgresql: Any) -> Iterator[str]:
    """A database with tables."""
    uri = postgresql.database()
    migrations.upgrade(parse(uri), 'head')
    yield uri
    postgresql.drop(uri)


def test_all_are_answered_in_time(uri: str, tmp_path: pathlib.Path) -> None:
    folder = tmp_path / 'zaqar'
    folder.mkdir()
    rest = with_database(uri) + _FEW_THREADS
    zaqar = Zaqar(folder, rest=rest).start()

    def post(queue: int) -> int:
        return requests.post(
            f'{zaqar.url}/v2/queues/q{queue}/messages',
            json={'messages': [{'body': 1, 'ttl': 60}]},
            headers={
                'Client-ID': '9f4aaa6e-0e6d-4a3b-8a1b-37b1d0c8b0a1',
                'X-Project-Id': 'p',
            },
            timeout=60,
        ).status_code

    engine = sa.create_engine(parse(uri), poolclass=sa.NullPool)
    try:
        assert {post(queue) for queue in range(12)} == {201}
        with engine.connect() as connection:
            connection.execute(sa.text('LOCK TABLE message'))
            with ends_within(request_deadline.REQUEST + BEYOND):
                assert {*each(post, range(12))} == {503}
            connection.rollback()
        assert post(0) == 201
    finally:
        zaqar.stop()

# SPDX-License-Identifier: Apache-2.0
"""Servers are replaced under load, and no client notices.

nginx passes over a server that it cannot connect to, and never sends a POST
twice; hence each connection that a server has been given must be answered.
"""

from __future__ import annotations

import itertools
import pathlib
import signal
from collections.abc import Iterator

import pytest

from zaqar.tests.functional.deployment.load import Load
from zaqar.tests.functional.deployment.test_nginx import Behind, site
from zaqar.tests.servers import sql
from zaqar.tests.servers.zaqar import Zaqar, with_database

#: Times that each server is replaced.
ROUNDS = 3


@pytest.fixture
def pair(
    tmp_path: pathlib.Path, postgresql: sql.SqlServer
) -> Iterator[list[Zaqar]]:
    """Two servers on one database."""
    database = with_database(postgresql.database())
    servers = []
    for name in ('first', 'second'):
        (tmp_path / name).mkdir()
        rest = f'{database}\n[drivers]\ntransport = wsgi'
        servers.append(Zaqar(tmp_path / name, rest=rest, workers=2))
    done = servers[0].run('upgrade', 'head', program='sql_db_manage')
    assert done.returncode == 0, done.stderr
    for server in servers:
        server.start()
    yield servers
    for server in servers:
        server.stop(signal.SIGKILL)


def test_servers_are_replaced_in_turn_without_a_failed_request(
    tmp_path: pathlib.Path, pair: list[Zaqar]
) -> None:
    web = site(tmp_path, *(server.port for server in pair))
    try:
        with Load(lambda: f'{web.url}/messaging') as load:
            assert load.goes_on()
            for server in itertools.chain(*itertools.repeat(pair, ROUNDS)):
                assert server.stop() == 0
                assert load.goes_on()
                server.start()
                assert load.goes_on()
        assert not load.failed, web.errors()
        load.drain()
        # Each message was taken, and once only.
        assert sorted(load.taken) == sorted(load.posted)
    finally:
        web.stop()


@pytest.mark.parametrize('kind', ['uwsgi', 'uwsgi-http'])
@pytest.mark.parametrize('wait', [0, 20])
def test_uwsgi_loads_anew_without_a_failed_request(
    tmp_path: pathlib.Path, kind: str, wait: int
) -> None:
    conf = tmp_path / 'zaqar.conf'
    conf.write_text(
        '[drivers:management_store:sqlalchemy]\n'
        f'uri = sqlite:///{tmp_path}/zaqar.sqlite\n'
    )
    behind = Behind(tmp_path, conf, kind)
    try:
        with Load(lambda: behind.url, wait=wait) as load:
            assert load.goes_on()
            for _ in range(ROUNDS):
                behind.server.child.send_signal(signal.SIGHUP)
                assert load.goes_on()
        assert not load.failed, behind.web.errors()
        load.drain()
        assert sorted(load.taken) == sorted(load.posted)
    finally:
        behind.stop()

# SPDX-License-Identifier: Apache-2.0
"""Requests that wait, while connections break and primaries change."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator

import pytest

from zaqar.tests.contract.crowd import ends_within
from zaqar.tests.functional.redis.load import BOUND
from zaqar.tests.functional.redis.test_access import settings
from zaqar.tests.functional.redis.test_failover import is_master
from zaqar.tests.functional.redis.test_watch import kill, subscriptions
from zaqar.tests.functional.test_waiting import Api, bodies
from zaqar.tests.servers.redis import Cluster, Redis, Watched
from zaqar.tests.servers.zaqar import Zaqar

Start = Callable[..., Redis]
Serve = Callable[[str], Api]


@pytest.fixture
def serve(tmp_path: pathlib.Path) -> Iterator[Serve]:
    """Start the service on a Redis."""
    servers: list[Zaqar] = []
    clients: list[Api] = []

    def start(uri: str) -> Api:
        server = Zaqar(tmp_path, rest=settings(uri), workers=2).start()
        servers.append(server)
        clients.append(Api(server.url, 'demo'))
        return clients[-1]

    yield start
    for server in servers:
        server.stop()
    for client in clients:
        client.pool.shutdown()


def test_a_cut_connection_costs_a_wait_a_moment(
    own_server: Start, serve: Serve
) -> None:
    redis = own_server()
    api = serve(redis.url)
    api.post('q', 'first')
    assert bodies(api('POST', 'q/claims?wait=30')) == ['first']
    for number in range(5):
        waiting = api.waiting('POST', 'q/claims?wait=30')
        redis.process.wait_until(lambda: subscriptions(redis) > 0)
        assert kill(redis)
        with ends_within(BOUND):
            api.post('q', number)
            assert bodies(waiting.result()) == [number]


def test_a_wait_outlives_a_failover(serve: Serve) -> None:
    watched = Watched()
    try:
        api = serve(watched.url)
        api.post('q', 'first')
        assert bodies(api('POST', 'q/claims?wait=30')) == ['first']
        waiting = api.waiting('POST', 'q/claims?wait=60')
        watched.master.process.wait_until(
            lambda: subscriptions(watched.master) > 0
        )
        watched.master.kill()
        watched.replica.process.wait_until(lambda: is_master(watched.replica))

        def is_posted() -> bool:
            document = {'messages': [{'body': 'second'}]}
            return api('POST', 'q/messages', document).status_code == 201

        watched.replica.process.wait_until(is_posted)
        answer = waiting.result()
        if answer.status_code == 503:
            # It looked again while there was no primary.
            answer = api('POST', 'q/claims?wait=60')
        assert set(bodies(answer)) == {'second'}
    finally:
        watched.stop()


def test_queues_of_a_cluster_are_waited_for(
    cluster: Cluster, serve: Serve
) -> None:
    api = serve(cluster.url)
    names = [f'q{number}' for number in range(9)]
    waiting = [api.waiting('POST', f'{name}/claims?wait=60') for name in names]
    for name in names:
        api.post(name, name)
    assert [bodies(one.result()) for one in waiting] == [[it] for it in names]

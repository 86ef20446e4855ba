# SPDX-License-Identifier: Apache-2.0
"""Connections that are cut again and again, wherever the data is just then."""

from __future__ import annotations

import random
import threading
import time

import pytest

from zaqar.tests.contract.probe import Hand, Probe, ids, token
from zaqar.tests.contract.proxy import Proxy, Way
from zaqar.tests.functional.redis.conftest import Open
from zaqar.tests.functional.redis.load import Load
from zaqar.tests.servers.redis import Redis


@pytest.mark.parametrize('way', list(Way))
def test_a_load_goes_through_cut_connections(
    server: Redis, opened: Open, way: Way
) -> None:
    dice = random.Random(4)
    ended = threading.Event()
    with Proxy(('127.0.0.1', server.port)) as proxy:

        def cut() -> None:
            while not ended.wait(0.005):
                proxy.blow(way, dice.randrange(20))

        load = Load(opened(f'redis://127.0.0.1:{proxy.port}'), posters=4)
        cutter = threading.Thread(target=cut)
        cutter.start()
        try:
            with load:
                load.wait_for(400)
        finally:
            ended.set()
            cutter.join()
            proxy.defuse()
        load.check()


def test_a_large_post_cut_half_way_is_stored_as_a_whole_or_not_at_all(
    server: Redis, opened: Open
) -> None:
    body = 'x' * 200_000
    with Proxy(('127.0.0.1', server.port)) as proxy:
        there = Probe(opened(f'redis://127.0.0.1:{proxy.port}'), Hand())
        near = Probe(opened(server.url), there.hand, there.qid)
        expected: list[str] = []
        for number in range(8):
            name = token()
            # The post is several pieces long.
            proxy.blow(Way.REQUEST, number)
            expected += there.post(*[body] * 10, token=name)
            proxy.defuse()
            assert ids(near.walk(100)) == expected


def test_calls_at_once_over_a_path_that_breaks_are_done_once(
    server: Redis, opened: Open
) -> None:
    with Proxy(('127.0.0.1', server.port)) as proxy:
        load = Load(opened(f'redis://127.0.0.1:{proxy.port}'), posters=4)
        with load:
            for _ in range(5):
                load.wait_for(40)
                proxy.cut()
                time.sleep(0.05)
                proxy.restore()
            load.wait_for(40)
        load.check()

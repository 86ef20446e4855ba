# SPDX-License-Identifier: Apache-2.0
"""The Galera cluster and HAProxy that other tests stand on."""

from __future__ import annotations

import pytest

from zaqar.storage.sqlalchemy import migrations
from zaqar.storage.sqlalchemy.driver_declaration import DRIVER, parse
from zaqar.tests.contract.probe import Hand, Probe
from zaqar.tests.servers.galera import Cluster
from zaqar.tests.servers.haproxy import MODES, HAProxy


@pytest.mark.parametrize('mode', MODES)
def test_what_is_posted_through_haproxy_is_on_each_node(
    galera: Cluster, haproxy: HAProxy, mode: str
) -> None:
    uri = galera.database()
    migrations.upgrade(parse(uri), 'head')
    store = DRIVER.open_messages(haproxy.url(uri, mode), {})
    queue = Probe(store, Hand())
    queue.post('a')
    store.close()
    for node in galera.nodes:
        store = DRIVER.open_messages(node.through(uri), {})
        assert Probe(store, Hand(), queue.qid).everything() == ['a']
        store.close()


def test_a_node_that_is_left_alone_gets_no_connections(
    galera: Cluster, haproxy: HAProxy
) -> None:
    first, second, third = galera.nodes
    names = {mode: haproxy.up(mode) for mode in MODES}
    assert all(len(addresses) == 3 for addresses in names.values())
    first.isolate()
    try:
        for mode in MODES:
            haproxy.process.wait_until(
                lambda mode=mode: haproxy.up(mode) == ['db2', 'db3']
            )
        assert {second.size(), third.size()} == {2}
    finally:
        first.rejoin()
        first.process.wait_until(first.is_synced)
    for mode in MODES:
        haproxy.process.wait_until(
            lambda mode=mode: len(haproxy.up(mode)) == 3
        )


def test_a_node_that_is_killed_catches_up(galera: Cluster) -> None:
    first, _, third = galera.nodes
    third.kill()
    uri = first.database()
    third.start()
    assert third.ask(f"SHOW DATABASES LIKE '{uri.rpartition('/')[2]}'")

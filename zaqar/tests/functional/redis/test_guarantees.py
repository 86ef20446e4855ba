# SPDX-License-Identifier: Apache-2.0
"""What Redis promises follows from its live settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from zaqar.storage.abstract_stores import MessageStore
from zaqar.storage.store_guarantees import LAST_SECOND, Guarantees, Order
from zaqar.tests.contract.probe import token
from zaqar.tests.functional.redis.conftest import Open
from zaqar.tests.servers.redis import Redis, Watched

Start = Callable[..., Redis]


def promised(store: MessageStore) -> Guarantees:
    """Return what the server promises now."""
    shown = store.guarantees(token())
    assert shown is not None
    return shown


@pytest.fixture
def live(own_server: Start) -> Iterator[Any]:
    """A server whose settings are changed while it runs, and its client."""
    server = own_server(appendonly='no', save='')
    with server.client() as client:
        yield server, client


def test_nothing_survives_without_persistence(live: Any, opened: Open) -> None:
    server, client = live
    store = opened(server.url)
    shown = promised(store)
    assert (shown.store, shown.order) == ('redis', Order.FIFO)
    assert (shown.store_kill, shown.failover) == (False, False)
    assert shown.because[0] == (
        'appendonly = no, save is empty: a crash loses everything'
    )
    client.config_set('save', '60 1')
    shown = promised(store)
    assert shown.store_kill is False
    assert 'save = 60 1: a crash loses what came after' in shown.because[0]


@pytest.mark.parametrize(
    ('policy', 'survives'),
    [('always', True), ('everysec', LAST_SECOND), ('no', False)],
)
def test_what_survives_depends_on_when_the_log_is_flushed(
    live: Any, opened: Open, policy: str, survives: bool | str
) -> None:
    server, client = live
    store = opened(server.url)
    assert promised(store).store_kill is False
    client.config_set('appendonly', 'yes')
    client.config_set('appendfsync', policy)
    shown = promised(store)
    assert shown.store_kill == survives
    assert shown.because[0].startswith(
        f'appendonly = yes, appendfsync = {policy}'
    )


def test_a_log_that_is_not_flushed_during_rewrites_promises_nothing(
    live: Any, opened: Open
) -> None:
    server, client = live
    client.config_set('appendonly', 'yes')
    client.config_set('appendfsync', 'always')
    store = opened(server.url)
    assert promised(store).store_kill is True
    client.config_set('no-appendfsync-on-rewrite', 'yes')
    shown = promised(store)
    assert shown.store_kill is False
    assert 'no-appendfsync-on-rewrite = yes' in shown.because[0]


def test_what_a_user_may_not_read_is_unknown(live: Any, opened: Open) -> None:
    server, client = live
    client.acl_setuser(
        'zaqar',
        enabled=True,
        passwords=['+secret'],
        keys=['*'],
        categories=['+@read', '+@write', '+@scripting', '+@connection'],
        commands=['+info', '+time', '+wait'],
    )
    place = server.url.partition('//')[2]
    store = opened(f'redis://zaqar:secret@{place}')
    shown = promised(store)
    assert shown.store_kill is False
    assert shown.because[0] == (
        'appendonly = no, save is unknown, since CONFIG GET is refused'
    )
    client.config_set('appendonly', 'yes')
    shown = promised(store)
    assert shown.store_kill is None
    assert shown.because[0] == (
        'appendonly = yes, appendfsync is unknown, since CONFIG GET is refused'
    )


def test_a_failover_is_survived_if_changes_wait_for_all_replicas(
    opened: Open,
) -> None:
    watched = Watched()
    try:
        store = opened(watched.url)
        shown = promised(store)
        assert shown.failover is False
        assert 'replication is asynchronous' in shown.because[1]
        assert 'connected_slaves = 1' in shown.because[1]
        waiting = opened(watched.url, wait_replicas=1)
        assert promised(waiting).failover is True
        with watched.master.client() as client:
            client.config_set('min-replicas-to-write', 1)
            client.config_set('min-replicas-max-lag', 7)
        assert any(
            'min-replicas-to-write = 1, min-replicas-max-lag = 7' in line
            for line in promised(store).because
        )
    finally:
        watched.stop()

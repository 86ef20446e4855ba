# SPDX-License-Identifier: Apache-2.0
"""How changes of a store wake requests."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from zaqar.objects import Scope
from zaqar.tests.unit.waiting.stores import PATIENCE, Store
from zaqar.waiting import change_listener
from zaqar.waiting.change_listener import ChangeListener
from zaqar.waiting.waiters import Waiters

JOBS = Scope('p', 'jobs')
OTHERS = Scope('p', 'others')

Listen = Callable[[Store], ChangeListener]


class Nobody:
    """Watches nothing."""

    def begin(self, scope: Scope) -> None: ...

    def end(self, scope: Scope) -> None: ...

    def expire_at(self, until: float) -> None: ...


@pytest.fixture
def waiters() -> Waiters:
    return Waiters(Nobody())


@pytest.fixture
def listen(waiters: Waiters) -> Iterator[Listen]:
    begun: list[ChangeListener] = []

    def listen_to(store: Any) -> ChangeListener:
        listener = ChangeListener(store, waiters)
        begun.append(listener)
        listener.start()
        return listener

    yield listen_to
    for listener in begun:
        listener.close()


def waiting(waiters: Waiters, scope: Scope = JOBS) -> threading.Event:
    """Return what is set when a request that waits is woken."""
    ticket = waiters.enter(scope, takes=True, seconds=PATIENCE)
    assert ticket.emptied(None)
    woken = threading.Event()
    ticket.park(woken.set)
    return woken


def test_what_was_there_before_is_seen(
    waiters: Waiters, listen: Listen
) -> None:
    store = Store('others')
    store.put('q1')
    woken = waiting(waiters)
    listen(store).add('q1', JOBS)
    assert woken.wait(PATIENCE)


def test_a_queue_that_follows_another_one_is_read(
    waiters: Waiters, listen: Listen
) -> None:
    store = Store('others')
    store.put('q1')
    ticket = waiters.enter(JOBS, takes=False, seconds=PATIENCE)
    assert ticket.emptied(None)
    woken = threading.Event()
    ticket.park(woken.set)
    listener = listen(store)
    listener.add('q1', JOBS)
    assert woken.wait(PATIENCE)
    woken.clear()
    assert ticket.emptied(None)
    ticket.park(woken.set)
    # It was created anew, and looks the same.
    listener.remove('q1')
    store.put('q2')
    listener.add('q2', JOBS)
    assert woken.wait(PATIENCE)
    # Not for the sake of releases.
    assert not ticket.place.is_probe


def test_a_store_that_reports_nothing_is_polled(
    waiters: Waiters, listen: Listen
) -> None:
    store = Store()
    woken = waiting(waiters)
    listen(store).add('q1', JOBS)
    for _ in range(3):
        assert list(store.looked()) == ['q1']
    store.put('q1')
    assert woken.wait(PATIENCE)


def test_all_queues_are_looked_at_in_one_call(
    waiters: Waiters, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_listener, 'MAX_LOOKED_AT', 2)
    scopes = [Scope('p', str(number)) for number in range(5)]
    for scope in scopes:
        waiting(waiters, scope)
    # Nobody waits for this one any more.
    store = Store()
    listener = listen(store)
    listener.add('gone', OTHERS)
    for scope in scopes:
        listener.add(f'q{scope.name}', scope)
    seen: list[str] = []
    while seen != ['q0', 'q1', 'q2', 'q3', 'q4']:
        chunk = list(store.looked())
        assert len(chunk) <= 2
        assert 'gone' not in chunk
        seen = chunk if chunk[0] == 'q0' else [*seen, *chunk]


def test_a_report_wakes_without_a_look(
    waiters: Waiters, listen: Listen
) -> None:
    store = Store('others')
    listener = listen(store)
    woken = waiting(waiters)
    listener.add('q1', JOBS)
    store.looked()
    while not store.watches or 'q1' not in store.watches[0].added:
        assert not woken.is_set()
    store.watches[0].changed('q1', 1)
    assert woken.is_set()
    store.watches[0].changed('another', 1)
    listener.remove('q1')
    assert store.watches[0].removed == ['q1']


@pytest.mark.parametrize('qid', ['q1', None])
def test_a_report_of_an_unknown_change_makes_it_look(
    waiters: Waiters, listen: Listen, qid: str | None
) -> None:
    store = Store('others')
    woken = waiting(waiters)
    listen(store).add('q1', JOBS)
    store.looked()
    while not store.watches:
        assert not woken.is_set()
    store.put('q1')
    store.watches[0].changed(qid, 0)
    assert woken.wait(PATIENCE)


def test_a_lost_report_is_made_up_for(
    waiters: Waiters, listen: Listen
) -> None:
    store = Store('own')
    woken = waiting(waiters)
    listener = listen(store)
    listener.add('q1', JOBS)
    store.looked()
    assert listener.hears_own
    store.put('q1')
    assert woken.wait(PATIENCE)


def test_a_claim_that_ends_is_due(
    waiters: Waiters, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No other look comes in time.
    monkeypatch.setattr(change_listener, 'WATCHED', 10 * PATIENCE)
    store = Store('others')
    woken = waiting(waiters)
    store.due['q1'] = store.clock.now() + 200
    listen(store).add('q1', JOBS)
    while store.clock.now() < store.due['q1']:
        assert not woken.is_set()
        store.looked()
        store.put('q1', 0)
        if store.clock.now() >= store.due['q1']:
            break
    store.put('q1')
    assert woken.wait(PATIENCE)


def test_what_is_due_where_nobody_waits_takes_no_time(
    waiters: Waiters, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No other look comes in time.
    monkeypatch.setattr(change_listener, 'WATCHED', 10 * PATIENCE)
    times = [time.monotonic()]

    def monotonic() -> float:
        times.append(times[-1])
        return times[-1]

    store: Any = Store('others')
    store.due['q1'] = store.clock.now() + 60_000
    ticket = waiters.enter(JOBS, takes=True, seconds=PATIENCE)
    listener = ChangeListener(store, waiters, monotonic)
    listener.add('q1', JOBS)
    listener.start()
    store.looked()
    ticket.leave()
    times.append(times[-1] + 70)
    listener.hint('q1')
    time.sleep(0.1)
    listener.close()
    listener.join()
    assert len(times) < 50
    assert store.looks.empty()


def test_a_store_that_is_away(
    waiters: Waiters, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store()
    store.is_away = True
    store.put('q1')
    woken = waiting(waiters)
    with caplog.at_level(logging.WARNING):
        listen(store).add('q1', JOBS)
        for _ in range(3):
            store.looked()
    assert [record.levelname for record in caplog.records] == ['WARNING']
    assert not woken.is_set()
    store.is_away = False
    assert woken.wait(PATIENCE)


def test_a_listener_that_cannot_connect_polls(
    waiters: Waiters, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store('others')
    store.cannot_watch = True
    woken = waiting(waiters)
    with caplog.at_level(logging.WARNING):
        listen(store).add('q1', JOBS)
        for _ in range(3):
            store.looked()
    (record,) = caplog.records
    assert 'no connection' in record.getMessage()
    store.put('q1')
    assert woken.wait(PATIENCE)


def test_a_fault_does_not_end_it(
    waiters: Waiters, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store()
    store.clock = None  # type: ignore[assignment]
    woken = waiting(waiters)
    with caplog.at_level(logging.ERROR):
        listen(store).add('q1', JOBS)
        while not caplog.records:
            assert not woken.is_set()
    store.clock = Store().clock
    store.put('q1')
    assert woken.wait(PATIENCE)


def test_close_gives_the_connection_back(
    waiters: Waiters, listen: Listen
) -> None:
    store = Store('others')
    waiting(waiters)
    listener = listen(store)
    listener.add('q1', JOBS)
    store.looked()
    listener.close()
    listener.join()
    assert store.watches[0].is_closed

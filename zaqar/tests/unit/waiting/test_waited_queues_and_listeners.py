# SPDX-License-Identifier: Apache-2.0
"""Where the queues are that requests wait for."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from zaqar.errors import StoreUnavailable
from zaqar.objects import NewMessage, Queue, Scope
from zaqar.tests.unit.waiting.stores import PATIENCE, Store
from zaqar.waiting import change_listener, waited_queues_and_listeners
from zaqar.waiting.announcing_store import announcing
from zaqar.waiting.waited_queues_and_listeners import WaitedQueues

JOBS = Scope('p', 'jobs')


class Catalogue:
    """Queues, each in a store."""

    created: Any = None

    def __init__(self) -> None:
        self.places: dict[Scope, tuple[str, Store]] = {}
        self.cached: dict[Scope, Queue] = {}
        self.is_away = False
        self.looked_up: list[Scope] = []

    def find(self, scope: Scope) -> Queue | None:
        return self.cached.get(scope) or self.read(scope)

    def read(self, scope: Scope) -> Queue | None:
        self.looked_up.append(scope)
        if self.is_away:
            raise StoreUnavailable
        place = self.places.get(scope)
        return Queue(scope, place[0], {}, 1) if place else None

    def store(self, queue: Queue) -> Any:
        return self.places[queue.scope][1]


class Service:
    """What a process has."""

    def __init__(self) -> None:
        self.waited = WaitedQueues()
        self.catalogue: Any = Catalogue()
        self.waited.use(self.catalogue)
        self.tickets: list[Any] = []

    def put(self, store: Store, qid: str = 'q1', scope: Scope = JOBS) -> Any:
        """Create a queue; return its store as the process has it."""
        self.catalogue.places[scope] = (qid, store)
        made: Any = announcing(store, self.waited)  # type: ignore[type-var]
        return made

    def waiting(self, seconds: float = PATIENCE) -> threading.Event:
        """Return what is set when a request that waits is woken."""
        ticket = self.waited.waiters.enter(JOBS, takes=True, seconds=seconds)
        if ticket.may_run:
            assert ticket.emptied(None)
        woken = threading.Event()
        ticket.park(woken.set)
        self.tickets.append(ticket)
        return woken


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.waited.close()


def message(delay: int = 0) -> NewMessage:
    return NewMessage(b'1', 60, '0' * 16, '', delay)


def watched(store: Store) -> None:
    """Return when a queue has been looked at."""
    store.looked()


def test_posts_of_this_process_wake_at_once(service: Service) -> None:
    store = Store('others')
    ours = service.put(store)
    woken = service.waiting()
    watched(store)
    assert ours.post('q1', [message()]) == ['an id']
    assert woken.is_set()


def test_not_where_the_store_reports_them_too(service: Service) -> None:
    store = Store('own')
    ours = service.put(store)
    woken = service.waiting()
    watched(store)
    ours.post('q1', [message()])
    assert not woken.is_set()
    store.watches[0].changed('q1', 1)
    assert woken.is_set()


def test_delayed_messages_are_looked_at(service: Service) -> None:
    store = Store('others')
    ours = service.put(store)
    woken = service.waiting()
    watched(store)
    ours.post('q1', [message(delay=60)])
    watched(store)
    assert not woken.is_set()


def test_released_messages_are_looked_at(service: Service) -> None:
    store = Store('others')
    ours = service.put(store)
    woken = service.waiting()
    watched(store)
    ours.release('q1', 'a claim', now=0)
    assert woken.wait(PATIENCE)


@pytest.mark.parametrize('ids', ['an id', ['an id']])
def test_a_deleted_message_lets_its_group_go_on(
    service: Service, monkeypatch: pytest.MonkeyPatch, ids: Any
) -> None:
    # No other look comes in time.
    monkeypatch.setattr(change_listener, 'WATCHED', 10 * PATIENCE)
    store = Store('others')
    store.is_grouped = True
    ours = service.put(store)
    woken = service.waiting(10 * PATIENCE)
    watched(store)
    delete = ours.delete if isinstance(ids, str) else ours.delete_many
    delete('q1', ids, now=0)
    assert woken.wait(PATIENCE)


def test_deletions_without_groups_cost_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_listener, 'WATCHED', 10 * PATIENCE)
    store = Store('others')
    ours = service.put(store)
    service.waiting()
    watched(store)
    # The look has been taken note of when the next one is over.
    ours.release('q1', 'a claim', now=0)
    watched(store)
    ours.delete('q1', 'an id', now=0)
    ours.delete_many('q1', ['an id'], now=0)
    time.sleep(0.1)
    assert store.looks.empty()


def test_queues_nobody_waits_for_cost_nothing(service: Service) -> None:
    store = Store()
    ours = service.put(store)
    ours.post('q1', [message()])
    ours.release('q1', 'a claim', now=0)
    assert store.looks.empty()
    names = {thread.name for thread in threading.enumerate()}
    assert 'waited-queues' not in names


def test_a_queue_that_is_created_meanwhile(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By this process: it is not looked up for a long time otherwise.
    monkeypatch.setattr(waited_queues_and_listeners, 'PERIOD', 10 * PATIENCE)
    woken = service.waiting()
    store = Store('others')
    store.put('q1')
    service.put(store)
    service.catalogue.created(JOBS)
    assert woken.wait(PATIENCE)


def test_a_queue_that_is_deleted_and_created_meanwhile(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waited_queues_and_listeners, 'PERIOD', 10 * PATIENCE)
    former, store = Store('others'), Store('others')
    service.put(former)
    woken = service.waiting()
    watched(former)
    store.put('q2')
    service.put(store, 'q2')
    service.catalogue.created(JOBS)
    assert woken.wait(PATIENCE)


def test_a_queue_that_others_delete_and_create(service: Service) -> None:
    former, store = Store('others'), Store('others')
    former.end['q1'] = 5
    service.put(former)
    woken = service.waiting()
    watched(former)
    # The process has it in its cache, for longer than this test takes.
    service.catalogue.cached[JOBS] = service.catalogue.read(JOBS)
    store.put('q2')
    service.put(store, 'q2')
    former.end['q1'] = 0
    assert woken.wait(PATIENCE)


def test_a_queue_that_others_create(service: Service) -> None:
    woken = service.waiting()
    store = Store('others')
    store.put('q1')
    service.put(store)
    assert woken.wait(PATIENCE)


def test_a_queue_that_moves_to_another_pool(service: Service) -> None:
    former, store = Store('others'), Store('others')
    service.put(former)
    woken = service.waiting()
    watched(former)
    service.put(store, 'q2')
    watched(store)
    store.put('q2')
    store.watches[0].changed('q2', 1)
    assert woken.wait(PATIENCE)
    former.watches[0].changed('q1', 1)


def test_a_catalogue_that_is_away(service: Service) -> None:
    service.catalogue.is_away = True
    woken = service.waiting()
    store = Store('others')
    store.put('q1')
    service.put(store)
    service.catalogue.is_away = False
    assert woken.wait(PATIENCE)


def test_queues_that_do_not_exist_hold_up_no_others(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waited_queues_and_listeners, 'MOST_LOOKED_UP', 4)
    monkeypatch.setattr(waited_queues_and_listeners, 'PERIOD', 0.01)
    waiters = service.waited.waiters
    former, store = Store('others'), Store('others')
    service.put(former)
    woken = service.waiting()
    watched(former)
    # Of the same project, and of another one that waits for ever more.
    for project in ('p', 'another'):
        for number in range(20):
            scope = Scope(project, f'missing{number}')
            assert waiters.enter(scope, takes=True, seconds=60).emptied(None)
    service.put(store, 'q2')
    store.put('q2')
    assert woken.wait(PATIENCE)
    assert not service.tickets[0].is_over


def test_queues_that_do_not_exist_are_not_looked_up_at_any_time(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waited_queues_and_listeners, 'PERIOD', 10 * PATIENCE)
    waiters = service.waited.waiters
    for number in range(10):
        looked_up = service.catalogue.looked_up
        before = len(looked_up)
        scope = Scope('p', f'missing{number}')
        assert waiters.enter(scope, takes=True, seconds=60).emptied(None)
        end = time.monotonic() + PATIENCE
        while len(looked_up) == before:
            assert time.monotonic() < end
    service.waited.close()
    assert len(looked_up) == 10


def test_a_project_that_waits_for_ever_more_queues_holds_up_no_other(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = service.catalogue.find
    begun, all_wait = threading.Event(), threading.Event()

    def slow(scope: Scope) -> Queue | None:
        begun.set()
        assert all_wait.wait(PATIENCE)
        queue: Queue | None = find(scope)
        return queue

    def enter(scope: Scope) -> None:
        waiters = service.waited.waiters
        assert waiters.enter(scope, takes=True, seconds=60).emptied(None)

    monkeypatch.setattr(service.catalogue, 'find', slow)
    enter(JOBS)
    assert begun.wait(PATIENCE)
    for number in range(50):
        enter(Scope('many', str(number)))
    enter(Scope('one', 'queue'))
    all_wait.set()
    looked_up = service.catalogue.looked_up
    end = time.monotonic() + PATIENCE
    while len(looked_up) < 3:
        assert time.monotonic() < end
    assert {scope.project for scope in looked_up[1:3]} == {'many', 'one'}


def test_the_end_of_a_wait(service: Service) -> None:
    late = service.waiting(PATIENCE)
    soon = service.waiting(0.05)
    assert soon.wait(PATIENCE)
    assert service.tickets[1].is_over
    assert not late.is_set()


def test_it_listens_no_longer_than_somebody_may_wait(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waited_queues_and_listeners, 'LINGER', 0.0)
    store = Store('others')
    service.put(store)
    service.waiting()
    watched(store)
    service.tickets[0].leave()
    while not store.watches[0].is_closed:
        assert len(service.waited.waiters) == 0


def test_it_forgets_while_others_are_looked_up(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waited_queues_and_listeners, 'MOST_LOOKED_UP', 1)
    monkeypatch.setattr(waited_queues_and_listeners, 'PERIOD', 0.01)
    monkeypatch.setattr(waited_queues_and_listeners, 'LINGER', 0.0)
    store = Store('others')
    service.put(store)
    service.waiting()
    watched(store)
    for number in range(5):
        scope = Scope('p', f'missing{number}')
        waiters = service.waited.waiters
        assert waiters.enter(scope, takes=True, seconds=60).emptied(None)
    service.tickets[0].leave()
    end = time.monotonic() + PATIENCE
    while not store.watches[0].is_closed:
        assert time.monotonic() < end


def test_close_answers_all(service: Service) -> None:
    woken = service.waiting()
    service.waited.close()
    assert woken.is_set()
    assert service.tickets[0].is_over

# SPDX-License-Identifier: Apache-2.0
"""Watches: changes of queues, reported without delay."""

from __future__ import annotations

import contextlib
import queue as queues
import threading
from collections.abc import Callable, Iterator

import pytest

from zaqar.storage.abstract_stores import OUTBOX, MessageStore
from zaqar.storage.store_watch_interface import Watch
from zaqar.tests.contract.conftest import settles
from zaqar.tests.contract.crowd import each
from zaqar.tests.contract.harnesses import Feature, Harness
from zaqar.tests.contract.probe import Probe, message, token
from zaqar.tests.contract.proxy import Proxy

#: Seconds in which a report must come, also from a busy machine.
SOON = 60.0

watched = pytest.mark.needs(Feature.WATCH)


class Listener:
    """A watch, and what it has reported."""

    def __init__(self, store: MessageStore) -> None:
        self._reports: queues.Queue[tuple[str | None, int]] = queues.Queue()
        watch = store.watch(lambda qid, n: self._reports.put((qid, n)))
        assert watch is not None
        self.watch: Watch = watch

    def add(self, queue: Probe) -> None:
        """Listen for a queue, and return when no post is missed any more."""
        self.watch.add(queue.qid)
        self.hear(queue)

    def hear(self, queue: Probe) -> int:
        """Wait for a report that concerns a queue; return its number."""
        while True:
            qid, count = self._reports.get(timeout=SOON)
            if qid in (None, queue.qid):
                return count

    def hear_of_posts(self, queue: Probe, count: int) -> None:
        """Wait until that many messages, or changes of any queue, are told."""
        while count > 0:
            qid, posted = self._reports.get(timeout=SOON)
            if qid is None:
                return
            count -= posted if qid == queue.qid else 0
        assert count == 0

    def hear_of_all(self) -> None:
        """Wait until it says that any queue may have changed."""
        while self._reports.get(timeout=SOON)[0] is not None:
            pass


Listen = Callable[[MessageStore], Listener]


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Begin to watch stores."""
    with contextlib.ExitStack() as stack:

        def begin(store: MessageStore) -> Listener:
            listener = Listener(store)
            stack.callback(listener.watch.close)
            return listener

        yield begin


def elsewhere(queue: Probe, beside: MessageStore) -> Probe:
    """Return a queue as another process has it."""
    return Probe(beside, queue.hand, queue.qid)


def test_only_a_store_that_declares_it_has_a_watch(
    harness: Harness, store: MessageStore
) -> None:
    watch = store.watch(lambda _, __: None)
    if watch is not None:
        watch.close()
    assert (watch is not None) == (Feature.WATCH in harness.features)


@watched
def test_a_post_of_another_process_is_heard(
    queue: Probe, beside: MessageStore, listen: Listen
) -> None:
    queue.post('before')
    listener = listen(queue.store)
    listener.add(queue)
    elsewhere(queue, beside).post('a')
    listener.hear_of_posts(queue, 1)
    elsewhere(queue, beside).post('b', 'c')
    listener.hear_of_posts(queue, 2)


@watched
def test_the_first_post_to_a_queue_is_heard(
    queue: Probe, beside: MessageStore, listen: Listen
) -> None:
    listener = listen(queue.store)
    listener.add(queue)
    elsewhere(queue, beside).post('a')
    listener.hear_of_posts(queue, 1)


@watched
def test_the_notice_of_a_post_is_heard(
    queue: Probe, beside: MessageStore, listen: Listen
) -> None:
    outbox = Probe(queue.store, queue.hand, OUTBOX)
    queue.store.mark_subscribed(queue.qid, now=queue.hand.now)
    listener = listen(queue.store)
    listener.add(outbox)
    for _ in range(2):
        beside.post(
            queue.qid,
            [message('a')],
            now=queue.hand.now,
            token=token(),
            notice=lambda _: message('a notice', ttl=86_400),
        )
        listener.hear_of_posts(outbox, 1)
    outbox.store.purge(OUTBOX, now=queue.hand.now)


@watched
def test_a_post_of_the_same_process_is_heard_if_it_says_so(
    queue: Probe, listen: Listen
) -> None:
    listener = listen(queue.store)
    listener.add(queue)
    queue.post('a')
    if listener.watch.hears_own:
        listener.hear_of_posts(queue, 1)


@watched
def test_a_post_with_a_limit_is_heard(
    queue: Probe, beside: MessageStore, listen: Listen
) -> None:
    listener = listen(queue.store)
    listener.add(queue)
    elsewhere(queue, beside).post('a', limit=9)
    listener.hear_of_posts(queue, 1)


@watched
def test_a_post_after_a_purge_is_heard(
    queue: Probe, beside: MessageStore, listen: Listen
) -> None:
    queue.post('a')
    listener = listen(queue.store)
    listener.add(queue)
    other = elsewhere(queue, beside)
    other.purge()
    other.post('b')
    listener.hear_of_posts(queue, 1)


@watched
def test_delayed_messages_are_not_counted(
    queue: Probe, beside: MessageStore, listen: Listen
) -> None:
    listener = listen(queue.store)
    listener.add(queue)
    elsewhere(queue, beside).post('a', delay=60)
    assert listener.hear(queue) == 0


@watched
def test_all_of_many_concurrent_posts_are_heard(
    queue: Probe, beside: MessageStore, listen: Listen
) -> None:
    listener = listen(queue.store)
    listener.add(queue)
    other = elsewhere(queue, beside)
    each(lambda number: other.post(*range(number)), range(1, 9))
    listener.hear_of_posts(queue, sum(range(1, 9)))


@watched
def test_every_process_that_listens_hears_a_post(
    queue: Probe, beside: MessageStore, listen: Listen
) -> None:
    listeners = [listen(queue.store), listen(beside)]
    for listener in listeners:
        listener.add(queue)
    # A third one may post, too; here it is one of them.
    queue.post('a')
    for listener in listeners:
        if listener.watch.hears_own or listener is listeners[1]:
            listener.hear_of_posts(queue, 1)


@watched
def test_a_queue_that_was_removed_can_be_added_again(
    queue: Probe, another: Probe, beside: MessageStore, listen: Listen
) -> None:
    listener = listen(queue.store)
    listener.add(queue)
    listener.watch.remove(queue.qid)
    elsewhere(queue, beside).post('a')
    listener.add(another)
    listener.add(queue)
    elsewhere(queue, beside).post('b')
    listener.hear_of_posts(queue, 1)


@watched
def test_one_of_a_thousand_queues_is_heard(
    queue: Probe, beside: MessageStore, listen: Listen
) -> None:
    listener = listen(queue.store)
    for _ in range(1200):
        listener.watch.add(token())
    listener.add(queue)
    elsewhere(queue, beside).post('a')
    listener.hear_of_posts(queue, 1)


@watched
def test_closing_ends_the_thread_and_the_connection(
    harness: Harness, uri: str, queue: Probe
) -> None:
    queue.post('a')
    threads = {*threading.enumerate()}
    connections = harness.connections(uri)
    listener = Listener(queue.store)
    listener.add(queue)
    assert {*threading.enumerate()} > threads
    listener.watch.close()
    assert {*threading.enumerate()} <= threads
    left = settles(lambda: harness.connections(uri), connections)
    assert left <= connections


@watched
@pytest.mark.needs(Feature.ENDPOINT)
def test_after_a_lost_connection_posts_are_heard_again(
    queue: Probe, distant: MessageStore, proxy: Proxy, listen: Listen
) -> None:
    listener = listen(distant)
    listener.add(queue)
    proxy.cut()
    queue.post('missed')
    proxy.restore()
    listener.hear_of_all()
    listener.hear(queue)
    queue.post('a')
    listener.hear_of_posts(queue, 1)


@watched
@pytest.mark.needs(Feature.ENDPOINT)
def test_a_watch_closes_while_the_server_is_gone(
    queue: Probe, distant: MessageStore, proxy: Proxy
) -> None:
    threads = {*threading.enumerate()}
    listener = Listener(distant)
    listener.add(queue)
    proxy.cut()
    listener.watch.close()
    # The proxy's own end as well.
    assert settles(lambda: len({*threading.enumerate()} - threads), 0) == 0

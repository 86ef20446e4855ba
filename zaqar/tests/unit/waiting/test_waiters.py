# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is among requests that wait."""

import collections
import math
import random
import threading
from typing import Any

import pytest

from zaqar.objects import Scope
from zaqar.storage.store_watch_interface import MAX_FREE, Availability
from zaqar.waiting import waiters
from zaqar.waiting.waiters import Ticket, Waiters
from zaqar.waiting.waiters_of_one_queue import (
    MOST_READ_AGAIN,
    READ_AGAIN_AFTER,
    RETRY_AFTER,
)

JOBS = Scope('p', 'jobs')


class Watched:
    """What the observer was notified of."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def begin(self, scope: Scope) -> None:
        self.calls.append(('begin', scope))

    def end(self, scope: Scope) -> None:
        self.calls.append(('end', scope))

    def expire_at(self, until: float) -> None:
        self.calls.append(until)


class Queue:
    """A queue, and the requests for it of one process.

    :ivar answers: of requests, by name, in the order in which they are given
    :ivar attempts: the names of requests that have made one
    :ivar away: those that cannot run when they are woken
    """

    def __init__(self) -> None:
        self.now = 100.0
        self.watched = Watched()
        self.waiters = Waiters(self.watched, lambda: self.now)
        self.messages: collections.deque[int] = collections.deque()
        self.answers: dict[str, list[int]] = {}
        self.attempts: list[str] = []
        self.tickets: dict[str, Ticket] = {}
        self.away: set[str] = set()
        self.posted = 0

    def claim(self, name: str, seconds: float = 20, limit: int = 1) -> None:
        """Begin a request that takes messages."""
        ticket = self.waiters.enter(JOBS, takes=True, seconds=seconds)
        self.tickets[name] = ticket
        self._go(name, limit)

    def list(self, name: str, seconds: float = 20, after: int = 0) -> None:
        """Begin one that reads those after a place."""
        ticket = self.waiters.enter(JOBS, takes=False, seconds=seconds)
        self.tickets[name] = ticket
        self._read(name, after)

    def post(self, count: int = 1, announce: bool = True) -> None:
        for _ in range(count):
            self.posted += 1
            self.messages.append(self.posted)
        if announce:
            self.waiters.announce(JOBS, count)

    def look(self, due: int | None = None) -> None:
        free = min(len(self.messages), MAX_FREE)
        self.waiters.look(JOBS, Availability(free, self.posted, due))

    def come_back(self, name: str) -> None:
        """Let one run that could not."""
        self.away.discard(name)
        if self.tickets[name].come_back(lambda: self._go(name, 1)):
            self._go(name, 1)

    def _go(self, name: str, limit: int) -> None:
        ticket = self.tickets[name]
        if name in self.away and ticket.pass_on():
            return
        if ticket.is_over:
            self.answers[name] = []
            return
        if ticket.may_run:
            self.attempts.append(name)
            size = min(limit, len(self.messages))
            taken = [self.messages.popleft() for _ in range(size)]
            if taken:
                self.answers[name] = taken
                ticket.served(len(taken))
                return
            if not ticket.emptied(None):
                self.answers[name] = []
                return
        ticket.park(lambda: self._go(name, limit))

    def _read(self, name: str, after: int) -> None:
        ticket = self.tickets[name]
        if ticket.is_over:
            self.answers[name] = ticket.place.result
            return
        self.attempts.append(name)
        page = [number for number in self.messages if number > after]
        if page:
            self.answers[name] = page
            ticket.served(len(page))
        elif ticket.emptied([]):
            ticket.park(lambda: self._read(name, after))
        else:
            self.answers[name] = []


@pytest.fixture
def queue() -> Queue:
    return Queue()


def test_a_claim_of_what_is_there_does_not_wait(queue: Queue) -> None:
    queue.post()
    queue.claim('a')
    assert queue.answers == {'a': [1]}
    assert len(queue.waiters) == 0
    assert queue.watched.calls == []


def test_a_message_wakes_the_oldest_one_alone(queue: Queue) -> None:
    for name in 'abc':
        queue.claim(name)
    assert queue.attempts == ['a']
    queue.post()
    assert queue.answers == {'a': [1]}
    queue.post()
    assert queue.answers == {'a': [1], 'b': [2]}
    assert queue.attempts == ['a', 'a', 'b']


def test_a_thousand_messages_for_a_thousand_waiters(queue: Queue) -> None:
    names = [str(number) for number in range(1000)]
    for name in names:
        queue.claim(name)
    for _ in names:
        queue.post()
        queue.look()
    assert list(queue.answers) == names
    assert list(queue.answers.values()) == [
        [number] for number in range(1, 1001)
    ]
    assert len(queue.attempts) <= 1100
    assert len(queue.waiters) == 0


def test_a_thousand_messages_that_are_only_seen(queue: Queue) -> None:
    names = [str(number) for number in range(1000)]
    for name in names:
        queue.claim(name)
    for _ in names:
        queue.post(announce=False)
        queue.look()
    assert list(queue.answers) == names
    assert len(queue.attempts) <= 1100


def test_messages_of_one_post_wake_as_many(queue: Queue) -> None:
    for name in 'abcd':
        queue.claim(name)
    queue.post(3)
    assert queue.answers == {'a': [1], 'b': [2], 'c': [3]}
    assert queue.attempts == ['a', 'a', 'b', 'c']


def test_who_takes_several_leaves_none_for_others(queue: Queue) -> None:
    queue.claim('a', limit=10)
    queue.claim('b', limit=10)
    queue.post(3)
    assert queue.answers == {'a': [1, 2, 3]}
    assert queue.attempts == ['a', 'a']


def test_more_than_can_be_counted(queue: Queue) -> None:
    queue.claim('a', limit=MAX_FREE)
    queue.claim('b', limit=MAX_FREE)
    queue.post(MAX_FREE + 1, announce=False)
    queue.look()
    assert queue.answers['b'] == [MAX_FREE + 1]


def test_who_gets_nothing_keeps_its_place(queue: Queue) -> None:
    queue.claim('a')
    queue.claim('b')
    # Another process was faster.
    queue.waiters.announce(JOBS, 1)
    assert queue.attempts == ['a', 'a']
    queue.post()
    assert queue.answers == {'a': [1]}


def test_changes_during_an_attempt_are_not_missed(queue: Queue) -> None:
    ticket = queue.waiters.enter(JOBS, takes=True, seconds=20)
    # Its attempt has seen an empty queue, and is on its way back.
    queue.post()
    assert ticket.emptied(None)
    woken: list[str] = []
    ticket.park(lambda: woken.append('again'))
    assert woken == ['again']
    assert ticket.may_run


def test_what_is_seen_during_an_attempt_is_not_missed(queue: Queue) -> None:
    queue.claim('a')
    queue.waiters.announce(JOBS, 0)
    ticket = queue.tickets['a']
    queue.waiters.look(JOBS, Availability(1, 1, None))
    assert queue.attempts == ['a', 'a']
    assert not ticket.may_run


def test_what_others_have_taken_is_forgotten(queue: Queue) -> None:
    queue.claim('a', limit=1)
    queue.post(5, announce=False)
    queue.look()
    queue.messages.clear()
    queue.look()
    queue.claim('b')
    queue.claim('c')
    assert queue.attempts == ['a', 'a', 'b']


def test_what_cannot_be_taken_is_tried_once_a_second(queue: Queue) -> None:
    queue.claim('a')
    for _ in range(50):
        # Such as messages that cannot be decrypted.
        queue.waiters.look(JOBS, Availability(1, 7, None))
    assert queue.attempts == ['a'] * 2
    queue.now += RETRY_AFTER
    queue.waiters.look(JOBS, Availability(1, 7, None))
    assert queue.attempts == ['a'] * 3
    # Another post is another chance.
    queue.waiters.look(JOBS, Availability(2, 8, None))
    assert queue.attempts == ['a'] * 4


def test_attempts_without_any_one_waiting_run_together(queue: Queue) -> None:
    first = queue.waiters.enter(JOBS, takes=True, seconds=20)
    second = queue.waiters.enter(JOBS, takes=True, seconds=20)
    assert first.may_run
    assert second.may_run
    assert first.emptied(None)
    third = queue.waiters.enter(JOBS, takes=True, seconds=20)
    assert not third.may_run
    # There was more than one for the second.
    second.served(1)
    assert not first.may_run


def test_one_is_woken_at_a_time(queue: Queue) -> None:
    tickets = [
        queue.waiters.enter(JOBS, takes=True, seconds=20) for _ in range(3)
    ]
    for ticket in tickets:
        ticket.emptied(None)
    queue.waiters.announce(JOBS, 2)
    assert [ticket.may_run for ticket in tickets] == [True, False, False]
    tickets[0].served(1)
    assert [ticket.may_run for ticket in tickets[1:]] == [True, False]


def test_who_fails_hands_its_turn_on(queue: Queue) -> None:
    ticket = queue.waiters.enter(JOBS, takes=True, seconds=20)
    ticket.emptied(None)
    queue.claim('b')
    queue.post()
    assert ticket.may_run
    assert queue.answers == {}
    ticket.leave()
    ticket.leave()
    assert queue.answers == {'b': [1]}


def test_the_end_of_a_wait(queue: Queue) -> None:
    queue.claim('a', seconds=5)
    queue.claim('b', seconds=3)
    assert queue.waiters.expire() == 103
    queue.now = 103.0
    assert queue.waiters.expire() == 105
    assert queue.answers == {'b': []}
    queue.post()
    assert queue.answers == {'b': [], 'a': [1]}
    assert queue.attempts == ['a', 'a']
    assert queue.waiters.expire() == math.inf


def test_an_attempt_that_lasts_until_the_end(queue: Queue) -> None:
    ticket = queue.waiters.enter(JOBS, takes=True, seconds=5)
    queue.now += 5
    assert not ticket.emptied(None)
    assert len(queue.waiters) == 0


def test_a_client_that_goes_away_while_it_waits(queue: Queue) -> None:
    queue.claim('a')
    queue.claim('b')
    queue.tickets['a'].give_up()
    assert queue.answers == {'a': []}
    queue.post()
    assert queue.answers == {'a': [], 'b': [1]}
    queue.tickets['b'].give_up()


def test_who_cannot_run_lets_others_go_first(queue: Queue) -> None:
    for name in 'abc':
        queue.claim(name)
    queue.away.add('a')
    queue.post()
    assert queue.answers == {'b': [1]}
    queue.come_back('a')
    assert queue.answers == {'b': [1]}
    # In its old place.
    queue.post()
    assert queue.answers == {'b': [1], 'a': [2]}
    queue.post()
    assert queue.answers['c'] == [3]


def test_who_comes_back_to_a_message_takes_it(queue: Queue) -> None:
    queue.claim('a')
    queue.away.add('a')
    queue.post()
    assert queue.attempts == ['a'] and not queue.answers
    queue.come_back('a')
    assert queue.answers == {'a': [1]}


def test_who_comes_back_too_late(queue: Queue) -> None:
    queue.claim('a')
    queue.away.add('a')
    queue.post()
    queue.messages.clear()
    queue.now += 30
    queue.waiters.expire()
    assert not queue.answers
    queue.come_back('a')
    assert queue.answers == {'a': []}
    assert len(queue.waiters) == 0


@pytest.mark.parametrize('how', ['leave', 'give_up', 'close'])
def test_who_is_away_goes(queue: Queue, how: str) -> None:
    queue.claim('a')
    queue.away.add('a')
    queue.post()
    queue.messages.clear()
    if how == 'close':
        queue.waiters.close()
        queue.come_back('a')
        assert queue.answers == {'a': []}
    else:
        getattr(queue.tickets['a'], how)()
    assert len(queue.waiters) == 0
    queue.claim('b')
    queue.post(2)
    assert queue.answers.get('b') == ([] if how == 'close' else [2])


def test_readers_are_woken_together(queue: Queue) -> None:
    queue.list('x')
    queue.list('y')
    queue.list('z', after=1)
    queue.claim('a')
    queue.post()
    assert queue.answers == {'x': [1], 'y': [1], 'a': [1]}
    queue.post()
    assert queue.answers['z'] == [2]


def test_readers_do_not_care_for_what_is_taken(queue: Queue) -> None:
    queue.post(2)
    queue.list('x', after=2)
    queue.look()
    assert queue.attempts == ['x', 'x']
    queue.messages.popleft()
    # As many may have been released as there are less.
    for _ in range(10):
        queue.now += 1
        queue.look()
    assert queue.attempts == ['x', 'x', 'x']
    queue.messages.append(3)
    queue.look()
    assert queue.answers == {'x': [3]}


def crowded(queue: Queue, *names: str, due: int | None = 7) -> int:
    """Have requests read after more messages than are counted.

    :returns: the place after which they read
    """
    queue.post(MAX_FREE + 50)
    queue.look(due)
    for name in names:
        queue.list(name, after=queue.posted)
    return queue.posted


def test_a_release_among_more_than_can_be_counted(queue: Queue) -> None:
    last = crowded(queue, 'x')
    for _ in range(5):
        queue.now += 1
        queue.look(due=7)
    assert queue.attempts == ['x'] * 6
    queue.messages.append(last + 1)
    queue.now += 1
    queue.look(due=7)
    assert queue.answers == {'x': [last + 1]}


def test_the_last_release_among_more_than_can_be_counted(
    queue: Queue,
) -> None:
    last = crowded(queue, 'x')
    queue.now += 1
    queue.look(due=7)
    queue.messages.append(last + 1)
    # Nothing else is claimed any more.
    queue.now += 1
    queue.look(due=None)
    assert queue.answers == {'x': [last + 1]}


def test_where_nothing_is_claimed_readers_read_once_more(
    queue: Queue,
) -> None:
    crowded(queue, 'x', due=None)
    queue.list('follower', after=queue.posted)
    for _ in range(20):
        queue.now += 1
        queue.look(due=None)
    # It was claimed when they came, perhaps.
    assert sorted(queue.attempts) == ['follower'] * 2 + ['x'] * 2


def test_a_release_that_a_claim_hides(queue: Queue) -> None:
    queue.post(3)
    queue.look(due=7)
    queue.list('x', after=3)
    for _ in range(5):
        queue.now += 1
        queue.look(due=7)
    assert queue.attempts == ['x', 'x']
    queue.messages.popleft()
    queue.messages.append(4)
    queue.now += 1
    queue.look(due=9)
    assert queue.answers == {'x': [4]}


def test_few_readers_read_again_at_a_time(queue: Queue) -> None:
    names = [str(number) for number in range(200)]
    last = crowded(queue, *names)
    queue.look(due=7)
    queue.attempts.clear()
    for _ in range(100):
        queue.now += READ_AGAIN_AFTER / 10
        queue.look(due=7)
    assert len(queue.attempts) <= 11 * MOST_READ_AGAIN
    # They take turns.
    assert {*queue.attempts} == {*names}
    queue.messages.append(last + 1)
    queue.now += 1
    queue.look(due=7)
    # What one of them gets, all others may get, too.
    assert queue.answers == {name: [last + 1] for name in names}


def test_who_sees_claimed_messages_does_not_read_again(queue: Queue) -> None:
    crowded(queue)
    ticket = queue.waiters.enter(JOBS, takes=False, seconds=20, sees_held=True)
    assert ticket.emptied([])
    queue.look(due=7)
    assert ticket.emptied([])
    for _ in range(5):
        queue.now += 1
        queue.look(due=7)
        assert not ticket.may_run


def test_another_queue_may_look_like_one_that_is_gone(queue: Queue) -> None:
    queue.post()
    queue.list('x', after=1)
    for _ in range(5):
        queue.now += 1
        queue.look()
    assert queue.attempts == ['x', 'x']
    queue.messages[0] = 2
    queue.waiters.renew(JOBS)
    queue.look()
    assert queue.answers == {'x': [2]}


def test_a_change_during_the_attempt_of_a_reader(queue: Queue) -> None:
    ticket = queue.waiters.enter(JOBS, takes=False, seconds=20)
    queue.post()
    assert ticket.emptied([])
    assert ticket.may_run


def test_readers_are_answered_with_their_last_result(queue: Queue) -> None:
    queue.list('x', seconds=5)
    queue.now += 5
    queue.waiters.expire()
    assert queue.answers == {'x': []}
    assert queue.attempts == ['x']


def test_close_answers_all_at_once(queue: Queue) -> None:
    queue.claim('a')
    queue.claim('b')
    queue.list('x')
    queue.waiters.close()
    assert queue.answers == {'a': [], 'b': [], 'x': []}
    queue.claim('c')
    queue.list('y')
    assert queue.answers['c'] == []
    assert queue.answers['y'] == []
    assert len(queue.waiters) == 0


def test_what_is_watched(queue: Queue) -> None:
    queue.claim('a', seconds=5)
    queue.claim('b', seconds=9)
    queue.claim('c', seconds=4)
    assert queue.watched.calls == [('begin', JOBS), 105, 104]
    queue.post(3)
    assert queue.watched.calls[3:] == [('end', JOBS)]
    queue.claim('d')
    assert queue.watched.calls[4:] == [('begin', JOBS)]


def test_one_that_cannot_be_woken_does_not_hinder_others(
    queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ValueError

    ticket = queue.waiters.enter(JOBS, takes=False, seconds=20)
    ticket.emptied([])
    ticket.park(fail)
    queue.list('x')
    queue.post()
    assert queue.answers == {'x': [1]}
    (record,) = caplog.records
    assert record.exc_info is not None


def test_deadlines_do_not_pile_up(queue: Queue) -> None:
    for number in range(3000):
        queue.claim(str(number))
        queue.post()
    assert len(queue.waiters.deadlines) <= 2 * waiters.MOST_STALE


@pytest.mark.parametrize('seed', range(200))
def test_nobody_waits_beside_messages(seed: int) -> None:
    """Random orders of attempts, results, posts and looks."""
    chance = random.Random(seed)
    queue = Queue()
    ready: list[tuple[str, Ticket]] = []
    under_way: list[tuple[str, Ticket, int]] = []
    away: list[tuple[str, Ticket]] = []
    served: list[str] = []
    for step in range(300):
        action = chance.randrange(8)
        if action == 0:
            ticket = queue.waiters.enter(JOBS, takes=True, seconds=1000)
            _park_or_run(str(step), ticket, ready)
        elif action == 1:
            queue.post(chance.randrange(1, 3), announce=chance.random() < 0.5)
        elif action == 2 and ready:
            name, ticket = ready.pop(0)
            taken = bool(queue.messages)
            if taken:
                queue.messages.popleft()
            under_way.append((name, ticket, taken))
        elif action == 3 and under_way:
            _finish(under_way, chance, ready, served)
        elif action == 4:
            queue.look()
        elif action == 5 and queue.messages and chance.random() < 0.3:
            # Another process.
            queue.messages.popleft()
        elif action == 6 and ready and ready[0][1].pass_on():
            away.append(ready.pop(0))
        elif action == 7 and away:
            _come_back(away, ready)
    for _ in range(1000):
        if away:
            _come_back(away, ready)
        elif under_way:
            _finish(under_way, chance, ready, served)
        elif ready:
            name, ticket = ready.pop(0)
            taken = bool(queue.messages)
            if taken:
                queue.messages.popleft()
            under_way.append((name, ticket, taken))
        else:
            queue.now += RETRY_AFTER
            queue.look()
            if not ready:
                break
    assert not queue.messages or not len(queue.waiters)


def _park_or_run(
    name: str, ticket: Ticket, ready: list[tuple[str, Ticket]]
) -> None:
    if ticket.may_run:
        ready.append((name, ticket))
    else:
        ticket.park(lambda: ready.append((name, ticket)))


def _come_back(
    away: list[tuple[str, Ticket]], ready: list[tuple[str, Ticket]]
) -> None:
    name, ticket = away.pop()
    if ticket.come_back(lambda: ready.append((name, ticket))):
        ready.append((name, ticket))


def _finish(
    under_way: list[tuple[str, Ticket, int]],
    chance: random.Random,
    ready: list[tuple[str, Ticket]],
    served: list[str],
) -> None:
    at = chance.randrange(len(under_way))
    name, ticket, taken = under_way.pop(at)
    if taken:
        served.append(name)
        ticket.served(1)
    else:
        assert ticket.emptied(None)
        ticket.park(lambda: ready.append((name, ticket)))


def test_threads() -> None:
    """Messages of several posters are all taken, each once."""
    line = Waiters(Watched())
    messages = collections.deque[int]()
    taken: list[int] = []
    left = threading.Semaphore(0)

    def consume() -> None:
        while True:
            ticket = line.enter(JOBS, takes=True, seconds=60)
            while True:
                if ticket.may_run:
                    try:
                        number = messages.popleft()
                    except IndexError:
                        ticket.emptied(None)
                    else:
                        ticket.served(1)
                        break
                woken = threading.Event()
                ticket.park(woken.set)
                woken.wait()
            if number < 0:
                return
            taken.append(number)
            left.release()

    threads = [threading.Thread(target=consume) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(2000):
        messages.append(number)
        line.announce(JOBS, 1)
    for _ in range(2000):
        left.acquire(timeout=30)
    messages.extend([-1] * 4)
    line.announce(JOBS, 4)
    for thread in threads:
        thread.join(30)
    assert sorted(taken) == list(range(2000))
    assert len(line) == 0

# SPDX-License-Identifier: Apache-2.0
"""Many who post at once, in one process and in several."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import pytest

from zaqar.errors import QueueFull, QueueGone
from zaqar.objects import Message
from zaqar.tests.contract.crowd import each
from zaqar.tests.contract.probe import Hand, Probe, bodies, ids, token

#: Milliseconds by which the clocks of processes are off.
OFF = 300_000


def read_all(
    queue: Probe, limit: int, finished: Callable[[], bool]
) -> Iterator[Message]:
    """Page by marker while others post, then to the end."""
    marker = None
    while True:
        last = finished()
        page = queue.list(limit, marker=marker)
        yield from page.messages
        if page.messages:
            marker = page.messages[-1].marker
        elif last:
            return


class Producers:
    """Workers that post, and a reader that follows them."""

    def __init__(self, queue: Probe, works: Sequence[Callable[[], None]]):
        self._queue = queue
        self._works = works
        self._ended = 0
        self._lock = threading.Lock()

    def run(self, limit: int) -> list[Message]:
        """Let all produce; return what a reader by marker saw."""
        seen: list[Message] = []

        def read() -> None:
            seen.extend(read_all(self._queue, limit, self._finished))

        each(lambda work: work(), [*map(self._counted, self._works), read])
        return seen

    def _counted(self, work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                work()
            finally:
                with self._lock:
                    self._ended += 1

        return run

    def _finished(self) -> bool:
        with self._lock:
            return self._ended == len(self._works)


@pytest.mark.parametrize('limit', [1, 1000])
def test_two_producers_and_a_marker_reader_skip_and_repeat_nothing(
    eight: list[Probe], queue: Probe, many: Callable[[int], int], limit: int
) -> None:
    def produce(number: int) -> None:
        for step in range(many(60)):
            eight[number].post(*([number, step, part] for part in range(3)))

    works = [partial(produce, number) for number in range(2)]
    seen = Producers(eight[2], works).run(limit)
    assert ids(seen) == ids(queue.walk())
    assert len(seen) == many(60) * 6
    for number in range(2):
        own = [body for body in bodies(seen) if body[0] == number]
        assert own == sorted(own)


def test_readers_skip_nothing_of_producers_whose_clocks_are_off(
    eight: list[Probe], queue: Probe, hand: Hand, many: Callable[[int], int]
) -> None:
    def produce(number: int) -> None:
        own = Hand()
        own.now = hand.now + OFF * (number - 1)
        one = Probe(eight[number].store, own, queue.qid)
        for step in range(many(60)):
            own.now += 1
            one.post([number, step])

    works = [partial(produce, number) for number in range(3)]
    seen = Producers(queue, works).run(7)
    assert ids(seen) == ids(queue.walk())
    assert len(seen) == many(60) * 3


def test_a_post_is_seen_as_a_whole(eight: list[Probe], queue: Probe) -> None:
    torn: list[Counter[int]] = []

    def produce(number: int) -> None:
        for step in range(5):
            eight[number].post(*[number * 10 + step] * 20)

    producers = Producers(
        queue, [partial(produce, number) for number in range(4)]
    )
    watcher = eight[4]

    def watch() -> None:
        for _ in range(60):
            counts = Counter(bodies(watcher.list(1000).messages))
            if set(counts.values()) - {20}:
                torn.append(counts)

    each(lambda work: work(), [lambda: producers.run(1000), watch, watch])
    assert torn == []
    # In the end, too, the messages of each post stand together.
    listed = queue.everything()
    assert listed[::20] == list(dict.fromkeys(listed))


def test_eight_first_posts_make_one_queue(
    eight: list[Probe], queue: Probe
) -> None:
    posted = each(lambda one: one.post(1, 2), eight)
    assert queue.everything() == [1, 2] * 8
    assert len({name for names in posted for name in names}) == 16


def test_one_token_used_by_eight_at_once_stores_one_post(
    eight: list[Probe], queue: Probe
) -> None:
    for step in range(10):
        again = partial(Probe.post, token=token())
        posted = each(lambda one, again=again: again(one, 1, 2), eight)
        assert len({tuple(names) for names in posted}) == 1
        assert queue.stats().total == 2 * step + 2


def test_one_token_used_at_once_among_other_posts_stores_one_post(
    eight: list[Probe], queue: Probe
) -> None:
    for step in range(1, 9):
        name = token()
        works = [partial(one.post, 'x', token=name) for one in eight]
        # Most often the last one to start comes first, and the others meet.
        works += [partial(one.post, 'y') for one in eight[:3]]
        each(lambda work: work(), works)
        assert queue.everything().count('x') == step
        assert queue.stats().total == 4 * step


def test_one_dead_letter_brought_by_eight_at_once_is_stored_once(
    eight: list[Probe], queue: Probe, another: Probe
) -> None:
    for letter in another.post(*range(10)):
        each(lambda one, letter=letter: one.letter('x', letter), eight)
    assert queue.everything() == ['x'] * 10


def test_eight_posters_never_pass_the_limit(
    eight: list[Probe], queue: Probe
) -> None:
    def fill(one: Probe) -> int:
        stored = 0
        for _ in range(20):
            try:
                stored += len(one.post(1, 2, 3, limit=100))
            except QueueFull:
                break
        return stored

    assert sum(each(fill, eight)) == 99
    assert queue.stats().total == 99


def churn(queue: Probe) -> None:
    """Post, pop, claim and delete in a limited queue."""
    chance = random.Random(id(queue))
    for _ in range(40):
        act = chance.randrange(5)
        if act < 2:
            try:
                queue.post(*range(chance.randint(1, 5)), limit=50)
            except QueueFull:
                queue.pop(3)
        elif act == 2:
            queue.pop(chance.randint(1, 4))
        elif act == 3 and (claim := queue.claim(3)):
            for name in ids(claim.messages):
                queue.delete(name, claim.id)
        else:
            queue.delete_many(*ids(queue.list(2).messages))


def test_a_limit_is_exact_after_a_crowd(
    eight: list[Probe], queue: Probe
) -> None:
    # From now on the store counts.
    queue.post('x', limit=50)
    each(churn, eight)
    left = len(queue.everything())
    assert queue.stats().total == left
    queue.post(*range(51 - left), limit=51)
    with pytest.raises(QueueFull):
        queue.post('y', limit=51)


@pytest.mark.parametrize('first', [[], ['first']], ids=['new', 'in use'])
def test_no_post_gets_through_after_a_drop(
    eight: list[Probe], queue: Probe, first: list[str]
) -> None:
    dropped = threading.Event()
    for body in first:
        queue.post(body)

    def post(one: Probe) -> None:
        for number in range(100):
            late = dropped.is_set()
            try:
                one.post(number)
            except QueueGone:
                return
            assert not late

    def drop() -> None:
        eight[0].drop()
        dropped.set()

    works = [drop, *(partial(post, one) for one in eight[1:])]
    each(lambda work: work(), works)
    with pytest.raises(QueueGone):
        queue.list()


def test_purges_and_posts_meet_without_a_failure(
    eight: list[Probe], queue: Probe
) -> None:
    def post(one: Probe) -> None:
        for number in range(30):
            one.post(number)
            one.claim(2)

    def purge() -> None:
        for _ in range(15):
            eight[0].purge()

    works = [purge, *(partial(post, one) for one in eight[1:6])]
    each(lambda work: work(), works)
    queue.purge()
    assert queue.everything() == []
    assert queue.stats().total == 0

# SPDX-License-Identifier: Apache-2.0
"""Who may have a page read, and when."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import pytest

from zaqar.controllers.result_types import QueuePage
from zaqar.errors import StoreUnavailable
from zaqar.objects import Kind
from zaqar.transport import large_page_fairness, waiting_request_bytes
from zaqar.transport.large_page_fairness import (
    LARGE,
    REMEMBERED_FOR,
    Job,
    Turns,
)
from zaqar.transport.page_turn_and_message_wait import DECODING, PATIENCE, Turn
from zaqar.transport.project_page_lengths import SHORT, UNKNOWN
from zaqar.transport.wsgi import header_checks_query_and_body_reading

NAME = 'message_list'


class Clock:
    """A clock that goes on when it is told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Name(str):
    """The name of a project, of which is seen whether it is remembered."""


def _large(*projects: str, **more: object) -> tuple[Turns, Clock]:
    """Return turns of projects that have had large pages."""
    clock = Clock()
    turns = Turns(monotonic=clock, **more)  # type: ignore[arg-type]
    for project in projects:
        turns.record(project, LARGE)
    return turns, clock


def test_only_operations_with_pages_need_turns() -> None:
    turns, _ = _large('p')
    for name in (NAME, 'claim_create', 'topic_message_list', 'topic_list'):
        assert name in large_page_fairness.PAGES
        assert turns.are_needed(name, 'p')
    for name in ('message_post', 'queue_create', 'message_delete'):
        assert not turns.are_needed(name, 'p')


def test_a_project_without_large_pages_needs_no_turns() -> None:
    turns, _ = _large()
    assert not turns.are_needed(NAME, 'p')
    turns.record('p', LARGE - 1)
    assert not turns.are_needed(NAME, 'p')
    turns.record('p', LARGE)
    assert turns.are_needed(NAME, 'p')


def test_a_small_page_soon_after_a_large_one_proves_nothing() -> None:
    turns, clock = _large('p')
    turns.record('p', 10)
    assert turns.are_needed(NAME, 'p')
    clock.now = REMEMBERED_FOR
    turns.record('p', 10)
    assert not turns.are_needed(NAME, 'p')


def test_what_is_remembered_is_bounded() -> None:
    names = [Name(number) for number in range(50)]
    remembered = weakref.WeakSet(names)
    turns, clock = _large(*names)
    del names
    assert len(remembered) == 50
    clock.now = REMEMBERED_FOR
    turns.record('0', 1)
    assert not remembered


def test_a_project_has_one_turn_at_a_time() -> None:
    turns, _ = _large('p')
    assert turns.begin('p')
    jobs = [lambda number=number: number for number in range(3)]
    for job in jobs:
        assert turns.wait('p', job) is None
    assert [turns.end('p') for _ in range(4)] == [*jobs, None]


def test_requests_of_a_project_that_wait_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(large_page_fairness, 'MOST_WAITING', 3)
    turns, _ = _large('p', 'other')
    assert turns.begin('p')
    most = waiting_request_bytes.MAX_POSTPONED_PER_PROJECT
    long, other = Turn(turns, lambda: most), Turn(turns, lambda: 1)
    assert not long.begin(NAME, 'p')
    with pytest.raises(StoreUnavailable):
        other.begin(NAME, 'p')
    assert not other.is_missed
    long.end()
    assert turns.waiting_bytes.hold('p', most)
    for _ in range(3):
        assert not turns.begin('p')
        assert turns.wait('p', lambda: None) is None
    with pytest.raises(StoreUnavailable):
        turns.begin('p')
    refused = Turn(turns)
    with pytest.raises(StoreUnavailable):
        refused.begin(NAME, 'p')
    # It has an answer, and no turn.
    assert not refused.is_missed
    assert refused.end() is None
    assert turns.begin('other')
    assert turns.end('p') is not None
    assert not turns.begin('p')


def test_few_projects_have_turns_at_large_pages_at_a_time() -> None:
    names = [f'p{number}' for number in range(5)]
    turns, _ = _large(*names)
    begun = [name for name in names if turns.begin(name)]
    assert begun == names[: large_page_fairness.MOST_AT_ONCE]
    # Whoever is not known to have large ones waits for none of these.
    assert turns.begin('other')


def test_projects_take_turns() -> None:
    turns, _ = _large('many', 'one', 'a', 'b')
    assert turns.begin('a')
    assert turns.begin('b')
    for _ in range(3):
        assert turns.wait('many', lambda: 'many') is None
    assert turns.wait('one', lambda: 'one') is None
    order = []
    for ended in ('a', 'many', 'one', 'many'):
        job = turns.end(ended)
        assert job is not None
        order.append(job())
    assert order == ['many', 'one', 'many', 'many']


def test_nobody_passes_those_who_wait() -> None:
    turns, _ = _large('p')
    assert turns.begin('p')
    assert turns.wait('p', lambda: None) is None
    assert turns.end('p') is not None
    assert not turns.begin('p')


def test_a_job_whose_turn_has_come_meanwhile_does_not_wait() -> None:
    turns, _ = _large('p')
    assert turns.begin('p')
    assert not turns.begin('p')
    assert turns.end('p') is None

    def job() -> None: ...

    assert turns.wait('p', job) is job


def test_a_project_that_leaves_much_unread_waits_until_it_is_read() -> None:
    turns, _ = _large('p', 'other', max_unread=2 * LARGE)
    remembered = weakref.WeakSet([name := Name('p')])
    turns.add_unread(name, LARGE)
    del name
    assert turns.begin('p')
    turns.add_unread('p', LARGE)
    assert turns.wait('p', lambda: None) is None
    assert turns.end('p') is None
    assert turns.begin('other')
    assert turns.subtract_unread('p', LARGE) is not None
    assert remembered
    turns.subtract_unread('p', LARGE)
    assert not remembered


def test_all_projects_together_leave_no_more_unread_than_some() -> None:
    names = [f'p{number}' for number in range(9)]
    turns, _ = _large(*names, max_unread=2 * LARGE)
    for name in names[:8]:
        turns.add_unread(name, LARGE)
    assert not turns.begin('p7')
    # A project without large pages does not suffer from it.
    assert turns.begin('other')
    assert turns.wait('p7', lambda: None) is None
    assert turns.subtract_unread('p0', LARGE) is not None


def test_who_leaves_nothing_unread_waits_for_no_other_clients() -> None:
    names = [f'p{number}' for number in range(9)]
    turns, _ = _large(*names, max_unread=2 * LARGE)
    for name in names[:8]:
        turns.add_unread(name, LARGE)
    assert turns.begin('p8')


def test_a_turn_is_ended_if_it_was_taken() -> None:
    turns, _ = _large('p')
    small, first, second = Turn(turns), Turn(turns), Turn(turns)
    assert small.begin(NAME, 'small')
    assert small.end() is None
    assert first.begin(NAME, 'p')
    assert not second.begin(NAME, 'p')
    assert second.is_missed
    assert second.end() is None

    def job() -> None: ...

    assert second.wait(job) is None
    assert first.end() is job
    second.resume()
    assert second.begin(NAME, 'p')
    assert second.end() is None
    assert turns.begin('p')


def test_a_turn_that_comes_too_late_is_refused() -> None:
    turns, clock = _large('p')
    first, second = Turn(turns), Turn(turns)
    assert first.begin(NAME, 'p')
    assert not second.begin(NAME, 'p')
    second.wait(lambda: None)
    clock.now = PATIENCE + 0.1
    first.end()
    second.resume()
    with pytest.raises(StoreUnavailable):
        second.begin(NAME, 'p')
    # It is taken nevertheless, and goes on to the next.
    second.end()
    assert turns.begin('p')


def test_metadata_that_is_decoded_weighs_more_than_bodies() -> None:
    turns, _ = _large()
    turn = Turn(turns)
    assert turn.begin('queue_list', 'p')
    page = QueuePage(Kind.QUEUE, (), {}, bytes_decoded=LARGE // DECODING)
    turn.weigh(page)
    turn.record(100)
    assert turns.are_needed('queue_list', 'p')
    other = Turn(turns)
    assert other.begin('queue_list', 'other')
    other.weigh(None)
    other.record(100)
    assert not turns.are_needed('queue_list', 'other')


def test_requests_that_wait_for_messages_hold_so_much_and_no_more() -> None:
    turns = Turns()
    share = waiting_request_bytes.MAX_POSTPONED_PER_PROJECT

    def waiting(project: str) -> Turn:
        return Turn(turns, lambda: share, project)

    first, second, other, third = map(waiting, 'aabc')
    assert first.may_wait()
    # A project leaves room for others.
    assert not second.may_wait()
    assert other.may_wait()
    assert not third.may_wait()
    for each in (second, third, first):
        each.end()
    # What has ended counts once.
    first.end()
    assert waiting('c').may_wait()
    assert not waiting('a').may_wait()


def test_a_project_pauses_after_a_large_page_beside_others() -> None:
    pauses: list[tuple[float, Callable[[], None]]] = []
    done: list[Job] = []
    turns, clock = _large(
        'p',
        after=lambda seconds, work: pauses.append((seconds, work)),
        later=done.append,
    )
    turn = Turn(turns)
    assert turn.begin(NAME, 'p')
    assert not turns.are_needed('message_post', 'other')
    clock.now += 0.5
    turn.record(LARGE)
    assert turn.end() is None
    ((seconds, work),) = pauses
    assert seconds == 0.5
    # Until then it has no further turn, and a request of it waits.
    assert not turns.begin('p')
    assert turns.wait('p', lambda: None) is None
    work()
    assert len(done) == 1


@pytest.mark.parametrize('size', [10, LARGE])
def test_it_pauses_after_no_other_page(size: int) -> None:
    pauses: list[float] = []
    turns, clock = _large('p', after=lambda *call: pauses.append(call[0]))
    if size == 10:
        turns.are_needed('message_post', 'other')
    turn = Turn(turns)
    assert turn.begin(NAME, 'p')
    clock.now += 0.5
    turn.record(size)
    turn.end()
    assert pauses == []
    assert turns.begin('p')


def test_a_pause_is_short() -> None:
    pauses: list[float] = []
    turns, clock = _large('p', after=lambda *call: pauses.append(call[0]))
    turn = Turn(turns)
    assert turn.begin(NAME, 'p')
    clock.now += 10.0
    turns.are_needed('message_post', 'other')
    turn.record(LARGE)
    turn.end()
    assert pauses == [large_page_fairness.LONGEST_PAUSE]


def _longest(turns: Turns, size: int, name: str = NAME) -> int:
    """Return what was known of a project before a page of it."""
    turn = Turn(turns)
    assert turn.begin(name, 'p')
    turn.record(size)
    return turn.longest


def test_the_longest_page_of_a_project_counts_for_a_while() -> None:
    turns, _ = _large()
    assert _longest(turns, 7, 'message_post') == 0
    assert _longest(turns, 0) == UNKNOWN
    assert _longest(turns, 1000) == 1
    assert _longest(turns, LARGE - 1) == 1000
    assert _longest(turns, 1) == LARGE - 1
    assert 0.9 * LARGE < _longest(turns, 1) < LARGE - 1
    for _ in range(1000):
        _longest(turns, 1)
    assert _longest(turns, 1) < SHORT


@pytest.mark.parametrize(
    ('query', 'most'),
    [
        ('', 10),
        ('echo=true&limit=20', 20),
        ('pop=5', 10),
        ('pop=' + '9' * 5000, 999_999),
        ('limit=x', 10),
        ('ids=' + ','.join(['a' * 32] * 20), 20),
    ],
)
def test_so_many_items_may_a_page_have(query: str, most: int) -> None:
    assert header_checks_query_and_body_reading.most_items(query) == most

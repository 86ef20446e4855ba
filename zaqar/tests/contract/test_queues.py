# SPDX-License-Identifier: Apache-2.0
"""Queues by name: names, projects, deletion, pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from zaqar.controllers import queues
from zaqar.controllers.caller_and_services import Context
from zaqar.errors import NotFound
from zaqar.objects import Kind, Stats
from zaqar.tests.contract.caller import Caller
from zaqar.tests.contract.probe import BOB, bodies, ids, token

NAMES = [
    'a.b',
    'a-b',
    'a_b',
    '.a',
    'a.',
    '...',
    '-',
    '_',
    'x' * 64,
    '.' * 64,
    '0' * 32,
    'Aa',
    'aA',
]


def of_project(ctx: Context, project: str) -> Context:
    """Return a caller of another project."""
    identity = structs.replace(ctx.identity, project=project)
    return structs.replace(ctx, identity=identity)


def listed(ctx: Context, **query: Any) -> list[str]:
    """Return the names of queues, as listed."""
    options: dict[str, Any] = {
        'marker': None,
        'limit': None,
        'detailed': None,
        'name': None,
        'with_count': None,
        'filters': {},
    }
    page = queues.list_(ctx, **{**options, **query})
    return [queue.name for queue in page.queues]


@pytest.mark.parametrize('name', NAMES)
def test_a_queue_of_any_name_serves_every_call(
    ctx: Context, name: str
) -> None:
    queue = Caller(ctx, name)
    assert queue.create()
    assert listed(ctx) == [name]
    (one,) = queue.post('a')
    assert ids(queue.everything()) == [one]
    claim = queue.claim()
    assert claim is not None
    queue.renew(claim.id)
    assert ids(queue.claimed(claim.id).messages) == [one]
    queue.delete(one, claim.id)
    queue.post('b')
    assert bodies(queue.pop()) == ['b']
    queue.purge()
    queue.delete_queue()
    assert listed(ctx) == []


def test_names_are_never_split_or_joined(ctx: Context) -> None:
    project = ctx.identity.project
    pairs = [
        (project, 'a.b'),
        (f'{project}.a', 'b'),
        (f'{project}.a', 'b.'),
        (f'{project}/a', 'b'),
        (f'{project}a', 'b'),
        (project, 'ab'),
    ]
    callers = [Caller(of_project(ctx, one), name) for one, name in pairs]
    for number, caller in enumerate(callers):
        caller.post(number)
    for number, caller in enumerate(callers):
        assert bodies(caller.everything()) == [number]


def test_a_project_has_256_characters(ctx: Context) -> None:
    long = 'p' * 255
    first = Caller(of_project(ctx, long + '1'), token())
    second = Caller(of_project(ctx, long + '2'), first.scope.name)
    first.post('a')
    second.post('b')
    assert bodies(first.everything()) == ['a']
    assert bodies(second.everything()) == ['b']
    second.delete_queue()
    assert bodies(first.everything()) == ['a']


def _stranger(ctx: Context, by: str) -> Caller:
    if by == 'another project':
        return Caller(of_project(ctx, token()), 'orders')
    if by == 'another kind':
        return Caller(ctx, 'orders', Kind.TOPIC)
    return Caller(ctx, 'others')


@pytest.mark.parametrize(
    'by', ['another queue', 'another project', 'another kind']
)
@pytest.mark.parametrize('exists', [False, True])
def test_foreign_ids_are_absent_for_every_call(
    ctx: Context, by: str, exists: bool
) -> None:
    ours, theirs = Caller(ctx, 'orders'), _stranger(ctx, by)
    ours.post('claimed')
    claim = ours.claim()
    assert claim is not None
    (free,) = ours.post('free')
    if exists:
        theirs.create()
    with pytest.raises(NotFound):
        theirs.get(free)
    assert not theirs.get_many(free, claim.messages[0].id)
    with pytest.raises(NotFound):
        theirs.claimed(claim.id)
    with pytest.raises(NotFound):
        theirs.renew(claim.id)
    theirs.release(claim.id)
    theirs.delete(free)
    theirs.delete(claim.messages[0].id, claim.id)
    theirs.delete_many(free, claim.messages[0].id)
    theirs.purge()
    theirs.delete_queue()
    assert theirs.page(marker=free).messages in ((), [])
    assert (theirs.claim(), list(theirs.pop())) == (None, [])
    assert theirs.stats() == Stats()
    assert bodies(ours.everything()) == ['claimed', 'free']
    assert ids(ours.claimed(claim.id).messages) == ids(claim.messages)


def test_calls_on_a_missing_queue_make_none(ctx: Context) -> None:
    queue = Caller(ctx, 'orders')
    assert queue.everything() == []
    assert (queue.claim(), list(queue.pop())) == (None, [])
    queue.delete('0' * 32)
    queue.release(token())
    queue.purge()
    queue.delete_queue()
    assert queue.stats() == Stats()
    assert listed(ctx) == []


def test_a_post_makes_the_queue(ctx: Context) -> None:
    Caller(ctx, 'orders').post('a')
    assert listed(ctx) == ['orders']


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('.*|[', []),
        ('.', ['a.b']),
        ('%', []),
        ('_', ['a_b']),
        ('b', ['a.b', 'a_b', 'ab']),
        ('B', []),
        ('', ['a.b', 'a_b', 'ab']),
        ('a.b', ['a.b']),
        ('\\', []),
        ("'", []),
        ('*', []),
    ],
)
def test_the_name_filter_is_literal_text(
    ctx: Context, name: str, expected: list[str]
) -> None:
    for one in ('a.b', 'a_b', 'ab'):
        Caller(ctx, one).create()
    assert listed(ctx, name=name) == expected


def test_queues_are_listed_within_their_project(ctx: Context) -> None:
    for one in 'abc':
        Caller(ctx, one).create()
    Caller(of_project(ctx, token()), 'd').create()
    assert listed(ctx) == ['a', 'b', 'c']
    assert listed(ctx, limit=2) == ['a', 'b']
    assert listed(ctx, limit=2, marker='b') == ['c']
    assert listed(ctx, marker='bb') == ['c']


def test_a_list_is_filtered_by_metadata(ctx: Context) -> None:
    Caller(ctx, 'a').create(colour='red', size=1)
    Caller(ctx, 'b').create(colour='red', size=True)
    Caller(ctx, 'c').create(colour='RED')
    assert listed(ctx, filters={'colour': ['red']}) == ['a', 'b']
    assert listed(ctx, filters={'size': ['1']}) == ['a']
    assert listed(ctx, limit=1, filters={'colour': ['RED']}) == ['c']


def test_creating_again_leaves_the_metadata(ctx: Context) -> None:
    queue = Caller(ctx, 'orders')
    assert queue.create(n=1)
    assert not queue.create(n=2)
    assert queues.show(ctx, scope=queue.scope)['n'] == 1


def test_a_queue_deleted_and_made_again_is_empty(ctx: Context) -> None:
    queue = Caller(ctx, 'orders')
    posted = list(queue.post('free', 'claimed'))
    claim = queue.claim(1)
    assert claim is not None
    marker = queue.page().marker
    queue.delete_queue()
    queue.create()
    assert queue.everything() == []
    assert queue.stats().total == 0
    assert not queue.get_many(*posted)
    with pytest.raises(NotFound):
        queue.claimed(claim.id)
    queue.post('new')
    for one in posted:
        queue.delete(one)
    assert bodies(queue.page(marker=marker).messages) in (['new'], [])
    assert bodies(queue.everything()) == ['new']


def test_a_page_is_filled_across_filtered_messages(ctx: Context) -> None:
    queue = Caller(ctx, 'orders')
    identity = structs.replace(ctx.identity, client=BOB)
    other = Caller(structs.replace(ctx, identity=identity), 'orders')
    for number in range(20):
        (other if number % 4 == 3 else queue).post(number)
    page = queue.page(limit=5, echo=False)
    assert bodies(page.messages) == [3, 7, 11, 15, 19]


def test_a_page_is_filled_across_thousands_of_filtered_messages(
    ctx: Context, many: Callable[[int], int]
) -> None:
    queue = Caller(ctx, 'orders')
    identity = structs.replace(ctx.identity, client=BOB)
    other = Caller(structs.replace(ctx, identity=identity), 'orders')
    other.post('first')
    queue.post(*range(many(3500)))
    other.post('second', 'third')
    page = queue.page(limit=2, echo=False)
    assert bodies(page.messages) == ['first', 'second']
    rest = queue.page(limit=2, echo=False, marker=page.marker)
    assert bodies(rest.messages) == ['third']


def test_a_page_is_never_empty_before_the_end(
    ctx: Context, many: Callable[[int], int]
) -> None:
    queue = Caller(ctx, 'orders')
    identity = structs.replace(ctx.identity, client=BOB)
    other = Caller(structs.replace(ctx, identity=identity), 'orders')
    for _ in range(3):
        queue.post(*range(many(4000)))
    other.post('last')
    assert bodies(queue.page(echo=False).messages) == ['last']

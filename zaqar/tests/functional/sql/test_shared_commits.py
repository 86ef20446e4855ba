# SPDX-License-Identifier: Apache-2.0
"""Calls for several queues that share a transaction."""

from __future__ import annotations

import contextlib
import operator
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pymysql
import pytest
import sqlalchemy as sa

from zaqar import store_clock
from zaqar.storage.base import MessageStore
from zaqar.storage.post_call_parameters import PostCall
from zaqar.storage.sqlalchemy import compound_statement_posts, migrations
from zaqar.storage.sqlalchemy.driver import DRIVER, parse
from zaqar.storage.sqlalchemy.statement_execution import SqlSession
from zaqar.tests.contract.crowd import each
from zaqar.tests.contract.probe import Hand, Probe, message, token

#: Seconds in which a call that waits for no lock has ended, by far.
SOON = 2.0


@pytest.fixture(params=['mariadb', 'postgresql'])
def uri(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database with tables."""
    server = request.getfixturevalue(request.param)
    uri = server.database()
    migrations.upgrade(parse(uri), 'head')
    yield uri
    server.drop(uri)


#: Where posts to several queues share a transaction.
merges_queues = pytest.mark.parametrize('uri', ['mariadb'], indirect=True)


@pytest.fixture
def store(uri: str) -> Iterator[MessageStore]:
    store = DRIVER.open_messages(uri, {})
    yield store
    store.close()


@pytest.fixture
def queues(store: MessageStore) -> list[Probe]:
    """Queues that exist."""
    hand = Hand()
    queues = [Probe(store, hand) for _ in range(8)]
    for queue in queues:
        queue.post('first')
    return queues


@contextlib.contextmanager
def locked(uri: str, *queues: Probe) -> Iterator[None]:
    """Lock the rows of queues."""
    engine = sa.create_engine(parse(uri), poolclass=sa.NullPool)
    sql = sa.text('SELECT id FROM message_queue WHERE qid = :qid FOR UPDATE')
    with engine.connect() as connection:
        for queue in queues:
            connection.execute(sql, {'qid': queue.qid})
        yield
        connection.rollback()


def post_together(
    store: Any, queues: Sequence[Probe]
) -> Sequence[Sequence[str] | None]:
    """Post to queues in one transaction."""
    results: Sequence[Sequence[str] | None] = store._post_together(  # noqa: SLF001
        [
            PostCall(
                queue.qid, token(), [message('shared')], store_clock.wall_ms()
            )
            for queue in queues
        ],
        skip=True,
    )
    return results


@merges_queues
def test_posts_to_several_queues_share_a_transaction(
    store: MessageStore, queues: list[Probe]
) -> None:
    results = post_together(store, [*queues, queues[0]])
    for queue, ids in zip([*queues, queues[0]], results, strict=True):
        assert ids
        assert queue.store.get(queue.qid, ids, now=queue.hand.now)
    assert queues[0].everything() == ['first', 'shared', 'shared']
    assert queues[1].everything() == ['first', 'shared']


@merges_queues
def test_locked_queues_are_left_out(
    uri: str, store: MessageStore, queues: list[Probe]
) -> None:
    one, other, *rest = queues
    with locked(uri, one, other):
        results = post_together(store, queues)
        assert results[:2] == [None, None]
        assert None not in results[2:]
    assert one.everything() == ['first']
    assert {tuple(queue.everything()) for queue in rest} == {
        ('first', 'shared')
    }


def test_a_locked_queue_delays_no_other(
    uri: str, store: MessageStore, queues: list[Probe]
) -> None:
    held, *others = queues
    waiting = [
        threading.Thread(target=held.post, args=('late',)) for _ in range(3)
    ]

    def use(queue: Probe) -> float:
        start = time.monotonic()
        for _ in range(5):
            queue.post('a')
            assert queue.claim(limit=1)
        return time.monotonic() - start

    with locked(uri, held):
        for thread in waiting:
            thread.start()
        assert max(each(use, others)) < SOON
        assert all(thread.is_alive() for thread in waiting)
    for thread in waiting:
        thread.join()
    assert held.everything() == ['first', 'late', 'late', 'late']


@merges_queues
def test_posts_whose_shared_commit_is_refused_are_made_by_queue(
    queues: list[Probe], monkeypatch: pytest.MonkeyPatch
) -> None:
    post, finish = compound_statement_posts.post, SqlSession.finish
    shared = threading.local()
    refused: list[int] = []

    def note(
        session: Any, posts: Sequence[PostCall], *rest: Any, **o: Any
    ) -> Any:
        shared.queues = len({post.qid for post in posts})
        return post(session, posts, *rest, **o)

    def refuse_shared(session: Any) -> Any:
        # As a node of a Galera cluster does, whose rival was first.
        if shared.queues > 1:
            refused.append(shared.queues)
            raise pymysql.OperationalError(1213, 'Deadlock found')
        return finish(session)

    monkeypatch.setattr(compound_statement_posts, 'post', note)
    monkeypatch.setattr(SqlSession, 'finish', refuse_shared)
    posted = 0
    while not refused:
        posted += 1
        start = time.monotonic()
        assert all(each(operator.methodcaller('post', posted), queues))
        assert time.monotonic() - start < SOON
        assert posted < 100
    bodies = ['first', *range(1, posted + 1)]
    assert [queue.everything() for queue in queues] == [bodies] * len(queues)


def test_what_cannot_be_stored_fails_no_other(
    store: MessageStore, queues: list[Probe]
) -> None:
    def post(queue: Probe) -> bool:
        if queue is not queues[3]:
            return bool(queue.post('a'))
        # Longer than its column.
        with pytest.raises(Exception, match=r'(?i)too long'):
            queue.send([message('a', rnd='0' * 40)])
        return False

    for _ in range(5):
        stored = each(post, queues)
        assert stored.count(True) == len(queues) - 1
    assert queues[3].everything() == ['first']
    assert queues[4].everything() == ['first', *['a'] * 5]

# SPDX-License-Identifier: Apache-2.0
"""Calls for several queues that share a transaction."""

from __future__ import annotations

import contextlib
import operator
import re
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pymysql
import pytest
import sqlalchemy as sa

from zaqar import request_deadline, store_clock
from zaqar.errors import StoreUnavailable
from zaqar.objects import Act, Settlement
from zaqar.storage.abstract_stores import OUTBOX, MessageStore
from zaqar.storage.group_commit import Sharing
from zaqar.storage.post_call_parameters import PostCall
from zaqar.storage.queues_without_subscribers_cache import UnsubscribedQueues
from zaqar.storage.sqlalchemy import (
    claimable_rows,
    driver_declaration,
    mariadb_posts_to_several_queues,
    mysql_claims_sharing_transactions,
    server_connections_and_poolers,
)
from zaqar.storage.sqlalchemy.claim_request import (
    ClaimRequest,
    lifetime_values,
)
from zaqar.storage.sqlalchemy.claimable_rows import FreeRows
from zaqar.storage.sqlalchemy.database_interface import SqlDatabase
from zaqar.storage.sqlalchemy.driver_declaration import DRIVER, parse
from zaqar.storage.sqlalchemy.posts_sharing_commits import SharedPosts
from zaqar.storage.sqlalchemy.statement_execution import SqlSession
from zaqar.tests.contract.crowd import each, ends_within
from zaqar.tests.contract.probe import Hand, Probe, bodies, message, token

#: Seconds in which a call that waits for no lock has ended, by far.
SOON = 2.0


#: Where posts to several queues share a transaction.
merges_queues = pytest.mark.parametrize('uri', ['mariadb'], indirect=True)


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


@pytest.fixture
def server(uri: str) -> Iterator[SqlDatabase]:
    """The database, in which several calls can share a transaction."""
    with contextlib.closing(
        driver_declaration.open_database(uri, {})
    ) as server:
        yield server


def post_call(queue: Probe, **options: Any) -> PostCall:
    """Return a post of a message."""
    now = store_clock.wall_ms()
    return PostCall(queue.qid, token(), [message('shared')], now, **options)


def post_together(
    server: SqlDatabase, queues: Sequence[Probe], **options: Any
) -> Sequence[Any]:
    """Post to queues in one transaction."""
    posts = [post_call(queue, **options) for queue in queues]
    return server.write_or_conflict(
        mariadb_posts_to_several_queues.post,
        {queue.qid for queue in queues},
        lambda _: posts,
        UnsubscribedQueues(),
    )


@merges_queues
def test_posts_to_several_queues_share_a_transaction(
    server: SqlDatabase, queues: list[Probe]
) -> None:
    results = post_together(server, [*queues, queues[0]])
    for queue, ids in zip([*queues, queues[0]], results, strict=True):
        assert ids
        assert queue.store.get(queue.qid, ids, now=queue.hand.now)
    assert queues[0].everything() == ['first', 'shared', 'shared']
    assert queues[1].everything() == ['first', 'shared']


@merges_queues
def test_posts_to_several_queues_leave_notices_where_they_are_wanted(
    server: SqlDatabase, queues: list[Probe]
) -> None:
    heard, silent, new = queues[0], queues[1], Probe(queues[0].store, Hand())
    store, now = heard.store, heard.hand.now
    epoch = store.subscribed_epoch(silent.qid, now=now)
    assert store.unmark_subscribed(silent.qid, epoch, now=now)

    def post() -> Sequence[Any]:
        return post_together(
            server,
            [heard, silent, new],
            notice=lambda _: message('notice'),
        )

    # There is no outbox yet, and one of the queues has to be made.
    first, second, third = post()
    alone = Sharing.DO_ALONE
    assert (first, len(second), third) == (alone, 1, alone)
    outbox = Probe(store, heard.hand, OUTBOX)
    outbox.post('first')
    first, second, _ = post()
    assert (len(first), len(second)) == (1, 1)
    assert sorted(outbox.everything()) == ['first', 'notice']


@merges_queues
def test_locked_queues_are_left_out(
    uri: str, server: SqlDatabase, queues: list[Probe]
) -> None:
    one, other, *rest = queues
    with locked(uri, one, other):
        results = post_together(server, queues)
        assert results[:2] == [None, None]
        assert None not in results[2:]
    assert one.everything() == ['first']
    assert {tuple(queue.everything()) for queue in rest} == {
        ('first', 'shared')
    }


def test_a_locked_queue_delays_no_other(uri: str, queues: list[Probe]) -> None:
    held, *others = queues
    waiting = [
        threading.Thread(target=held.post, args=('late',)) for _ in range(3)
    ]

    def use(queue: Probe) -> None:
        # Few times: those that wait give up after five seconds.
        for _ in range(2):
            queue.post('a')
            assert queue.claim(limit=1)

    with locked(uri, held):
        for thread in waiting:
            thread.start()
        with ends_within(SOON):
            each(use, others)
        assert all(thread.is_alive() for thread in waiting)
    for thread in waiting:
        thread.join()
    assert held.everything() == ['first', 'late', 'late', 'late']


@merges_queues
def test_posts_that_rivals_hold_up_share_a_transaction(
    uri: str,
    server: SqlDatabase,
    queues: list[Probe],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = mariadb_posts_to_several_queues.post
    stored: list[int] = []

    def note(*arguments: Any, **options: Any) -> Any:
        ids = store(*arguments, **options)
        stored.append(len(ids) - ids.count(None))
        return ids

    monkeypatch.setattr(mariadb_posts_to_several_queues, 'post', note)
    server.ping()
    posts = SharedPosts(server, 60, UnsubscribedQueues())
    waiting = [
        threading.Thread(target=posts.run, args=(post_call(queue), 0))
        for queue in queues
    ]
    with locked(uri, *queues):
        for thread in waiting:
            thread.start()
        while posts.held_up < len(queues):
            time.sleep(0.001)
    for thread in waiting:
        thread.join()
    assert sum(stored) == len(queues)
    assert len(stored) <= 3
    assert {tuple(queue.everything()) for queue in queues} == {
        ('first', 'shared')
    }


@pytest.mark.parametrize('uri', ['postgresql'], indirect=True)
def test_a_lock_that_lasts_is_a_conflict(
    uri: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server_connections_and_poolers, 'LOCK_TIMEOUT', 100)
    store = DRIVER.open_messages(uri, {})
    queue = Probe(store, Hand())
    queue.post('first')
    with (
        contextlib.closing(store),
        locked(uri, queue),
        request_deadline.within(1.5),
        pytest.raises(StoreUnavailable),
    ):
        queue.post('late')
    (line,) = caplog.messages
    assert line.startswith('Conflict: ')


@merges_queues
def test_posts_whose_shared_commit_is_refused_are_made_by_queue(
    queues: list[Probe], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[int] = []

    def refuse(_session: Any, qids: Any, *_: Any, **__: Any) -> Any:
        # As a node of a Galera cluster does, whose rival was first.
        refused.append(len(qids))
        raise pymysql.OperationalError(1213, 'Deadlock found')

    monkeypatch.setattr(mariadb_posts_to_several_queues, 'post', refuse)
    posted = 0
    while not refused:
        posted += 1
        with ends_within(SOON):
            assert all(each(operator.methodcaller('post', posted), queues))
        assert posted < 100
    bodies = ['first', *range(1, posted + 1)]
    assert [queue.everything() for queue in queues] == [bodies] * len(queues)


def claim_requests(
    queues: Sequence[Probe], **terms: Any
) -> list[ClaimRequest]:
    """Return a claim of two messages of each queue."""
    return [
        ClaimRequest(
            queue.qid,
            token(),
            lifetime_values(queue.hand.now, 300, 60),
            **{'limit': 2, **terms},
        )
        for queue in queues
    ]


def claim_together(
    server: SqlDatabase, requests: Sequence[ClaimRequest]
) -> Sequence[Any]:
    """Claim in one transaction."""
    return server.write_or_conflict(
        mysql_claims_sharing_transactions.claim, requests
    )


@merges_queues
def test_claims_from_several_queues_share_a_transaction(
    store: MessageStore, server: SqlDatabase, queues: list[Probe]
) -> None:
    for number, queue in enumerate(queues[:3]):
        queue.post(f'{number} b', f'{number} c', f'{number} d')
    requests = claim_requests([queues[0], *queues, queues[0]])
    claims = claim_together(server, requests)
    taken = [bodies(claim.messages) for claim in claims[:4]]
    assert taken == [
        *(['first', '0 b'], ['0 c', '0 d']),
        *(['first', '1 b'], ['first', '2 b']),
    ]
    assert {tuple(bodies(claim.messages)) for claim in claims[4:-1]} == {
        ('first',)
    }
    # Nothing was left for the last one, which is claimed by itself.
    assert claims[-1] is Sharing.DO_ALONE
    for request, claim in zip(requests[:-1], claims[:-1], strict=True):
        queue = Probe(store, queues[0].hand, request.qid)
        held = queue.claimed(request.claim_id)
        assert held and bodies(held.messages) == bodies(claim.messages)
    assert bodies(queues[1].take(9).messages) == ['1 c', '1 d']


@merges_queues
@pytest.mark.parametrize('max_claims', [0, 1])
def test_claims_that_share_a_transaction_take_what_has_lapsed(
    server: SqlDatabase, queues: list[Probe], max_claims: int
) -> None:
    lapsed, others = queues[::2], queues[1::2]
    for queue in lapsed:
        queue.take(1, ttl=60)
    queues[0].hand.move(60)
    for queue in queues:
        queue.post('b')
    requests = claim_requests([*lapsed, *others], max_claims=max_claims)
    claims = claim_together(server, requests)
    taken = [
        (bodies(claim.messages), bodies(claim.exhausted)) for claim in claims
    ]
    own = (['b'], ['first']) if max_claims else (['first', 'b'], [])
    assert taken == [own] * len(lapsed) + [(['first', 'b'], [])] * len(others)


@merges_queues
def test_messages_have_room_for_a_claim(
    uri: str, server: SqlDatabase, queues: list[Probe]
) -> None:
    queues[0].post('alone')
    post_together(server, queues)
    (claim,) = claim_together(server, claim_requests(queues[:1]))
    engine = sa.create_engine(parse(uri), poolclass=sa.NullPool)
    sql = sa.text('SELECT claim_id FROM message WHERE length(claim_id) = 32')
    with engine.connect() as connection:
        ids = connection.execute(sql).scalars().all()
    # All but those that were posted as their queues were made.
    assert len(ids) == 1 + len(queues) + 1
    assert ids.count(claim.id) == 2


@merges_queues
def test_claims_that_find_nothing_share_a_transaction(
    server: SqlDatabase, queues: list[Probe]
) -> None:
    requests = claim_requests(queues)
    claims = claim_together(server, requests)
    assert claim_together(server, claim_requests(queues)) == [None] * 8
    again = claim_together(server, requests)
    assert [bodies(claim.messages) for claim in again] == [['first']] * 8
    assert [claim.id for claim in again] == [claim.id for claim in claims]


@merges_queues
def test_claims_with_other_terms_are_made_alone(
    server: SqlDatabase, queues: list[Probe]
) -> None:
    one, *_ = queues
    one.post('b', 'c', 'd')
    requests = [
        *claim_requests([one]),
        *claim_requests([one], max_claims=5),
    ]
    first, other = claim_together(server, requests)
    assert bodies(first.messages) == ['first', 'b']
    assert other is Sharing.DO_ALONE


@merges_queues
def test_a_refused_commit_of_shared_claims_gives_each_its_own(
    queues: list[Probe], monkeypatch: pytest.MonkeyPatch
) -> None:
    for queue in queues:
        queue.post(*range(100))
    claim = mysql_claims_sharing_transactions.claim
    refused: list[int] = []

    def refuse_shared(
        session: SqlSession, requests: Sequence[ClaimRequest]
    ) -> Any:
        claims = claim(session, requests)
        count = len({request.qid for request in requests})
        if count > 1:
            refused.append(count)
            raise pymysql.OperationalError(1213, 'Deadlock found')
        return claims

    monkeypatch.setattr(
        mysql_claims_sharing_transactions, 'claim', refuse_shared
    )
    taken: dict[str, list[Any]] = {queue.qid: [] for queue in queues}

    def take(queue: Probe) -> None:
        taken[queue.qid] += bodies(queue.take(1).messages)

    for _ in range(100):
        with ends_within(SOON):
            each(take, queues)
        if refused:
            break
    assert refused
    (orders,) = {tuple(some) for some in taken.values()}
    assert orders == ('first', *range(99))[: len(orders)]


@pytest.mark.parametrize('has_lapsed', [False, True])
def test_a_claim_locks_nothing_of_other_queues(
    server: SqlDatabase, queues: list[Probe], has_lapsed: bool
) -> None:
    claiming, others = queues, queues
    if has_lapsed:
        claiming, others = queues[::2], queues[1::2]
        for queue in claiming:
            queue.take(1, ttl=60)
        queues[0].hand.move(60)

    def claim_others(session: SqlSession, held: Probe) -> None:
        values = {'qid': held.qid, 'now': held.hand.now}
        assert claimable_rows.select_free(session, FreeRows(values, 5))
        for other in others:
            if other is not held:
                claim = other.take(1)
                assert bodies(claim.messages) == ['first']
                other.release(claim.id)

    for held in claiming:
        server.write(claim_others, held)


@merges_queues
def test_deletions_find_messages_by_their_key_alone(
    store: MessageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Probe(store, Hand())
    ids = queue.post('a', 'b', 'c', 'd')
    now = queue.hand.now
    first, second = (queue.take(1) for _ in range(2))
    query = pymysql.connections.Connection.query
    deletions: list[str] = []

    def note(connection: Any, sql: Any, *more: Any) -> Any:
        text = sql if isinstance(sql, str) else sql.decode()
        deletions.extend(re.findall('DELETE (?!FROM claim)[^;]*', text))
        return query(connection, sql, *more)

    monkeypatch.setattr(pymysql.connections.Connection, 'query', note)
    (message,) = first.messages
    store.delete(queue.qid, message.id, now=now, claim_id=first.id)
    done = [Settlement(second.messages[0].id, Act.DELETE)]
    assert store.settle(queue.qid, second.id, done, now=now) == [True]
    assert bodies(store.pop(queue.qid, now=now, limit=1)) == ['c']
    store.delete_many(queue.qid, ids[3:], now=now)
    # By other indexes, which the server prefers while there are few, they
    # would lock for a moment what others want. To be told its plan takes a
    # lock, too.
    by_key = 'DELETE message FROM message FORCE INDEX (PRIMARY) WHERE '
    assert [one[: len(by_key)] for one in deletions] == [by_key] * 4
    assert queue.everything() == []


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

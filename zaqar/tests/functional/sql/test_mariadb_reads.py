# SPDX-License-Identifier: Apache-2.0
"""What MariaDB waits for, and what it reads, for claims and settlements."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from zaqar.storage.sqlalchemy import driver_declaration, migrations
from zaqar.storage.sqlalchemy.claimable_rows import WOKEN, FreeRows
from zaqar.storage.sqlalchemy.dialect_clauses import delete_from, index_hint
from zaqar.storage.sqlalchemy.driver_declaration import DRIVER, parse
from zaqar.storage.sqlalchemy.statement_execution import Row, SqlSession
from zaqar.tests.contract.crowd import ends_within
from zaqar.tests.contract.probe import Hand, Probe, bodies, deleted, released
from zaqar.tests.functional.server.server_requests import until
from zaqar.tests.servers.sql import SqlServer

#: Seconds in which a call that waits for no lock has ended, by far.
SOON = 2.0

_QUEUE = '(SELECT id FROM message_queue WHERE qid = :qid)'
_LOCK = (
    f'SELECT seq FROM message{index_hint("mysql", "PRIMARY")} '
    f'WHERE queue_id = {_QUEUE} AND seq = :seq FOR UPDATE'
)
_LOCK_CLAIM = (
    f'SELECT id FROM claim WHERE queue_id = {_QUEUE} AND id = :claim_id '
    'FOR UPDATE'
)
_DELETE_OTHER = (
    f'{delete_from("mysql")} WHERE queue_id = {_QUEUE} AND seq = :other'
)
#: What a claim with the same id does that is made after the former has ended.
_CLAIM_ANEW = (
    f'UPDATE claim SET expires_at = :end WHERE queue_id = {_QUEUE} '
    'AND id = :claim_id',
    f'UPDATE message{index_hint("mysql", "PRIMARY")} '
    'SET state = 1, claim_id = :claim_id, wake_at = :end '
    f'WHERE queue_id = {_QUEUE} AND seq = :other',
)
_LOCK_OF_CLAIM = (
    f'SELECT seq FROM message{index_hint("mysql", "message_claim")} '
    f'WHERE queue_id = {_QUEUE} AND claim_id = :claim_id '
    'FOR UPDATE SKIP LOCKED'
)
#: Not of the transactions, which are listed as they were a moment ago.
_WAITING = (
    'SELECT 1 FROM information_schema.global_status WHERE variable_value > 0 '
    "AND variable_name = 'innodb_row_lock_current_waits'"
)


@pytest.fixture
def uri(mariadb: SqlServer) -> Iterator[str]:
    """A database with tables."""
    uri = mariadb.database()
    migrations.upgrade(parse(uri), 'head')
    yield uri
    mariadb.drop(uri)


@pytest.fixture
def queue(uri: str) -> Iterator[Probe]:
    """A queue in it."""
    with contextlib.closing(DRIVER.open_messages(uri, {})) as store:
        yield Probe(store, Hand())


def test_deletions_from_one_claim_do_not_wait_for_each_other(
    uri: str, queue: Probe
) -> None:
    """Each would for the other's message, until one is undone."""
    queue.post('a', 'b')
    claim = queue.take(2)
    one, other = claim.messages
    with _rival(uri) as rival:
        values = {'qid': queue.qid, 'seq': int(other.id[:16], 16)}
        rival.execute(sa.text(_LOCK), values)
        with ends_within(SOON):
            assert queue.settle(claim.id, deleted(one.id)) == [True]
    held = queue.claimed(claim.id)
    assert held is not None
    assert bodies(held.messages) == ['b']


def test_what_is_settled_is_locked_before_its_entry_among_claims(
    uri: str, queue: Probe
) -> None:
    """So does who claims what was held, for which both entries change."""
    queue.post('a')
    claim = queue.take()
    (message,) = claim.messages
    values = {
        'qid': queue.qid,
        'seq': int(message.id[:16], 16),
        'claim_id': claim.id,
    }
    with ThreadPoolExecutor(1) as other, _rival(uri) as rival:
        rival.execute(sa.text(_LOCK), values)
        settled = other.submit(queue.settle, claim.id, released(message.id))
        assert until(lambda: bool(rival.execute(sa.text(_WAITING)).all()))
        entries = rival.execute(sa.text(_LOCK_OF_CLAIM), values).all()
        rival.rollback()
        assert settled.result() == [True]
    assert len(entries) == 1


def test_deletions_from_one_claim_at_the_same_time_end_it(
    uri: str, queue: Probe
) -> None:
    """The second one waits for the claim, and sees what the first has."""
    queue.post('a', 'b')
    claim = queue.take(2)
    one, other = claim.messages
    values = {
        'qid': queue.qid,
        'claim_id': claim.id,
        'other': int(other.id[:16], 16),
    }
    with _rival(uri) as rival, ThreadPoolExecutor(1) as thread:
        rival.execute(sa.text(_LOCK_CLAIM), values)
        settled = thread.submit(queue.settle, claim.id, deleted(one.id))
        assert until(lambda: bool(rival.execute(sa.text(_WAITING)).all()))
        rival.execute(sa.text(_DELETE_OTHER), values)
        rival.commit()
        assert settled.result() == [True]
    assert queue.claimed(claim.id) is None


def test_a_claim_that_is_made_anew_outlives_deletions_from_the_former(
    uri: str, queue: Probe
) -> None:
    """It may hold what was not there when they began."""
    _, free = queue.post('a', 'b')
    claim = queue.take(1)
    (message,) = claim.messages
    values = {
        'qid': queue.qid,
        'seq': int(message.id[:16], 16),
        'claim_id': claim.id,
        'other': int(free[:16], 16),
        'end': queue.hand.now + 1_000_000,
    }
    with _rival(uri) as rival, ThreadPoolExecutor(1) as thread:
        rival.execute(sa.text(_LOCK), values)
        settled = thread.submit(queue.settle, claim.id, deleted(message.id))
        assert until(lambda: bool(rival.execute(sa.text(_WAITING)).all()))
        for sql in _CLAIM_ANEW:
            rival.execute(sa.text(sql), values)
        rival.commit()
        assert settled.result() == [True]
    held = queue.claimed(claim.id)
    assert held is not None
    assert bodies(held.messages) == ['b']


def test_messages_whose_delays_have_passed_are_found_by_an_index_alone(
    uri: str, queue: Probe
) -> None:
    """All of a queue may be such, for each claim."""
    queue.post('a', delay=1)
    queue.hand.move(1)
    wanted = FreeRows({'qid': queue.qid, 'now': queue.hand.now}, 5)

    def plan(session: SqlSession) -> list[Row]:
        sql = f'EXPLAIN {wanted.numbers(session, WOKEN)}'
        return [*session.all(sql, wanted.values)]

    with contextlib.closing(
        driver_declaration.open_database(uri, {})
    ) as server:
        steps = server.read(plan)
    (extra,) = (last for _, _, table, *_, last in steps if table == 'm')
    assert 'Using index' in extra.split('; ')


def _rival(uri: str) -> sa.Connection:
    """Connect as another process does."""
    engine = sa.create_engine(
        parse(uri), poolclass=sa.NullPool, isolation_level='READ COMMITTED'
    )
    return engine.connect()

# SPDX-License-Identifier: Apache-2.0
"""What PostgreSQL reads by plans that it made while tables were empty.

It keeps the plan of a prepared statement until it has counted the rows of its
tables, which takes a minute or more in a new database.
"""

from __future__ import annotations

import time

import pytest
import sqlalchemy as sa

from zaqar.objects import Act, NewMessage, Settlement
from zaqar.storage.sqlalchemy import migrations
from zaqar.storage.sqlalchemy.driver_declaration import DRIVER, parse
from zaqar.tests.contract.probe import token
from zaqar.tests.servers import sql

#: Calls of each kind, messages of each call that takes several, and rows of a
#: table that may be read for a message, on average.
COUNT = 200
SOME = 5
FEW = 10

_READ = (
    'SELECT t.seq_tup_read + (SELECT sum(i.idx_tup_read) '
    'FROM pg_stat_user_indexes i WHERE i.relid = t.relid), t.n_tup_ins '
    "FROM pg_stat_user_tables t WHERE t.relname = '{table}'"
)


def test_few_rows_are_read(postgresql: sql.SqlServer) -> None:
    uri = _database(postgresql)
    store = DRIVER.open_messages(uri, {})
    qid = 'a' * 32
    ids: list[str] = []
    for number in range(4 * COUNT * SOME):
        message = NewMessage(b'1', 300, f'{number:016x}', 'client')
        now = store.clock.now()
        ids += store.post(qid, [message], now=now, token=token(), version=1)
    for number in range(COUNT):
        now = store.clock.now()
        claim = store.claim(
            qid, now=now, claim_id=f'c{number}', ttl=60, grace=60, limit=SOME
        )
        assert claim is not None
        mine = [message.id for message in claim.messages]
        acts = (Act.DELETE, Act.RELEASE, Act.EXTEND) * SOME
        if number % 2:
            acts = (Act.DELETE,) * SOME
        settlements = [
            Settlement(name, act, 600)
            for name, act in zip(mine, acts, strict=False)
        ]
        results = store.settle(qid, claim.id, settlements, now=now)
        assert results == [True] * SOME
        assert len(store.pop(qid, now=now, limit=SOME)) == SOME
        some, ids = ids[-SOME:], ids[:-SOME]
        assert len(store.get(qid, some[::-1], now=now)) == SOME
        store.delete_many(qid, some, now=now)
    # The server counts what a connection did at its end.
    store.close()
    for table in ('post_token', 'claim', 'message'):
        read, added = _counts(uri, table)
        assert read <= FEW * added, table
    postgresql.drop(uri)


@pytest.mark.parametrize('delay', [0, 1])
def test_few_rows_are_read_where_there_are_groups(
    postgresql: sql.SqlServer, delay: int
) -> None:
    """Whether there are many groups, or many messages of a busy one.

    The delay of all of them, if there is one, has passed.
    """
    uri = _database(postgresql)
    store = DRIVER.open_messages(uri, {})
    qid = 'a' * 32
    count = 2 * SOME * COUNT
    for first in range(0, count, SOME):
        messages = [
            NewMessage(
                b'1',
                300,
                f'{number:016x}',
                'client',
                delay=delay,
                group='busy' if number % 2 else f'g{number}',
            )
            for number in range(first, first + SOME)
        ]
        now = store.clock.now()
        store.post(qid, messages, now=now, token=token(), version=1)
    for number in range(COUNT):
        now = store.clock.now() + 1000 * delay
        claim = store.claim(
            qid, now=now, claim_id=f'c{number}', ttl=60, grace=60, limit=SOME
        )
        assert claim is not None
        assert len(claim.messages) == SOME
    store.close()
    read, added = _counts(uri, 'message')
    assert read <= FEW * added
    postgresql.drop(uri)


def test_a_sweep_reads_few_rows_of_a_group_whose_first_has_expired(
    postgresql: sql.SqlServer,
) -> None:
    uri = postgresql.database()
    migrations.upgrade(parse(uri), 'head')
    # The table is so small that it would rather be read as a whole.
    options = '?options=-c enable_seqscan=off -c enable_bitmapscan=off'
    store = DRIVER.open_messages(uri + options, {})
    qid, now = 'a' * 32, store.clock.now()
    for ttls in ([60], *[[300] * COUNT] * SOME):
        messages = [
            NewMessage(b'1', ttl, f'{number:016x}', 'client', group='a')
            for number, ttl in enumerate(ttls)
        ]
        store.post(qid, messages, now=now, token=token(), version=1)
    assert store.sweep(now=now + 60_000, batch=10) == 1
    store.close()
    read, added = _counts(uri, 'message')
    assert read <= added // FEW
    postgresql.drop(uri)


def _database(server: sql.SqlServer) -> str:
    """Return the URI of a new database whose rows are not counted."""
    uri = server.database()
    migrations.upgrade(parse(uri), 'head')
    engine = sa.create_engine(parse(uri), poolclass=sa.NullPool)
    with engine.begin() as connection:
        for table in ('claim', 'message', 'message_queue', 'post_token'):
            connection.exec_driver_sql(
                f'ALTER TABLE {table} SET (autovacuum_enabled = off)'
            )
    return uri


def _counts(uri: str, table: str) -> tuple[int, int]:
    """Return how many rows of a table were read and added."""
    engine = sa.create_engine(parse(uri), poolclass=sa.NullPool)
    end = time.monotonic() + 30
    read = added = 0
    while added < COUNT and time.monotonic() < end:
        with engine.connect() as connection:
            text = _READ.format(table=table)
            read, added = connection.exec_driver_sql(text).one()
    assert added >= COUNT
    return read, added

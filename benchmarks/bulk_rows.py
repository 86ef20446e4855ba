# SPDX-License-Identifier: Apache-2.0
"""A million messages in a minute: rows copied within the database."""

from __future__ import annotations

import sqlalchemy as sa

from zaqar.storage.sqlalchemy import driver_declaration, tables

#: Rows of one statement.
CHUNK = 50_000

_MESSAGE = tables.message
_QUEUE = tables.queue


def multiply(url: str, qid: str, have: int, count: int) -> None:
    """Copy the messages of a queue, all free, until there are ``count``.

    :param have: how many there are, posted in one go
    """
    engine = sa.create_engine(
        driver_declaration.parse(url), poolclass=sa.NullPool
    )
    row = sa.select(_QUEUE.c.id).where(_QUEUE.c.qid == qid)
    first = sa.select(sa.func.min(_MESSAGE.c.seq))
    with engine.connect() as connection:
        queue_id = connection.scalar(row)
        own = _MESSAGE.c.queue_id == queue_id
        begin = connection.scalar(first.where(own))
        while have < count:
            size = min(have, CHUNK, count - have)
            block = _MESSAGE.c.seq.between(begin, begin + size - 1)
            connection.execute(_copy(have, own, block))
            connection.execute(_advance(size).where(_QUEUE.c.qid == qid))
            connection.commit()
            have += size
    engine.dispose()


def settle(url: str) -> None:
    """Leave the tables as PostgreSQL's autovacuum does within a minute."""
    if url.startswith('postgresql'):
        engine = sa.create_engine(
            driver_declaration.parse(url),
            poolclass=sa.NullPool,
            isolation_level='AUTOCOMMIT',
        )
        with engine.connect() as connection:
            connection.exec_driver_sql('VACUUM (ANALYZE)')
        engine.dispose()


def _copy(shift: int, *conditions: sa.ColumnElement[bool]) -> sa.Insert:
    """Return an INSERT of rows selected with other sequence numbers."""
    columns = [
        column + shift if column.name == 'seq' else column
        for column in _MESSAGE.c
    ]
    rows = sa.select(*columns).where(*conditions)
    return sa.insert(_MESSAGE).from_select([*_MESSAGE.c.keys()], rows)


def _advance(size: int) -> sa.Update:
    return sa.update(_QUEUE).values(
        next_seq=_QUEUE.c.next_seq + size, live=_QUEUE.c.live + size
    )

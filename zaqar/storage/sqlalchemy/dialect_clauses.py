# SPDX-License-Identifier: Apache-2.0
"""Clauses that dialects of SQL write in different ways."""

from zaqar.storage.sqlalchemy.statement_execution import SqlSession
from zaqar.storage.sqlalchemy.statement_parameters import placeholders


def insert_ignoring(dialect: str, insert: str) -> str:
    """Return an INSERT that ignores rows whose key exists."""
    if dialect == 'mysql':
        return insert.replace('INSERT INTO', 'INSERT IGNORE INTO', 1)
    return f'{insert} ON CONFLICT DO NOTHING'


def for_update(session: SqlSession, select: str, *, skip: bool = False) -> str:
    """Return a SELECT that locks its rows, or skips locked ones."""
    return locking(session.dialect, select, skip=skip)


def locking(dialect: str, select: str, *, skip: bool = False) -> str:
    """Return the same for a dialect."""
    if dialect == 'sqlite':
        # There is only one writer.
        return select
    return select + (' FOR UPDATE SKIP LOCKED' if skip else ' FOR UPDATE')


def index_hint(dialect: str, index: str) -> str:
    """Return the hint that makes a table be read by an index.

    Without statistics SQLite scans the whole queue in order where a few rows
    of an index would do, and MySQL does so in spite of them. PostgreSQL takes
    no hints and needs none.
    """
    if dialect == 'sqlite':
        return f' INDEXED BY {index}'
    if dialect == 'mysql':
        return f' FORCE INDEX ({index})'
    return ''


def delete_from(dialect: str) -> str:
    """Return how a DELETE of messages begins that finds them by their key.

    While there are few messages MySQL prefers other indexes, of which it locks
    rows of other queues for a moment: claims pass over these, and find nothing
    where there is something.
    """
    if dialect == 'mysql':
        hint = index_hint(dialect, 'PRIMARY')
        return f'DELETE message FROM message{hint}'
    return 'DELETE FROM message'


def is_one_of(dialect: str, column: str, name: str, count: int) -> str:
    """Return the condition that the place of a message is one of several.

    By a plan that it made while there were few messages, and keeps, PostgreSQL
    reads all those of the queue and compares; of a range it reads no others.

    :param name: of the parameters, see :func:`placeholders`; they ascend
    """
    condition = f'{column} IN ({placeholders(name, count)})'
    if dialect == 'postgresql':
        condition += f' AND {column} BETWEEN :{name}0 AND :{name}{count - 1}'
    return condition

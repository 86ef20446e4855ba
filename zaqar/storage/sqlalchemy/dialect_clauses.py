# SPDX-License-Identifier: Apache-2.0
"""Clauses that dialects of SQL write in different ways."""

from zaqar.storage.sqlalchemy.statement_execution import SqlSession


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

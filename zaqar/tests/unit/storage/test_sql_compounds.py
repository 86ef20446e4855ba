# SPDX-License-Identifier: Apache-2.0
"""Compound statements, and the rows that a statement must change."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from zaqar.storage.sqlalchemy import (
    statement_execution,
    statement_parameters,
)
from zaqar.storage.sqlalchemy.statement_execution import SqlSession
from zaqar.storage.sqlalchemy.transaction_and_statement_retries import (
    ConflictError,
)

CHANGE = 'UPDATE t SET a = :a'


class Cursor:
    """A cursor of a server that answers what it is told.

    :param results: rows of queries, by packet
    """

    description: object = None

    def __init__(
        self, *results: Sequence[Sequence[int]], rowcount: int = 1
    ) -> None:
        self._answers = [*results]
        self._results: list[Sequence[int]] = []
        self.rowcount = rowcount
        self.packets: list[str] = []

    def mogrify(self, sql: str, params: Mapping[str, Any]) -> str:
        return sql % {name: repr(value) for name, value in params.items()}

    def execute(
        self, sql: str, params: Mapping[str, Any] | None = None
    ) -> None:
        self.packets.append(self.mogrify(sql, params or {}))
        self._results = [*self._answers.pop(0)] if self._answers else []
        self.description = self._results or None

    def fetchall(self) -> list[tuple[int, ...]]:
        return [tuple(self._results[0])]

    def nextset(self) -> bool | None:
        if not self._results:
            return None
        del self._results[0]
        self.description = self._results or None
        return True


def test_what_is_put_off_goes_with_the_next_statements() -> None:
    cursor = Cursor([[1], [2]], [])
    session = SqlSession(cursor, 'mysql', takes_compounds=True)
    session.begin('START TRANSACTION')
    session.later(CHANGE, {'a': 1})
    results = session.several([('SELECT 1', {}), ('SELECT 2', {})])
    assert results == [[(1,)], [(2,)]]
    session.later(CHANGE, {'a': 2})
    session.commit()
    assert cursor.packets == [
        'BEGIN NOT ATOMIC START TRANSACTION; UPDATE t SET a = 1; '
        'SELECT 1; SELECT 2; END',
        'BEGIN NOT ATOMIC UPDATE t SET a = 2; COMMIT; END',
    ]


def test_a_transaction_may_take_one_round_trip() -> None:
    cursor = Cursor([[3]])
    session = SqlSession(cursor, 'mysql', takes_compounds=True)
    session.begin('START TRANSACTION')
    session.later('SELECT 3', {})
    assert session.finish() == [[(3,)]]
    session.commit()
    assert cursor.packets == [
        'BEGIN NOT ATOMIC START TRANSACTION; SELECT 3; COMMIT; END'
    ]


def test_results_of_several_packets_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(statement_execution, 'MAX_PACKET', 30)
    cursor = Cursor([[1]], [[2]], [])
    session = SqlSession(cursor, 'mysql', takes_compounds=True)
    session.begin('START TRANSACTION')
    for number in (1, 2):
        session.later(f'BEGIN SELECT {number} INTO a; SELECT a; END', {})
    assert session.finish() == [[(1,)], [(2,)]]
    assert cursor.packets == [
        'BEGIN NOT ATOMIC START TRANSACTION; '
        'BEGIN SELECT 1 INTO a; SELECT a; END; END',
        'BEGIN NOT ATOMIC BEGIN SELECT 2 INTO a; SELECT a; END; END',
        'COMMIT',
    ]


def test_changed_rows_are_counted_behind_what_was_put_off() -> None:
    cursor = Cursor([[5]], rowcount=7)
    session = SqlSession(cursor, 'mysql', takes_compounds=True)
    session.later(CHANGE, {'a': 1})
    assert session.run(CHANGE, {'a': 2}) == 5
    assert cursor.packets[0].endswith('SET a = 2; SELECT ROW_COUNT(); END')
    assert session.run(CHANGE, {'a': 3}) == 7
    assert cursor.packets[1] == 'UPDATE t SET a = 3'


def test_a_compound_ends_at_another_number_of_rows() -> None:
    cursor = Cursor()
    session = SqlSession(cursor, 'mysql', takes_compounds=True)
    session.later(CHANGE, {'a': 1}, rows=3)
    session.commit()
    _, check, commit = cursor.packets[0].split('; ', 2)
    assert check.startswith('IF ROW_COUNT() <> 3 THEN SIGNAL')
    assert commit == 'END IF; COMMIT; END'


def test_another_number_of_rows_is_a_conflict() -> None:
    session = SqlSession(Cursor(rowcount=2), 'mysql')
    with pytest.raises(ConflictError, match='2 of 3'):
        session.later(CHANGE, {'a': 1}, rows=3)


def test_translations_of_long_texts_are_not_remembered() -> None:
    tracemalloc.start()
    try:
        for number in range(200):
            sql = f'SELECT :a, {number:060000}'
            assert statement_parameters.pyformat(sql).startswith(
                'SELECT %(a)s, '
            )
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 2**20

# SPDX-License-Identifier: Apache-2.0
"""Several statements in a packet, and the rows that each must change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from zaqar.storage.sqlalchemy.retries import ConflictError
from zaqar.storage.sqlalchemy.statement_execution import SqlSession

CHANGE = 'UPDATE t SET a = :a'


class Cursor:
    """A cursor of a server that changes as many rows as it is told.

    :param counts: by statement; one row for others
    :param most: how many statements of a packet the server runs
    """

    def __init__(
        self, counts: Mapping[str, int] | None = None, most: int = 10
    ) -> None:
        self._counts = counts or {}
        self._most = most
        self._results: list[str] = []
        self.packets: list[str] = []

    @property
    def rowcount(self) -> int:
        return self._counts.get(self._results[0], 1)

    def mogrify(self, sql: str, params: Mapping[str, Any]) -> str:
        return sql % {name: repr(value) for name, value in params.items()}

    def execute(
        self, sql: str, params: Mapping[str, Any] | None = None
    ) -> None:
        self.packets.append(self.mogrify(sql, params or {}))
        self._results = self.packets[-1].split('; ')[: self._most]

    def fetchall(self) -> list[tuple[str]]:
        return [(self._results[0],)]

    def nextset(self) -> bool | None:
        del self._results[0]
        return bool(self._results) or None


def test_what_is_put_off_goes_with_the_next_packet() -> None:
    cursor = Cursor({'UPDATE t SET a = 1': 3})
    session = SqlSession(cursor, 'mysql')
    session.begin('BEGIN')
    session.later(CHANGE, {'a': 1}, rows=3)
    results = session.several([('SELECT 1', {}), ('SELECT 2', {})])
    assert [result.rows for result in results] == [
        [('SELECT 1',)],
        [('SELECT 2',)],
    ]
    session.later(CHANGE, {'a': 2}, rows=1)
    session.commit()
    assert cursor.packets == [
        'BEGIN; UPDATE t SET a = 1; SELECT 1; SELECT 2',
        'UPDATE t SET a = 2; COMMIT',
    ]


@pytest.mark.parametrize('takes_several', [True, False])
def test_another_number_of_rows_is_a_conflict(takes_several: bool) -> None:
    cursor = Cursor({'UPDATE t SET a = 1': 2})
    session = SqlSession(cursor, 'mysql', takes_several=takes_several)
    session.begin('BEGIN')
    with pytest.raises(ConflictError, match='2 of 3'):
        session.later(CHANGE, {'a': 1}, rows=3)
        session.commit()


@pytest.mark.parametrize('most', [1, 2])
def test_a_packet_that_was_cut_short_is_a_conflict(most: int) -> None:
    session = SqlSession(Cursor(most=most), 'mysql')
    session.later(CHANGE, {'a': 1})
    session.later(CHANGE, {'a': 2})
    with pytest.raises(ConflictError):
        session.commit()

# SPDX-License-Identifier: Apache-2.0
"""How long calls of an SQL database are retried."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pymysql
import pytest
import sqlalchemy as sa

from zaqar import request_deadline
from zaqar.errors import StoreUnavailable
from zaqar.storage.sqlalchemy import (
    server_database,
    transaction_and_statement_retries,
)
from zaqar.storage.sqlalchemy.pooler_and_connection_options import (
    SqlConnectionSettings,
)
from zaqar.storage.sqlalchemy.server_database import ServerDatabase


class Clock:
    """A clock that only sleeping and working move."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Rival:
    """Undoes every transaction until a time has come.

    :param number: the server's error number
    """

    def __init__(self, clock: Clock, seconds: float, number: int) -> None:
        self._clock = clock
        self._until = clock.now + seconds
        self._number = number
        self.times: list[float] = []

    def __call__(self, _session: Any) -> str:
        self.times.append(self._clock.now)
        self._clock.sleep(0.001)
        if self._clock.now < self._until:
            raise pymysql.OperationalError(self._number, 'of the server')
        return 'done'


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (server_database, transaction_and_statement_retries):
        monkeypatch.setattr(module, 'time', clock)
    return clock


@pytest.fixture
def server(
    engines: list[sa.Engine], monkeypatch: pytest.MonkeyPatch
) -> ServerDatabase:
    """A database without a server."""
    nothing: Callable[..., None] = lambda *_: None  # noqa: E731
    cursor = SimpleNamespace(
        execute=nothing, nextset=lambda: True, close=nothing
    )
    connection = SimpleNamespace(
        driver_connection=SimpleNamespace(allowed=math.inf),
        cursor=lambda: cursor,
        close=nothing,
        invalidate=nothing,
    )
    server = ServerDatabase(
        sa.make_url('mysql+pymysql://127.0.0.1/x'), SqlConnectionSettings()
    )
    monkeypatch.setattr(engines[0], 'raw_connection', lambda: connection)
    return server


@pytest.mark.parametrize('number', [1213, 1205, 1020])
def test_conflicts_are_retried_up_to_the_deadline(
    server: ServerDatabase, clock: Clock, number: int
) -> None:
    rival = Rival(clock, 3.5, number)
    assert server.write(rival) == 'done'
    # Enough of them to get a turn, and not so many as to be in the way.
    assert 10 < len(rival.times) < 100


def test_retries_of_rivals_spread(
    server: ServerDatabase, clock: Clock
) -> None:
    tries = []
    for _ in range(2):
        rival = Rival(clock, 1, 1213)
        begun = clock.now
        server.write(rival)
        tries.append([time - begun for time in rival.times])
    assert tries[0] != tries[1]


def test_a_lasting_conflict_is_called_one(
    server: ServerDatabase, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    begun = clock.now
    with (
        caplog.at_level(
            logging.ERROR, transaction_and_statement_retries.__name__
        ),
        pytest.raises(StoreUnavailable),
    ):
        server.write(Rival(clock, 60, 1213))
    assert clock.now - begun < server_database.DEADLINE
    (record,) = caplog.records
    assert record.getMessage().startswith('Conflict: ')


def test_a_wait_for_a_rival_that_we_cut_off_is_called_a_conflict(
    server: ServerDatabase, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    # The server gives up its lock wait; then our deadline ends the next one.
    numbers = iter([1205, 2013])

    def wait(_session: Any) -> None:
        number = next(numbers)
        clock.sleep(3.0 if number == 1205 else 1.1)
        raise pymysql.OperationalError(number, 'of the server')

    with (
        caplog.at_level(
            logging.ERROR, transaction_and_statement_retries.__name__
        ),
        pytest.raises(StoreUnavailable),
    ):
        server.write(wait)
    (record,) = caplog.records
    assert record.getMessage().startswith('Conflict: 2 tries ')


def test_a_lost_server_is_given_up_sooner(
    server: ServerDatabase, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    rival = Rival(clock, 60, 2013)
    with (
        caplog.at_level(
            logging.ERROR, transaction_and_statement_retries.__name__
        ),
        pytest.raises(StoreUnavailable),
    ):
        server.write(rival)
    assert len(rival.times) == 3
    (record,) = caplog.records
    assert record.getMessage().startswith('The database does not answer: ')


def test_a_request_that_is_over_is_refused_before_it_connects(
    server: ServerDatabase,
    engines: list[sa.Engine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engines[0], 'raw_connection', pytest.fail)
    with request_deadline.within(0), pytest.raises(StoreUnavailable):
        server.read(lambda _: None)


@pytest.mark.parametrize(('seconds', 'is_kept'), [(0.4, True), (3.0, False)])
def test_a_late_request_does_not_end_the_connections_of_others(
    server: ServerDatabase,
    engines: list[sa.Engine],
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    is_kept: bool,
) -> None:
    disposed = []
    monkeypatch.setattr(engines[0], 'dispose', lambda: disposed.append(1))
    connection: Any = engines[0].raw_connection()
    connection.driver_connection.allowed = seconds
    clock = Clock()
    monkeypatch.setattr(server_database, 'time', clock)
    monkeypatch.setattr(transaction_and_statement_retries, 'time', clock)
    monkeypatch.setattr(request_deadline, 'time', clock)

    def wait(_session: Any) -> None:
        clock.sleep(seconds)
        raise pymysql.OperationalError(2013, 'timed out')

    with request_deadline.within(seconds), pytest.raises(StoreUnavailable):
        server.read(wait)
    assert disposed == ([] if is_kept else [1])


def test_a_late_loss_does_not_end_the_connections_made_since(
    server: ServerDatabase, engines: list[sa.Engine]
) -> None:
    (engine,) = engines
    successors = []

    def work(_session: Any) -> None:
        if not successors:
            # As another thread does that has lost its connection earlier.
            engine.dispose()
            successors.append(engine.pool)
            raise pymysql.OperationalError(2013, 'lost')

    server.read(work)
    assert engine.pool is successors[0]

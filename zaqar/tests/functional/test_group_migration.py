# SPDX-License-Identifier: Apache-2.0
"""Groups of a database whose first messages were in a table of their own."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import pytest
import sqlalchemy as sa

from zaqar.objects import Act, Settlement
from zaqar.storage.abstract_stores import MessageStore
from zaqar.storage.sqlalchemy import driver_declaration, migrations
from zaqar.storage.sqlalchemy.migrations import revision_016_on_mysql
from zaqar.tests.contract.probe import token

QID = 'a' * 32
MINUTE = 60_000

#: Group, number, state, when it wakes, in minutes from now, and claim.
ROWS = (
    ('free', 1, 3, None, None),
    ('free', 2, 3, None, None),
    ('held', 3, 1, 5, 'c'),
    ('held', 4, 3, None, None),
    ('lapsed', 5, 1, -1, 'd'),
    ('lapsed', 6, 3, None, None),
    ('held and released', 7, 1, 5, 'e'),
    ('held and released', 8, 2, 10, None),
    ('held and released', 9, 3, None, None),
    ('released', 10, 2, 5, None),
    ('released', 11, 2, 10, None),
)


def _insert(connection: sa.Connection, now: int, *more: Any) -> None:
    connection.execute(
        sa.text(
            'INSERT INTO message_queue (qid, id, next_seq, grouped) '
            'VALUES (:qid, 7, 100, 1)'
        ),
        {'qid': QID},
    )
    for group, seq, state, minutes, claim_id in (*more, *ROWS):
        connection.execute(
            sa.text(
                'INSERT INTO message (queue_id, seq, rnd, state, wake_at, '
                'expires_at, created_at, ttl, client, claim_id, claim_count, '
                "body, group_key) VALUES (7, :seq, '0123456789abcdef', "
                ":state, :wake_at, :end, :now, 3600, 'c', :claim_id, 0, "
                ':body, :group)'
            ),
            {
                'seq': seq,
                'state': state,
                'wake_at': 0 if minutes is None else now + minutes * MINUTE,
                'end': now + 60 * MINUTE,
                'now': now,
                'claim_id': claim_id,
                'body': json.dumps(seq).encode(),
                'group': group,
            },
        )


def _take(store: MessageStore, now: int) -> list[int]:
    claim = store.claim(
        QID, now=now, claim_id=token(), ttl=3000, grace=60, limit=20
    )
    return [json.loads(one.body) for one in claim.messages] if claim else []


def _hold_second(store: MessageStore, now: int) -> str:
    """Take two messages of a group, and let the first one go."""
    claim = store.claim(
        QID, now=now, claim_id=token(), ttl=3000, grace=60, limit=2
    )
    assert claim is not None
    first, second = claim.messages
    assert (first.body, second.body) == (b'1', b'2')
    freed = Settlement(first.id, Act.RELEASE)
    assert store.settle(QID, claim.id, [freed], now=now) == [True]
    return claim.id


class StoppedError(Exception):
    """The upgrade ends here."""


def _check(uri: str, now: int) -> None:
    """Check that messages can be taken in their order."""
    with contextlib.closing(
        driver_declaration.DRIVER.open_messages(uri, {})
    ) as store:
        assert _take(store, now) == [1, 2, 5, 6]
        store.release(QID, 'e', now=now)
        assert _take(store, now) == []
        assert _take(store, now + 5 * MINUTE) == [3, 4]
        assert _take(store, now + 10 * MINUTE) == [7, 8, 9, 10, 11]


@pytest.mark.parametrize('engine', ['sqlite', 'postgresql', 'mariadb'])
def test_groups_go_on_after_an_upgrade(
    request: pytest.FixtureRequest, tmp_path: object, engine: str
) -> None:
    uri = f'sqlite:///{tmp_path}/zaqar.sqlite'
    if engine != 'sqlite':
        uri = request.getfixturevalue(engine).database()
    url = driver_declaration.parse(uri)
    migrations.upgrade(url, '015')
    now = time.time_ns() // 1_000_000
    with migrations.connect(url) as connection:
        _insert(connection, now)
    migrations.upgrade(url, 'head')
    _check(uri, now)


def test_an_upgrade_locks_little_and_goes_on_where_it_was_interrupted(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = request.getfixturevalue('mariadb').database()
    url = driver_declaration.parse(uri)
    migrations.upgrade(url, '015')
    now = time.time_ns() // 1_000_000
    with migrations.connect(url) as connection:
        _insert(connection, now, ('free', 0, 3, None, None))
    commit = revision_016_on_mysql.commit
    steps = iter(range(0))

    def interrupted(connection: sa.Connection) -> None:
        if next(steps, None) is None:
            raise StoppedError
        with migrations.connect(url) as other:
            # One that the upgrade reads and does not change.
            other.execute(sa.text('SET innodb_lock_wait_timeout = 1'))
            other.execute(
                sa.text('UPDATE message SET claim_count = 1 WHERE seq = 9')
            )
        commit(connection)

    monkeypatch.setattr(revision_016_on_mysql, 'CHUNK', 2)
    monkeypatch.setattr(revision_016_on_mysql, 'commit', interrupted)
    for count in (0, 4, 8, 16):
        steps = iter(range(count))
        with pytest.raises(StoppedError):
            migrations.upgrade(url, 'head')
        assert migrations.current(url) == '015'
    with migrations.connect(url) as connection:
        # It was shown, and has expired before the next one is.
        died = 'UPDATE message SET expires_at = 1 WHERE seq = 0 AND state = 0'
        assert connection.execute(sa.text(died)).rowcount == 1
    steps = iter(range(1000))
    migrations.upgrade(url, 'head')
    with contextlib.closing(
        driver_declaration.DRIVER.open_messages(uri, {})
    ) as store:
        claim_id = _hold_second(store, now)
        assert _take(store, now) == [5, 6]
        store.release(QID, claim_id, now=now)
        assert _take(store, now) == [1, 2]
        assert _take(store, now + 5 * MINUTE) == [3, 4]


def test_an_upgrade_changes_nothing_once_a_faster_one_has_ended(
    request: pytest.FixtureRequest,
) -> None:
    uri = request.getfixturevalue('mariadb').database()
    url = driver_declaration.parse(uri)
    migrations.upgrade(url, '015')
    now = time.time_ns() // 1_000_000
    with migrations.connect(url) as connection:
        _insert(connection, now)
    ended: list[str] = []

    def overtake(_slow: Any, _cursor: Any, sql: str, *_: Any) -> None:
        # It knows what is first in each group, and has yet to show it.
        if ended or 'GROUP BY' not in sql:
            return
        ended.append(sql)
        with migrations.connect(url) as fast:
            revision_016_on_mysql.show(fast)
            done = "UPDATE alembic_version SET version_num = '016'"
            fast.execute(sa.text(done))
        with contextlib.closing(
            driver_declaration.DRIVER.open_messages(uri, {})
        ) as store:
            _hold_second(store, now)

    with migrations.connect(url) as slow:
        sa.event.listen(slow, 'after_cursor_execute', overtake)
        revision_016_on_mysql.show(slow)
    assert ended
    with contextlib.closing(
        driver_declaration.DRIVER.open_messages(uri, {})
    ) as store:
        assert _take(store, now) == [5, 6]

# SPDX-License-Identifier: Apache-2.0
"""``zaqar-gc`` on real stores."""

from __future__ import annotations

import pathlib
import secrets
import signal
import time

import pytest
import sqlalchemy as sa

from zaqar.objects import NewMessage
from zaqar.storage.sqlalchemy import driver_declaration
from zaqar.tests.servers import process
from zaqar.tests.servers.zaqar import Zaqar, with_database

#: Long ago, in milliseconds: what lived for a minute then is dead.
PAST = 1_000_000_000_000


def _fill(url: str, count: int = 25) -> None:
    """Store dead messages."""
    store = driver_declaration.open_messages(url, {})
    messages = [
        NewMessage(b'{}', 60, secrets.token_hex(8), 'c') for _ in range(count)
    ]
    store.post(
        secrets.token_hex(16), messages, now=PAST, token=secrets.token_hex(16)
    )
    store.close()


def _rows(url: str) -> int:
    engine = sa.create_engine(
        driver_declaration.parse(url), poolclass=sa.NullPool
    )
    with engine.connect() as connection:
        result = connection.exec_driver_sql('SELECT count(*) FROM message')
        return int(result.scalar_one())


def _append(server: Zaqar, text: str) -> None:
    server.conf.write_text(f'{server.conf.read_text()}\n{text}\n')


def _pooled(programs: Zaqar, pools: dict[str, str]) -> None:
    """Let the programs know pools, by name and URI."""
    text = programs.conf.read_text()
    programs.conf.write_text(
        text.replace('[DEFAULT]', '[DEFAULT]\npooling = True')
    )
    url = text.partition('uri = ')[2].split()[0].replace('$$', '$')
    management = driver_declaration.open_management(url, {})
    for name, uri in pools.items():
        management.create('pool', '', name, {'uri': uri, 'weight': 1})
    management.close()


def test_dead_rows_are_removed_in_batches_until_none_is_left(
    programs: Zaqar, database: str
) -> None:
    _fill(database)
    _append(programs, '[gc]\nbatch = 10')
    done = programs.run(program='gc')
    assert done.returncode == 0, done.stderr
    # The messages, and what remembers their post.
    assert done.stdout == 'message store: 26 rows removed\n'
    assert _rows(database) == 0
    log = programs.folder / 'gc.log'
    again = programs.run('--once', '--log-file', str(log), program='gc')
    assert again.stdout == 'message store: 0 rows removed\n'
    assert 'message store: 0 rows removed' in log.read_text()


def test_a_dry_run_removes_nothing(programs: Zaqar, database: str) -> None:
    _fill(database)
    done = programs.run('--dry-run', program='gc')
    assert (done.returncode, done.stdout) == (0, 'message store: answers\n')
    assert _rows(database) == 25


@pytest.fixture
def alone(tmp_path: pathlib.Path) -> Zaqar:
    """Our programs on SQLite."""
    zaqar = Zaqar(
        tmp_path, rest=with_database(f'sqlite:///{tmp_path}/zaqar.sqlite')
    )
    assert (
        zaqar.run('upgrade', 'head', program='sql_db_manage').returncode == 0
    )
    return zaqar


def _pool(folder: pathlib.Path, name: str) -> str:
    url = f'sqlite:///{folder}/{name}.sqlite'
    _fill(url)
    return url


def test_every_pool_is_swept(alone: Zaqar, tmp_path: pathlib.Path) -> None:
    urls = {name: _pool(tmp_path, name) for name in ('east', 'west')}
    _pooled(alone, urls)
    done = alone.run(program='gc')
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        'message store: 0 rows removed',
        'pool east: 26 rows removed',
        'pool west: 26 rows removed',
    ]


def test_one_pool_can_be_chosen(alone: Zaqar, tmp_path: pathlib.Path) -> None:
    urls = {name: _pool(tmp_path, name) for name in ('east', 'west')}
    _pooled(alone, urls)
    done = alone.run('--pool', 'west', program='gc')
    assert (done.returncode, done.stdout) == (
        0,
        'pool west: 26 rows removed\n',
    )
    assert _rows(urls['east']) == 25
    wrong = alone.run('--pool', 'north', program='gc')
    assert wrong.returncode == 1
    assert wrong.stderr == 'zaqar-gc: --pool: there is no pool "north"\n'


def test_a_pool_that_is_down_fails_and_the_others_are_swept(
    alone: Zaqar, tmp_path: pathlib.Path
) -> None:
    down = f'postgresql://x:secret@127.0.0.1:{process.free_port()}/x'
    _pooled(alone, {'east': down, 'west': _pool(tmp_path, 'west')})
    done = alone.run(program='gc')
    assert done.returncode == 1
    assert 'pool east: does not answer, not swept\n' in done.stdout
    assert 'pool west: 26 rows removed\n' in done.stdout
    assert 'secret' not in done.stdout + done.stderr


def test_pools_need_pooling(alone: Zaqar) -> None:
    done = alone.run('--pool', 'east', program='gc')
    assert done.returncode == 1
    assert 'pooling is off' in done.stderr


def test_it_sweeps_time_and_again_until_stopped(
    alone: Zaqar, tmp_path: pathlib.Path
) -> None:
    url = f'sqlite:///{tmp_path}/zaqar.sqlite'
    running = process.Process(
        alone.command('--every', '1', program='gc'), alone.log
    )
    for _ in range(2):
        _fill(url)
        end = time.monotonic() + 30
        while _rows(url) and time.monotonic() < end:
            assert running.child.poll() is None, alone.log.read_text()
            time.sleep(0.05)
        assert _rows(url) == 0
    assert running.stop(signal.SIGTERM) == 0


def test_a_bad_setting_is_told_in_one_line(alone: Zaqar) -> None:
    _append(alone, '[drivers]\nmanagement_store = nonsense')
    done = alone.run(program='gc')
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith('zaqar-gc: [drivers] management_store = nonsense')


def test_usage_errors_and_help(alone: Zaqar) -> None:
    assert alone.run('--nonsense', program='gc').returncode == 2
    assert alone.run('--every', '0', program='gc').returncode == 1
    manual = alone.run('--help', program='gc')
    assert manual.returncode == 0
    for part in ('NAME', 'DESCRIPTION', 'EXIT STATUS', '--config-file'):
        assert part in manual.stdout

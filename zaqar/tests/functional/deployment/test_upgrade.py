# SPDX-License-Identifier: Apache-2.0
"""From the release before to this one, under load.

The one before is the newest commit whose tables are of an older revision; its
own code makes them, and serves them until ours has taken over.
"""

from __future__ import annotations

import configparser
import contextlib
import io
import itertools
import os
import pathlib
import re
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator

import pytest

from zaqar.storage.sqlalchemy import (
    database_schema_revision,
    driver_declaration,
    migrations,
)
from zaqar.tests.contract.probe import Hand, Probe, bodies
from zaqar.tests.functional.deployment.load import Load
from zaqar.tests.servers import process
from zaqar.tests.servers.zaqar import Zaqar, module_at, with_database

_TOP = pathlib.Path(__file__).parents[4]

#: A line in some file of a folder, which have had other names.
_HEAD = "^HEAD = '"
_FOLDER = 'zaqar/storage/sqlalchemy'

#: Counts the bytes of a queue: expired messages are removed for that.
_COUNT = """
import sys
try:
    from zaqar.storage.sqlalchemy.driver_declaration import DRIVER
except ImportError:
    # Its former name.
    from zaqar.storage.sqlalchemy.driver import DRIVER
uri, qid, now = sys.argv[1:]
store = DRIVER.open_messages(uri, {})
store.held_bytes([qid], now=int(now))
store.close()
"""

# Other groups of entry points may name what the old code has not got.
_METADATA = 'Metadata-Version: 2.1\nName: zaqar\nVersion: 0.0.0\n'


def _git(*words: str) -> bytes:
    done = subprocess.run(
        ['git', *words], cwd=_TOP, capture_output=True, check=False
    )
    if done.returncode:
        process.missing(f'git {words[0]}: {done.stderr.decode().strip()}')
    return done.stdout


def _head_at(commit: str) -> str:
    lines = _git('grep', '-h', _HEAD, commit, '--', _FOLDER).decode()
    head = re.fullmatch(rf"{_HEAD}(\w+)'\n", lines)
    assert head is not None
    return head[1]


def _previous() -> tuple[str, str]:
    """Return the newest commit with older tables, and their revision."""
    # Those that changed the line; what came before each had other tables.
    changes = _git('log', '--format=%H', f'-G{_HEAD}', '--', _FOLDER)
    for commit in (
        'HEAD',
        *(f'{change}^' for change in changes.decode().split()),
    ):
        revision = _head_at(commit)
        if revision != database_schema_revision.HEAD:
            return commit, revision
    # Of a shallow clone the past is cut off.
    process.missing('there is no commit with older tables')


class Old(Zaqar):
    """The service at another commit, run from a folder of its own."""

    def __init__(self, tree: pathlib.Path, folder: pathlib.Path, url: str):
        super().__init__(folder, rest=with_database(url))
        self._tree = tree
        # Safe: it would look into the folder that tests are run in first.
        self._env = {
            **os.environ,
            'PYTHONPATH': str(tree),
            'PYTHONSAFEPATH': '1',
        }

    def command(self, *more: str, program: str = 'server') -> list[str]:
        command = super().command(*more, program=program)
        command[2] = module_at(self._tree, program)
        return command

    def start(self) -> Old:
        self.process = process.Process(self.command(), self.log, env=self._env)
        self.process.wait_until(self.answers)
        return self

    def run(
        self, *more: str, program: str = 'server'
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*more, program=program),
            env=self._env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def run_code(self, code: str, *arguments: str) -> None:
        subprocess.run(
            [sys.executable, '-c', code, *arguments],
            env=self._env,
            timeout=60,
            check=True,
        )


@pytest.fixture(scope='module')
def old_tree(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The code of the release before."""
    commit, _revision = _previous()
    folder = tmp_path_factory.mktemp('old')
    packed = _git('archive', commit, 'zaqar', 'setup.cfg')
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter='data')
    _describe(folder)
    return folder


def _describe(folder: pathlib.Path) -> None:
    """Write the entry points of the old code, where they are found first."""
    parser = configparser.RawConfigParser()
    parser.read(folder / 'setup.cfg')
    info = folder / 'zaqar-0.0.0.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(_METADATA)
    groups = [
        f'[{group}]\n{lines}'
        for group, lines in parser['entry_points'].items()
    ]
    (info / 'entry_points.txt').write_text('\n'.join(groups))


@pytest.fixture(params=['sqlite', 'postgresql', 'mariadb'])
def url(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> str:
    """The URL of an empty database."""
    if request.param == 'sqlite':
        return f'sqlite:///{tmp_path}/zaqar.sqlite'
    database: str = request.getfixturevalue(request.param).database()
    return database


@contextlib.contextmanager
def _ended(*servers: Zaqar) -> Iterator[None]:
    try:
        yield
    finally:
        for server in servers:
            if hasattr(server, 'process'):
                server.stop(signal.SIGKILL)


def test_an_upgrade_under_load_fails_no_request_and_loses_no_message(
    tmp_path: pathlib.Path, old_tree: pathlib.Path, url: str
) -> None:
    for name in ('before', 'after'):
        (tmp_path / name).mkdir()
    before = Old(old_tree, tmp_path / 'before', url)
    after = Zaqar(tmp_path / 'after', rest=with_database(url))
    done = before.run('upgrade', 'head', program='sql_db_manage')
    assert done.returncode == 0, done.stderr
    assert f'revision {_previous()[1]} (head)' in done.stdout
    before.start()
    serving = [before.url]
    turns = itertools.count()

    def origin() -> str:
        return serving[next(turns) % len(serving)]

    with _ended(before, after), Load(origin) as load:
        assert load.goes_on(), load.failed
        # New tables under the old code, which goes on.
        done = after.run('upgrade', 'head', program='sql_db_manage')
        assert done.returncode == 0, done.stderr
        assert (
            f'now revision {database_schema_revision.HEAD} (head)'
            in done.stdout
        )
        assert load.goes_on(), load.failed
        # Both side by side.
        after.start()
        serving.append(after.url)
        assert load.goes_on(100), load.failed
        # The new code alone.
        serving.remove(before.url)
        assert load.goes_on(), load.failed
        assert before.stop() == 0
        assert load.goes_on(), load.failed
        load.end()
        load.drain()
        assert not load.failed
        assert sorted(load.taken) == sorted(load.posted)


def test_groups_go_on_of_which_old_code_has_removed_the_first_message(
    old_tree: pathlib.Path, tmp_path: pathlib.Path, url: str
) -> None:
    migrations.upgrade(driver_declaration.parse(url), 'head')
    old = Old(old_tree, tmp_path, url)
    with contextlib.closing(
        driver_declaration.DRIVER.open_messages(url, {})
    ) as store:
        queue = Probe(store, Hand())
        for group in ('a', 'b'):
            queue.post(f'{group}1', group=group, ttl=60)
            queue.post(f'{group}2', group=group)
        queue.hand.move(60)
        old.run_code(_COUNT, url, queue.qid, str(queue.hand.now))
        assert queue.pop() == []
        store.sweep(now=queue.hand.now, batch=100)
        assert bodies(queue.pop()) == ['a2', 'b2']


def test_new_code_refuses_old_tables_and_says_what_to_do(
    tmp_path: pathlib.Path, old_tree: pathlib.Path
) -> None:
    url = f'sqlite:///{tmp_path}/zaqar.sqlite'
    before = Old(old_tree, tmp_path, url)
    assert (
        before.run('upgrade', 'head', program='sql_db_manage').returncode == 0
    )
    ours = Zaqar(tmp_path, rest=with_database(url))
    done = ours.run()
    assert done.returncode == 1
    assert '"zaqar-sql-db-manage upgrade head"' in done.stderr
    checked = ours.run('upgrade', 'check', program='status')
    assert checked.returncode == 2

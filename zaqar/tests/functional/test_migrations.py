# SPDX-License-Identifier: Apache-2.0
"""``zaqar-sql-db-manage`` on each engine."""

from __future__ import annotations

import concurrent.futures
import json
import pathlib
import subprocess
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from zaqar.objects import Scope
from zaqar.pools import flavor_records
from zaqar.pools.queue_catalogue import Catalogue
from zaqar.storage.sqlalchemy import (
    database_schema_revision,
    driver_declaration,
    migrations,
    tables,
)
from zaqar.tests.functional.conftest import ENGINES
from zaqar.tests.servers.zaqar import Zaqar, with_database

HEAD = database_schema_revision.HEAD


class Managed:
    """A database of its own, and the program that looks after it."""

    def __init__(self, folder: pathlib.Path, url: str) -> None:
        self.url = url
        self._zaqar = Zaqar(folder, rest=with_database(url))
        self.engine = sa.create_engine(
            driver_declaration.parse(url), poolclass=sa.NullPool
        )

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self._zaqar.run(*words, program='sql_db_manage')

    def revision(self) -> str | None:
        with self.engine.connect() as connection:
            return database_schema_revision.current(connection)


@pytest.fixture(params=ENGINES)
def managed(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Managed:
    """An empty database."""
    if request.param == 'sqlite':
        return Managed(tmp_path, f'sqlite:///{tmp_path}/managed.sqlite')
    server = request.getfixturevalue(request.param)
    return Managed(tmp_path, server.database())


def _differences(managed: Managed) -> list[Any]:
    with managed.engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                'include_name': migrations.is_ours,
                'include_object': migrations.is_made(connection.dialect),
            },
        )
        return compare_metadata(context, tables.METADATA)


def test_an_upgrade_makes_the_tables_and_again_does_nothing(
    managed: Managed,
) -> None:
    before = managed.run('current')
    assert before.returncode == 0
    assert 'no tables yet' in before.stdout
    first = managed.run('upgrade', 'head')
    assert first.returncode == 0, first.stderr
    assert f'now revision {HEAD} (head)' in first.stdout
    again = managed.run('upgrade', 'head')
    assert again.returncode == 0
    assert 'nothing to do' in again.stdout
    assert f'revision {HEAD} (head)' in managed.run('current').stdout


def test_migrations_lead_to_the_tables_of_the_code(managed: Managed) -> None:
    managed.run('upgrade', 'head')
    assert _differences(managed) == []


def test_tables_made_at_first_start_are_the_same(
    tmp_path: pathlib.Path,
) -> None:
    schemas = {}
    for name in ('started', 'migrated'):
        (tmp_path / name).mkdir()
        url = f'sqlite:///{tmp_path}/{name}/zaqar.sqlite'
        managed = Managed(tmp_path / name, url)
        if name == 'started':
            driver_declaration.open_messages(url, {}).close()
        else:
            managed.run('upgrade', 'head')
        with managed.engine.connect() as connection:
            rows = connection.exec_driver_sql(
                'SELECT name, sql FROM sqlite_schema ORDER BY name'
            )
            schemas[name] = {
                row.name: ''.join((row.sql or '').split())
                .replace('"', '')
                .replace('IFNOTEXISTS', '')
                .lower()
                for row in rows
            }
        assert _differences(managed) == []
    assert schemas['started'].keys() == schemas['migrated'].keys()


def test_processes_that_upgrade_at_once_do_not_disturb_each_other(
    managed: Managed,
) -> None:
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(managed.run, 'upgrade', 'head') for _ in range(4)]
    codes = [job.result().returncode for job in jobs]
    assert codes == [0] * 4, [job.result().stderr for job in jobs]
    assert managed.revision() == HEAD
    assert _differences(managed) == []


def test_a_database_without_tables_can_be_stamped(managed: Managed) -> None:
    assert managed.run('stamp', '007').returncode == 0
    assert managed.revision() == '007'
    assert managed.run('upgrade', '--delta', '1').returncode == 0
    assert managed.revision() == '008'


def test_nothing_can_be_undone(managed: Managed) -> None:
    managed.run('upgrade', 'head')
    for words in (
        ('downgrade', '007'),
        ('downgrade', '--delta', '1'),
        ('upgrade', '--delta', '-1'),
    ):
        done = managed.run(*words)
        assert done.returncode == 1
        assert 'undone' in done.stderr
    assert managed.revision() == HEAD


def test_sql_is_printed_and_nothing_done(managed: Managed) -> None:
    done = managed.run('upgrade', 'head', '--sql')
    assert done.returncode == 0, done.stderr
    assert 'CREATE TABLE' in done.stdout
    assert managed.revision() is None


def test_the_chain_of_revisions_can_be_shown(managed: Managed) -> None:
    check = managed.run('check_migration')
    assert (check.returncode, check.stdout) == (
        0,
        f'{HEAD} is the only head\n',
    )
    before = f'{int(HEAD) - 1:03}'
    assert f'{before} -> {HEAD} (head)' in managed.run('history').stdout
    assert managed.run('branches').returncode == 0


def test_exit_codes_tell_failures_apart(managed: Managed) -> None:
    assert managed.run('upgrade').returncode == 1
    assert managed.run('upgrade', 'nonsense').returncode == 255
    assert managed.run('nonsense').returncode == 2
    assert managed.run().returncode == 2


@pytest.mark.parametrize(
    ('url', 'text'),
    [
        ('nonsense', 'uri: the URI is malformed'),
        ('oracle://x/y', '"oracle" is no engine'),
        ('postgresql://x:y@127.0.0.1:1/z', 'Connection refused'),
        ('mysql://x:y@127.0.0.1:1/z', "Can't connect"),
        ('sqlite:////dev/null/x', 'unable to open database file'),
    ],
)
def test_an_unusable_database_is_told_in_one_line(
    tmp_path: pathlib.Path, url: str, text: str
) -> None:
    server = Zaqar(tmp_path, rest=with_database(url))
    done = server.run('upgrade', 'head', program='sql_db_manage')
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith('zaqar-sql-db-manage: ')
    assert text in done.stderr
    assert 'Traceback' not in done.stderr


def test_without_a_uri_it_works_on_the_embedded_database(
    tmp_path: pathlib.Path,
) -> None:
    file = tmp_path / 'zaqar.sqlite'
    server = Zaqar(tmp_path, rest='')
    done = server.run('upgrade', 'head', program='sql_db_manage')
    assert done.returncode == 0, done.stderr
    assert done.stdout == f'sqlite:///{file}: the service will create it\n'
    assert not file.exists()
    before = f'{int(HEAD) - 1:03}'
    migrations.upgrade(driver_declaration.parse(f'sqlite:///{file}'), before)
    done = server.run('upgrade', 'head', program='sql_db_manage')
    assert done.returncode == 0, done.stderr
    assert f'embedded database sqlite:///{file}: now' in done.stdout
    rest = '[drivers]\nmessage_store = redis\n'
    rest += '[drivers:message_store:redis]\nuri = redis://127.0.0.1:1\n'
    done = Zaqar(tmp_path, rest=rest).run('current', program='sql_db_manage')
    assert done.returncode == 1
    assert 'no store that [drivers] names is an SQL database' in done.stderr


# Databases of the reference service.

_NAME = sa.String(64)


def _reference() -> sa.MetaData:
    """Return the tables of the reference service at its revision 007."""
    metadata = sa.MetaData()
    blob = sa.LargeBinary()
    sa.Table(
        'Queues',
        metadata,
        sa.Column('id', sa.Integer, primary_key=True),
        sa.Column('project', _NAME),
        sa.Column('name', _NAME),
        sa.Column('metadata', blob),
        sa.UniqueConstraint('project', 'name'),
    )
    sa.Table(
        'Pools',
        metadata,
        sa.Column('name', _NAME, primary_key=True),
        sa.Column('uri', sa.String(255), nullable=False, unique=True),
        sa.Column('weight', sa.Integer, nullable=False),
        sa.Column('options', sa.Text),
        sa.Column('flavor', _NAME),
    )
    sa.Table(
        'Flavors',
        metadata,
        sa.Column('name', _NAME, primary_key=True),
        sa.Column('project', _NAME),
        sa.Column('capabilities', sa.Text),
    )
    sa.Table(
        'Catalogue',
        metadata,
        sa.Column(
            'pool', _NAME, sa.ForeignKey('Pools.name', ondelete='CASCADE')
        ),
        sa.Column('project', _NAME),
        sa.Column('queue', _NAME, nullable=False),
        sa.UniqueConstraint('project', 'queue'),
    )
    sa.Table(
        'alembic_version',
        metadata,
        sa.Column('version_num', sa.String(32), nullable=False),
    )
    return metadata


def _reference_at(managed: Managed, revision: str) -> None:
    reference = _reference()
    reference.create_all(managed.engine)
    metadata = {'owner': 'é', '_default_message_ttl': 100}
    rows: dict[str, list[dict[str, Any]]] = {
        'Queues': [
            {
                'id': number,
                'project': project,
                'name': f'q{number}',
                'metadata': json.dumps(metadata).encode(),
            }
            for number, project in enumerate(['p'] * 1200 + ['', None], 1)
        ],
        'Pools': [
            {
                'name': 'east',
                'uri': 'redis://user:secret@host',
                'weight': 100,
                'options': '{"max_retry_sleep": 1}',
                'flavor': 'gold',
            }
        ],
        'Flavors': [
            {'name': 'gold', 'project': 'p', 'capabilities': '["FIFO"]'}
        ],
        'Catalogue': [{'pool': 'east', 'project': 'p', 'queue': 'q1'}],
        'alembic_version': [{'version_num': revision}],
    }
    with managed.engine.begin() as connection:
        for name, values in rows.items():
            connection.execute(sa.insert(reference.tables[name]), values)


def test_a_database_of_the_reference_is_adopted(managed: Managed) -> None:
    _reference_at(managed, '007')
    done = managed.run('upgrade', 'head')
    assert done.returncode == 0, done.stderr
    assert 'secret' not in done.stdout + done.stderr
    management = driver_declaration.open_management(managed.url, {})
    messages = driver_declaration.open_messages(managed.url, {})
    catalogue = Catalogue(management, messages)
    queue = catalogue.find(Scope('p', 'q1'))
    assert queue is not None
    assert queue.metadata == {'owner': 'é', '_default_message_ttl': 100}
    assert management.count('queue', 'p') == 1200
    assert management.count('queue', '') == 2
    pool = management.get('pool', '', 'east')
    assert pool is not None
    assert pool.data == {
        'uri': 'redis://user:secret@host',
        'weight': 100,
        'options': {'max_retry_sleep': 1},
        'flavor': 'gold',
        'noted': True,
    }
    flavor = management.get('flavor', 'p', 'gold')
    assert flavor is not None
    assert flavor.data == {'capabilities': ['FIFO']}
    entry = management.get('catalogue', 'p', 'q1')
    assert entry is not None
    assert entry.data == {'pool': 'east'}
    # What pools and other projects find them by.
    notes = management.list('pooled', 'east', after=None, limit=10)
    assert [note.data for note in notes] == [
        {'kind': 'queue', 'project': 'p', 'name': 'q1'}
    ]
    owner_and_flavor = flavor_records.find(management, 'another', 'gold')
    assert owner_and_flavor == ('p', flavor)
    catalogue.close()
    assert _differences(managed) == []
    # The way back stays open.
    with managed.engine.connect() as connection:
        old = _reference().tables['Queues']
        count = connection.scalar(sa.select(sa.func.count()).select_from(old))
    assert count == 1202


def test_an_adoption_that_was_cut_off_can_be_repeated(
    managed: Managed,
) -> None:
    _reference_at(managed, '007')
    assert managed.run('upgrade', 'head').returncode == 0
    management = driver_declaration.open_management(managed.url, {})
    first = management.get('queue', 'p', 'q1')
    assert managed.run('stamp', '007').returncode == 0
    done = managed.run('upgrade', 'head')
    assert done.returncode == 0, done.stderr
    # What was there stays, so that messages posted since are still found.
    assert management.get('queue', 'p', 'q1') == first
    assert management.count('queue', 'p') == 1200
    management.close()


@pytest.mark.parametrize('revision', ['001', '006'])
def test_an_older_database_of_the_reference_is_refused(
    managed: Managed, revision: str
) -> None:
    _reference_at(managed, revision)
    done = managed.run('upgrade', 'head')
    assert done.returncode == 1
    assert f'revision {revision} of the reference service' in done.stderr
    assert managed.revision() == revision
    assert not sa.inspect(managed.engine).has_table('record')


def test_a_newer_database_is_refused(managed: Managed) -> None:
    managed.run('upgrade', 'head')
    with managed.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE alembic_version SET version_num = '999'"
        )
    done = managed.run('upgrade', 'head')
    assert done.returncode == 1
    assert 'revision 999, which is unknown here' in done.stderr

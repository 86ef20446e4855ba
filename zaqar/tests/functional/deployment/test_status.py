# SPDX-License-Identifier: Apache-2.0
"""``zaqar-status upgrade check``, and each of its exit codes."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from typing import Any

import pytest
import sqlalchemy as sa

from zaqar.storage.sqlalchemy import (
    database_schema_revision,
    driver_declaration,
)
from zaqar.tests.servers import process
from zaqar.tests.servers.zaqar import Zaqar, with_database

SUCCESS, WARNING, FAILURE = 0, 1, 2


def _append(server: Zaqar, text: str) -> None:
    server.conf.write_text(f'{server.conf.read_text()}\n{text}\n')


def _general(server: Zaqar, line: str) -> None:
    text = server.conf.read_text()
    server.conf.write_text(text.replace('[DEFAULT]', f'[DEFAULT]\n{line}'))


def _check(server: Zaqar) -> tuple[int, dict[str, Any]]:
    """Return the exit code and what was not a plain success, by check."""
    done = server.run('upgrade', 'check', '--json', program='status')
    report = json.loads(done.stdout)
    assert report['name'] == 'Upgrade Check Results'
    return done.returncode, {
        each['check']: (each['result'], each['details'])
        for each in report['checks']
        if each['result'] or each['details']
    }


def _keep(url: str, *entries: tuple[str, str, str, dict[str, Any]]) -> None:
    """Keep records, each as kind, parent, name and data."""
    management = driver_declaration.open_management(url, {})
    for entry in entries:
        assert management.create(*entry)
    management.close()


def _execute(url: str, sql: str) -> None:
    engine = sa.create_engine(
        driver_declaration.parse(url), poolclass=sa.NullPool
    )
    with engine.begin() as connection:
        connection.exec_driver_sql(sql)


@pytest.fixture
def url(tmp_path: pathlib.Path) -> str:
    """The URL of an SQLite file."""
    return f'sqlite:///{tmp_path}/zaqar.sqlite'


@pytest.fixture
def alone(tmp_path: pathlib.Path, url: str) -> Zaqar:
    """Our programs on that file, with tables."""
    zaqar = Zaqar(tmp_path, rest=with_database(url))
    assert (
        zaqar.run('upgrade', 'head', program='sql_db_manage').returncode == 0
    )
    return zaqar


def test_a_good_deployment_passes(programs: Zaqar) -> None:
    assert _check(programs) == (SUCCESS, {})


def test_a_new_deployment_passes_and_nothing_is_made(
    tmp_path: pathlib.Path,
) -> None:
    server = Zaqar(tmp_path)
    before = set(server.folder.iterdir())
    assert _check(server) == (SUCCESS, {})
    assert set(server.folder.iterdir()) == before


def test_the_table_is_for_people(alone: Zaqar) -> None:
    done = alone.run('upgrade', 'check', program='status')
    assert done.returncode == SUCCESS
    assert '| Check: Policy file' in done.stdout


def test_it_says_who_can_do_less_with_the_new_defaults(
    tmp_path: pathlib.Path,
) -> None:
    server = Zaqar(tmp_path, general='auth_strategy = keystone\n')
    code, checks = _check(server)
    result, details = checks['Roles']
    assert (code, result) == (SUCCESS, SUCCESS)
    assert 'enforce_new_defaults is not set' in details
    lost = dict(
        part.split(': ') for part in details.split('they do. ')[1].split('; ')
    )
    few = {'reader', 'heat_stack_user', 'pre-signed'}
    assert set(lost) == {*few, 'any other role'}
    # Whatever the policy says, these need more than a signature.
    secrets = 'subscription:get_secret, subscription:rotate_secret'
    assert lost['pre-signed'] == secrets
    assert lost['any other role'] == 'all'
    assert 'messages:create' in lost['reader'].split(', ')
    assert 'messages:get_all' not in lost['reader'].split(', ')
    assert 'messages:create' not in lost['heat_stack_user'].split(', ')


def test_new_defaults_without_keystone_warn(tmp_path: pathlib.Path) -> None:
    rest = '[oslo_policy]\nenforce_new_defaults = true'
    code, checks = _check(Zaqar(tmp_path, rest=rest))
    assert code == WARNING
    assert 'X-Roles' in checks['Roles'][1]


def test_a_policy_of_json_fails(alone: Zaqar) -> None:
    path = alone.folder / 'policy.json'
    path.write_text('{"queues:get": "role:reader"}')
    _append(alone, f'[oslo_policy]\npolicy_file = {path}')
    code, checks = _check(alone)
    assert code == FAILURE
    assert 'oslopolicy-convert-json-to-yaml' in checks['Policy file'][1]


@pytest.mark.parametrize(
    ('sql', 'text'),
    [
        ("UPDATE alembic_version SET version_num = '007'", 'revision 007'),
        ("UPDATE alembic_version SET version_num = '999'", 'revision 999'),
        ('DROP TABLE alembic_version', 'revision none'),
    ],
)
def test_tables_of_another_revision_fail(
    programs: Zaqar, database: str, sql: str, text: str
) -> None:
    _execute(database, sql)
    code, checks = _check(programs)
    assert code == FAILURE
    result, details = checks['Tables']
    assert result == FAILURE
    assert f'{text}, not {database_schema_revision.HEAD}' in details
    assert '"zaqar-sql-db-manage upgrade head"' in details


def test_a_store_that_does_not_answer_fails(tmp_path: pathlib.Path) -> None:
    port = process.free_port()
    server = Zaqar(
        tmp_path,
        rest=with_database(f'postgresql://x:secret@127.0.0.1:{port}/x'),
    )
    code, checks = _check(server)
    assert code == FAILURE
    assert 'the management store does not answer' in checks['Stores'][1]
    assert 'secret' not in str(checks)


def test_a_driver_that_does_not_exist_fails(alone: Zaqar) -> None:
    _append(alone, '[drivers]\nmanagement_store = nonsense')
    code, checks = _check(alone)
    assert code == FAILURE
    assert 'management_store = nonsense' in checks['Stores'][1]


def test_a_short_signing_key_fails(alone: Zaqar) -> None:
    _append(alone, '[signed_url]\nsecret_key = short')
    code, checks = _check(alone)
    assert code == FAILURE
    assert 'too short' in checks['Signing key'][1]
    assert 'short' not in checks['Signing key'][1].replace('too short', '')


@pytest.mark.parametrize('key', ['', 'message_encryption_key = AES256'])
def test_encrypted_queues_without_a_key_fail(
    alone: Zaqar, url: str, key: str
) -> None:
    _append(alone, f'[transport]\n{key}')
    metadata = {'_enable_encrypt_messages': True}
    _keep(url, ('queue', 'p', 'open', {'qid': '0' * 32}))
    assert _check(alone) == (SUCCESS, {})
    _keep(url, ('queue', 'p', 'q', {'qid': '1' * 32, 'metadata': metadata}))
    code, checks = _check(alone)
    assert code == FAILURE
    assert checks['Encryption'][1].startswith('1 queues keep their messages')
    _append(alone, '[transport]\nmessage_encryption_key = 0123456789abcdef')
    assert _check(alone) == (SUCCESS, {})


def test_a_short_encryption_key_fails(alone: Zaqar) -> None:
    _append(alone, '[transport]\nmessage_encryption_key = short')
    code, checks = _check(alone)
    assert code == FAILURE
    assert 'at least 16 characters' in checks['Encryption'][1]


def test_options_without_effect_warn(alone: Zaqar) -> None:
    _append(alone, '[transport]\nmax-message-ttl = 5\n[nothing]\nx = 1')
    code, checks = _check(alone)
    assert code == WARNING
    assert checks == {
        'Options': (
            WARNING,
            '[transport] max-message-ttl is ignored because of its hyphen; '
            'write max_message_ttl; [nothing] is not known and ignored',
        )
    }


def test_pools_and_flavors_that_lead_nowhere_warn(
    alone: Zaqar, url: str
) -> None:
    _keep(
        url,
        ('pool', '', 'odd', {'uri': 'oracle://u:secret@h/x', 'weight': 1}),
        ('flavor', 'p', 'gold', {}),
        ('queue', 'p', 'q', {'qid': '0' * 32, 'pool': 'gone'}),
        ('catalogue', 'p', 'old', {'pool': 'lost'}),
    )
    assert _check(alone) == (SUCCESS, {})
    _general(alone, 'pooling = True')
    code, checks = _check(alone)
    assert code == WARNING
    assert checks == {
        'Pools': (WARNING, 'pool "odd": there is no driver for "oracle"'),
        'Catalogue': (
            WARNING,
            'queue "old" of project "p" is in pool "lost", which does not '
            'exist; pool "gone" does not exist and 1 queues are in it; '
            'flavor "gold" of project "p" has no pool',
        ),
    }


def test_subscribers_where_none_may_be_warn(alone: Zaqar, url: str) -> None:
    uris = (
        'http://10.0.0.1/a?secret',
        'http://10.0.0.1:80/b',
        'https://localhost/x',
        'https://example.org:22/x',
        'https://example.org/x',
        'http://[2606:4700::1111]/x',
        'trust+http://10.0.0.2/x',
        'mailto:a@example.org',
    )
    for number, uri in enumerate(uris):
        data = {'subscriber': uri, 'confirmed': False}
        _keep(url, ('subscription', 'queue/q/p', f'{number:032x}', data))
    where = 'which is not public and not in [notification] allowed_networks'
    assert _check(alone) == (
        WARNING,
        {
            'Subscribers': (
                WARNING,
                f'2 subscriptions lead to 10.0.0.1 port 80, {where}; '
                f'1 subscriptions lead to localhost port 443, {where}; '
                '1 subscriptions lead to example.org port 22, which '
                '[notification] allowed_ports does not hold; 1 subscriptions '
                'by mail are not confirmed, so nothing is sent to them as '
                'long as [notification] confirm_mail is on',
            )
        },
    )
    _append(
        alone,
        '[notification]\nallowed_networks = 10.0.0.0/8, 127.0.0.0/8\n'
        'allowed_ports = 22, 80, 443\nconfirm_mail = False',
    )
    assert _check(alone) == (SUCCESS, {})


def test_a_pool_that_does_not_answer_fails(alone: Zaqar, url: str) -> None:
    uri = f'postgresql://x:secret@127.0.0.1:{process.free_port()}/x'
    _keep(url, ('pool', '', 'down', {'uri': uri, 'weight': 1}))
    _general(alone, 'pooling = True')
    code, checks = _check(alone)
    assert code == FAILURE
    assert checks['Pools'] == (FAILURE, 'pool "down": it does not answer')


def test_a_database_of_the_reference_is_to_be_upgraded(
    tmp_path: pathlib.Path, url: str
) -> None:
    server = Zaqar(tmp_path, rest=with_database(url))
    _execute(url, 'CREATE TABLE alembic_version (version_num VARCHAR(32))')
    _execute(url, "INSERT INTO alembic_version VALUES ('007')")
    code, checks = _check(server)
    assert code == FAILURE
    assert 'revision 007' in checks['Tables'][1]


def test_usage_errors_and_help(alone: Zaqar) -> None:
    assert alone.run(program='status').returncode == 2
    assert alone.run('nonsense', program='status').returncode == 2
    missing = subprocess.run(
        [
            *(sys.executable, '-m', 'zaqar.cmd.status'),
            *('--config-file', '/nowhere/zaqar.conf', 'upgrade', 'check'),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert missing.returncode == 2
    assert missing.stderr.startswith('zaqar-status: ')
    manual = alone.run('--help', program='status')
    assert manual.returncode == 0
    for part in ('NAME', 'CHECKS', 'EXIT STATUS', '--config-file'):
        assert part in manual.stdout


def test_an_error_of_the_program_is_told_apart(alone: Zaqar, url: str) -> None:
    # A record that nobody could have written.
    _execute(
        url,
        'INSERT INTO record (kind, parent, name, data, version) '
        "VALUES ('queue', 'p', 'q', 'no JSON', 1)",
    )
    done = alone.run('upgrade', 'check', program='status')
    assert done.returncode == 255

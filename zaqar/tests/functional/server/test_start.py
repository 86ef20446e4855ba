# SPDX-License-Identifier: Apache-2.0
"""The command line of ``zaqar-server``, its configuration and databases."""

from __future__ import annotations

import fcntl
import os
import pathlib
import re
import socket
import subprocess
import sys

import pytest
import requests

from zaqar.tests.contract.crowd import ends_within
from zaqar.tests.functional.server.conftest import MakeServer
from zaqar.tests.functional.server.server_requests import (
    HEADERS,
    post,
    stored,
    until,
)
from zaqar.tests.servers import sql
from zaqar.tests.servers.zaqar import Zaqar, with_database

# The command line.


@pytest.mark.parametrize('program', ['server', 'sql_db_manage'])
def test_help_and_version_are_there(
    make_server: MakeServer, program: str
) -> None:
    server = make_server()
    help_text = server.run('--help', program=program)
    assert help_text.returncode == 0
    assert '--config-file' in help_text.stdout
    version = server.run('--version', program=program)
    assert version.returncode == 0
    assert re.match(r'\d+\.\d+', version.stdout)


def test_a_wrong_option_is_a_usage_error(make_server: MakeServer) -> None:
    done = make_server().run('--nonsense')
    assert done.returncode == 2
    assert 'usage: zaqar-server' in done.stderr


FAULTY = [
    (
        '',
        '[drivers]\nmessage_store = nonsense',
        '[drivers] message_store = nonsense: there is no such driver',
    ),
    (
        '',
        '[drivers]\nmanagement_store = mongodb',
        '[drivers:management_store:mongodb] uri is not set',
    ),
    (
        '',
        '[drivers:message_store:mongodb]\nuri = mongodb://x',
        '[drivers:message_store:mongodb] uri is set, but [drivers] '
        'message_store is not',
    ),
    (
        '',
        '[drivers:message_store:sqlalchemy]\nuri = nonsense',
        '[drivers:message_store:sqlalchemy] uri: the URI is malformed',
    ),
    (
        '',
        '[drivers:message_store:sqlalchemy]\nuri = sqlite:////dev/null/x',
        '[drivers:message_store:sqlalchemy] uri: the folder /dev/null does '
        'not exist',
    ),
    (
        '',
        '[drivers:management_store:sqlalchemy]\nuri = sqlite://',
        'SQLite in memory',
    ),
    (
        'state_path = /proc/nowhere',
        '',
        '[DEFAULT] state_path: the folder /proc/nowhere does not exist',
    ),
    (
        'auth_strategy = keystone',
        '',
        '[DEFAULT] auth_strategy = keystone needs [keystone_authtoken]: set '
        'auth_type',
    ),
    (
        'auth_strategy = keystone',
        '[keystone_authtoken]\nauth_type = password',
        '[keystone_authtoken] Auth plugin requires parameters which were not '
        'given: auth_url',
    ),
    (
        'auth_strategy = keystone',
        '[keystone_authtoken]\nauth_type = none-such',
        '[keystone_authtoken]',
    ),
    (
        'auth_strategy = keystone',
        '[keystone_authtoken]\nauth_type = password\n'
        'auth_url = http://127.0.0.1:1\nmemcached_servers = 127.0.0.1:1\n'
        'memcache_sasl_enabled = true',
        '[keystone_authtoken] memcached_servers needs the library '
        'python-binary-memcached',
    ),
    (
        'auth_strategy = basic',
        '',
        '[DEFAULT] auth_strategy = basic: must be "keystone" or empty',
    ),
    ('', '[drivers]\ntransport = pigeon', 'transport'),
    (
        '',
        '[transport]\nmax_messages_post_size =',
        '[transport] max_messages_post_size is blank: give it a value',
    ),
    (
        '',
        '[drivers:management_store:sqlalchemy]\n'
        'uri = postgresql://zaqar:pa$word@h/zaqar',
        '[drivers:management_store:sqlalchemy] uri: a dollar sign refers to '
        'another option; write $$',
    ),
    (
        'auth_strategy = keystone',
        '[keystone_authtoken]\nauth_type = password\n'
        'auth_url = http://127.0.0.1:1\npassword = pa$word',
        '[keystone_authtoken] a dollar sign refers to another option; write '
        '$$',
    ),
    (
        '',
        '[transport]\nmax_message_ttl = many',
        '[transport] max_message_ttl: invalid literal for int() with base 10: '
        "'many'",
    ),
    (
        '',
        '[drivers:transport:websocket]\nbind = some where',
        '[drivers:transport:websocket] bind: ',
    ),
    ('', '[transport]\nmax_queues_per_page = 0', 'max_queues_per_page'),
    ('', '[gc]\nbatch = 0', 'batch'),
    ('', '[oslo_policy]\npolicy_file = {folder}/bad.yaml', 'policy_file'),
]


@pytest.mark.parametrize(('general', 'rest', 'text'), FAULTY)
def test_a_bad_setting_is_told_in_one_line_and_leaves_nothing(
    make_server: MakeServer, general: str, rest: str, text: str
) -> None:
    server = make_server(general=general)
    (server.folder / 'bad.yaml').write_text('"queues:get": [unclosed')
    rest = rest.format(folder=server.folder)
    server.conf.write_text(f'{server.conf.read_text()}\n{rest}')
    before = set(server.folder.iterdir())
    done = server.run()
    assert done.returncode == 1
    # Warnings are about what would go on working.
    lines = done.stderr.strip().splitlines()
    (line,) = [line for line in lines if ' WARNING ' not in line]
    assert line.startswith('zaqar-server: ')
    assert text in line
    assert set(server.folder.iterdir()) == before


def test_a_missing_configuration_file_is_told(tmp_path: pathlib.Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            '-m',
            'zaqar.cmd.server',
            '--config-file',
            str(tmp_path / 'nothing.conf'),
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert 'nothing.conf' in done.stderr


def test_a_taken_port_is_told(make_server: MakeServer) -> None:
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        done = make_server(port=taken.getsockname()[1]).run()
    assert done.returncode == 1
    assert '[drivers:transport:wsgi] bind, port: cannot listen' in done.stderr


def test_a_start_names_its_stores_and_what_is_ignored(
    make_server: MakeServer,
) -> None:
    rest = (
        '[transport]\nmax_massage_ttl = 60\n[transprot]\nx = 1\n'
        '[drivers]\nmanagement_store = sqlalchemy\nmessage_store = redis\n'
        '[drivers:message_store:redis]\nuri = redis://u:hidden@127.0.0.1:1\n'
    )
    server = make_server(rest=rest).start()
    written = server.log.read_text()
    assert written.count('max_massage_ttl is not known and ignored') == 1
    assert written.count('[transprot] is not known and ignored') == 1
    (line,) = [line for line in written.splitlines() if ' uses ' in line]
    assert f'sqlalchemy (sqlite:///{server.folder}/zaqar.sqlite)' in line
    assert 'message store redis (redis://u:***@127.0.0.1:1)' in line
    assert 'hidden' not in written


def test_an_open_service_warns(make_server: MakeServer) -> None:
    server = make_server().start()
    assert server.log.read_text().count('auth_strategy is not set') == 1


@pytest.mark.parametrize(
    ('rest', 'count'),
    [
        ('', 1),
        ('[notification]\nconfirm_mail = False\n', 0),
        ('[transport]\nsubscriber_types = https\n', 0),
        ('[signed_url]\nsecret_key = a key of some length\n', 0),
    ],
)
def test_a_service_that_cannot_ask_mail_addresses_warns_once(
    make_server: MakeServer, rest: str, count: int
) -> None:
    server = make_server(rest=rest).start()
    text = 'confirm_mail needs [signed_url] secret_key'
    assert server.log.read_text().count(text) == count


# Databases.


def test_a_database_that_is_not_there_is_told(
    make_server: MakeServer, postgresql: sql.SqlServer
) -> None:
    url = postgresql.url.set(database='nothing').render_as_string(
        hide_password=False
    )
    done = make_server(rest=with_database(url)).run()
    assert done.returncode == 1
    assert '[drivers:management_store:sqlalchemy] uri' in done.stderr
    assert 'does not exist' in done.stderr


@pytest.mark.parametrize('engine', ['postgresql', 'mariadb'])
def test_a_database_without_tables_is_told_what_to_do(
    make_server: MakeServer, request: pytest.FixtureRequest, engine: str
) -> None:
    url = request.getfixturevalue(engine).database()
    done = make_server(rest=with_database(url)).run()
    assert done.returncode == 1
    assert '"zaqar-sql-db-manage upgrade head"' in done.stderr


@pytest.mark.parametrize('kind', [sql.PostgreSQL, sql.MariaDB])
def test_it_starts_without_its_database_and_recovers_by_itself(
    make_server: MakeServer, kind: type[sql.OwnServer]
) -> None:
    if os.environ.get(f'ZAQAR_TEST_{kind.__name__.upper()}_URL'):
        pytest.skip('a given server cannot be stopped')
    database = kind(durable=True)
    try:
        server = make_server(rest=with_database(database.database()))
        assert (
            server.run('upgrade', 'head', program='sql_db_manage').returncode
            == 0
        )
        database.halt()
        server.start()
        _expect_unavailable(server)
        database.start()
        assert until(lambda: post(server, 'first').status_code == 201)
        # And once more while it runs.
        database.kill()
        _expect_unavailable(server)
        database.start()
        assert until(lambda: post(server, 'second').status_code == 201)
        assert stored(server) == ['first', 'second']
        assert server.stop() == 0
    finally:
        database.stop()


def _expect_unavailable(server: Zaqar) -> None:
    with ends_within(6):
        answer = post(server, 'never')
    assert answer.status_code == 503
    assert answer.headers['retry-after'] == '5'
    assert answer.json()['title'] == 'Service temporarily unavailable'
    ping = requests.get(f'{server.url}/v2/ping', headers=HEADERS, timeout=60)
    assert ping.status_code == 503


def test_a_log_that_nobody_reads_holds_up_no_requests(
    make_server: MakeServer, tmp_path: pathlib.Path
) -> None:
    pipe = tmp_path / 'pipe'
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR)
    # The supervisor writes there itself, while it starts.
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 64 * 1024)
    server = make_server(general=f'debug = true\nlog_file = {pipe}').start()
    for _ in range(400):
        # Each is an entry of some 200 bytes.
        assert post(server, 'a').status_code == 201
    text = b''
    while text.count(b'message_post') < 400:
        text += os.read(reader, 65536)
    ids = re.findall(rb'(req-[-0-9a-f]+) .*message_post', text)
    assert len({*ids}) == 400
    os.close(reader)

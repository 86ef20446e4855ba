# SPDX-License-Identifier: Apache-2.0
"""``zaqar-server`` as operators meet it: settings, signals, sudden deaths."""

from __future__ import annotations

import collections
import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from zaqar.tests.servers import process, sql
from zaqar.tests.servers.zaqar import Zaqar, children, is_alive, with_database

HEADERS = {
    'Client-ID': '3381af92-2b9e-11e3-b191-71861300734c',
    'X-Project-ID': 'p',
}
MESSAGES = '/v2/queues/q/messages'

MakeServer = Callable[..., Zaqar]


#: So that children are API workers.
_HTTP_ALONE = """
[drivers]
transport = wsgi
[notification]
embedded = False
"""


@pytest.fixture
def make_server(tmp_path: pathlib.Path) -> Iterator[MakeServer]:
    """A function that prepares servers; those started end with the test."""
    servers: list[Zaqar] = []

    def make(**settings: Any) -> Zaqar:
        folder = tmp_path / str(len(servers))
        folder.mkdir()
        settings['rest'] = f'{_HTTP_ALONE}{settings.get("rest", "")}'
        servers.append(Zaqar(folder, **settings))
        return servers[-1]

    yield make
    for server in servers:
        if hasattr(server, 'process'):
            server.stop(signal.SIGKILL)


def _until(condition: Callable[[], bool], patience: float = 20.0) -> bool:
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def _post(server: Zaqar, body: Any, **more: Any) -> requests.Response:
    return requests.post(
        server.url + MESSAGES,
        json={'messages': [{'body': body}]},
        headers=HEADERS,
        timeout=10,
        **more,
    )


def _stored(server: Zaqar) -> list[Any]:
    path, bodies = f'{MESSAGES}?echo=true&limit=20', []
    with requests.Session() as session:
        while path:
            page = session.get(
                server.url + path, headers=HEADERS, timeout=10
            ).json()
            bodies += [message['body'] for message in page['messages']]
            path = page['links'][0]['href'] if page['links'] else ''
    return bodies


# The command line.


@pytest.mark.parametrize('program', ['server', 'manage'])
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
        assert server.run('upgrade', 'head', program='manage').returncode == 0
        database.halt()
        server.start()
        _expect_unavailable(server)
        database.start()
        assert _until(lambda: _post(server, 'first').status_code == 201)
        # And once more while it runs.
        database.kill()
        _expect_unavailable(server)
        database.start()
        assert _until(lambda: _post(server, 'second').status_code == 201)
        assert _stored(server) == ['first', 'second']
        assert server.stop() == 0
    finally:
        database.stop()


def _expect_unavailable(server: Zaqar) -> None:
    began = time.monotonic()
    answer = _post(server, 'never')
    assert answer.status_code == 503
    assert answer.headers['retry-after'] == '5'
    assert answer.json()['title'] == 'Service temporarily unavailable'
    assert time.monotonic() - began < 6
    ping = requests.get(f'{server.url}/v2/ping', headers=HEADERS, timeout=10)
    assert ping.status_code == 503


# Signals and sudden deaths.


class Load:
    """Clients that post bodies of their own, each tried once."""

    def __init__(self, server: Zaqar, clients: int = 8) -> None:
        self.server = server
        self.acknowledged: list[str] = []
        self.other: collections.Counter[str] = collections.Counter()
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number,))
            for number in range(clients)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: Any) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _run(self, client: int) -> None:
        number = 0
        with requests.Session() as session:
            while not self._ended.is_set():
                number += 1
                self._post(session, f'{client}-{number}')

    def _post(self, session: requests.Session, body: str) -> None:
        try:
            answer = session.post(
                self.server.url + MESSAGES,
                data=json.dumps({'messages': [{'body': body}]}),
                headers=HEADERS,
                timeout=20,
            )
        except requests.RequestException as error:
            self.other[type(error).__name__] += 1
        else:
            if answer.status_code == 201:
                self.acknowledged.append(body)
            else:
                self.other[str(answer.status_code)] += 1


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_stop_under_load_loses_no_answer(
    make_server: MakeServer, number: signal.Signals
) -> None:
    server = make_server(workers=2).start()
    with Load(server) as load:
        assert _until(lambda: len(load.acknowledged) > 200)
        assert server.stop(number) == 0
    server.start()
    # All that was stored was acknowledged too: nobody has to guess.
    assert sorted(_stored(server)) == sorted(load.acknowledged)
    assert set(load.other) <= {'ConnectionError'}


def _kill_a_worker(server: Zaqar, load: Load) -> None:
    seen = len(load.acknowledged)
    assert _until(lambda: len(server.workers()) == 2)
    victim = server.workers()[0]
    os.kill(victim, signal.SIGKILL)
    assert _until(lambda: victim not in server.workers())
    assert _until(lambda: len(load.acknowledged) > seen + 50)


def test_a_killed_worker_comes_back(make_server: MakeServer) -> None:
    server = make_server(workers=2).start()
    with Load(server) as load:
        for _ in range(3):
            _kill_a_worker(server, load)
    assert _until(lambda: len(server.workers()) == 2)
    counts = collections.Counter(_stored(server))
    assert set(load.acknowledged) <= set(counts)
    assert set(counts.values()) == {1}


def test_workers_do_not_outlive_a_killed_supervisor(
    make_server: MakeServer,
) -> None:
    server = make_server(workers=2).start()
    assert _until(lambda: len(server.workers()) == 2)
    workers = server.workers()
    server.stop(signal.SIGKILL)
    assert _until(lambda: not any(is_alive(pid) for pid in workers))
    server.start()
    assert _post(server, 1).status_code == 201


def test_sighup_reads_the_configuration_anew_without_a_failed_request(
    make_server: MakeServer,
) -> None:
    server = make_server(workers=2).start()
    path = f'{server.url}{MESSAGES}?limit=50'
    assert requests.get(path, headers=HEADERS, timeout=5).status_code == 400
    text = server.conf.read_text()
    server.conf.write_text(f'{text}\n[transport]\nmax_messages_per_page = 50')
    workers = server.workers()

    def replaced() -> bool:
        return not set(workers) & set(server.workers())

    with Load(server, clients=4) as load:
        os.kill(server.process.child.pid, signal.SIGHUP)
        assert _until(replaced)
    assert not load.other
    assert len(server.workers()) == 2
    assert requests.get(path, headers=HEADERS, timeout=5).status_code == 200


def test_a_worker_is_replaced_when_its_successor_is_ready(
    make_server: MakeServer,
) -> None:
    server = make_server(workers=2).start()
    before = set(server.workers())
    least, longest = len(before), 0.0
    os.kill(server.process.child.pid, signal.SIGHUP)

    def replaced() -> bool:
        nonlocal least, longest
        least = min(least, len(server.workers()))
        began = time.monotonic()
        assert server.answers()
        longest = max(longest, time.monotonic() - began)
        return not before & set(server.workers())

    assert _until(replaced)
    # Nobody waits for a process to be built.
    assert least >= len(before)
    assert longest < 1
    assert 'Traceback' not in server.log.read_text()


def test_a_connection_to_a_replaced_worker_ends_with_an_answer(
    make_server: MakeServer,
) -> None:
    server = make_server(workers=1).start()
    connection = http.client.HTTPConnection('127.0.0.1', server.port)

    def ends() -> bool:
        connection.request('GET', '/')
        answer = connection.getresponse()
        answer.read()
        return answer.getheader('Connection') == 'close'

    assert not ends()
    os.kill(server.process.child.pid, signal.SIGHUP)
    # Each of them is answered, by the process that the connection is to.
    assert _until(ends)
    # The next connection is accepted by the other process, which goes on.
    assert not ends()


def test_a_loading_successor_gives_way_and_is_then_like_the_others(
    make_server: MakeServer,
) -> None:
    server = make_server(workers=1).start()
    before = server.workers()
    usual = _policies(before[0])
    seen = set()

    def replaced() -> bool:
        new = set(server.workers()) - set(before)
        seen.update(value for pid in new for value in _policies(pid))
        return not set(before) & set(server.workers())

    os.kill(server.process.child.pid, signal.SIGHUP)
    assert _until(replaced)
    assert _policies(server.workers()[0]) == usual
    assert seen <= {*usual, os.SCHED_IDLE}


def _policies(pid: int) -> set[int]:
    """Return the scheduling policies of the threads of a process."""
    policies = set()
    for thread in os.listdir(f'/proc/{pid}/task'):
        with contextlib.suppress(ProcessLookupError):
            policies.add(os.sched_getscheduler(int(thread)))
    return policies


def test_workers_stay_when_their_successors_cannot_start(
    make_server: MakeServer,
) -> None:
    server = make_server(workers=2).start()
    text = server.conf.read_text()
    server.conf.write_text(
        text.replace('[DEFAULT]', '[DEFAULT]\nauth_strategy = x')
    )
    before = server.workers()
    os.kill(server.process.child.pid, signal.SIGHUP)
    assert _until(
        lambda: 'ended before it was ready' in server.log.read_text()
    )
    assert server.workers() == before
    assert server.answers()
    # The next one finds it mended.
    server.conf.write_text(text)
    os.kill(server.process.child.pid, signal.SIGHUP)
    assert _until(lambda: not set(before) & set(server.workers()))
    assert server.answers()
    assert server.stop() == 0


def test_a_websocket_server_is_replaced_on_its_port_for_other_processes(
    make_server: MakeServer,
) -> None:
    server = make_server(
        rest='[drivers]\ntransport = websocket\n',
        socket=f'node_id = a\nnotification_port = {process.free_port()}',
    )
    server.process = process.Process(server.command(), server.log)
    assert _until(lambda: _shakes_hands(server))
    before = set(server.workers())
    os.kill(server.process.child.pid, signal.SIGHUP)
    assert _until(lambda: not before & set(server.workers()))
    after = server.workers()
    assert _until(lambda: _shakes_hands(server))
    assert server.workers() == after
    assert ' ERROR ' not in server.log.read_text()


def _shakes_hands(server: Zaqar) -> bool:
    """Tell whether the WebSocket server answers."""
    headers = {
        'Connection': 'Upgrade',
        'Upgrade': 'websocket',
        'Sec-WebSocket-Version': '13',
        'Sec-WebSocket-Key': 'MDEyMzQ1Njc4OWFiY2RlZg==',
    }
    url = server.socket_url.replace('ws:', 'http:')
    try:
        answer = requests.get(url, headers=headers, timeout=2, stream=True)
    except requests.RequestException:
        return False
    with answer:
        return answer.status_code == 101


def test_a_worker_that_cannot_start_is_tried_again(
    make_server: MakeServer,
) -> None:
    server = make_server().start()
    text = server.conf.read_text()
    server.conf.write_text(
        text.replace('[DEFAULT]', '[DEFAULT]\nauth_strategy = x')
    )
    os.kill(server.workers()[0], signal.SIGKILL)
    assert _until(lambda: 'auth_strategy = x' in server.log.read_text())
    server.conf.write_text(text)
    assert _until(server.answers)
    assert server.stop() == 0


def test_a_daemon_lives_without_its_terminal(make_server: MakeServer) -> None:
    server = make_server()
    log = server.folder / 'daemon.log'
    done = server.run('--daemon', '--log-file', str(log))
    assert done.returncode == 0
    assert _until(server.answers)
    pid = _listener(server)
    try:
        assert os.readlink(f'/proc/{pid}/fd/1') == os.devnull
        assert os.getsid(pid) != os.getsid(0)
    finally:
        os.kill(pid, signal.SIGTERM)
    assert _until(lambda: not is_alive(pid))
    assert not server.answers()


def _listener(server: Zaqar) -> int:
    """Return the process that has the configuration in its command line."""
    for entry in pathlib.Path('/proc').iterdir():
        with contextlib.suppress(OSError):
            words = (entry / 'cmdline').read_bytes().split(b'\0')
            pid = int(entry.name) if entry.name.isdigit() else 0
            if str(server.conf).encode() in words and children(pid):
                return pid
    raise AssertionError('no such process')


# Other WSGI servers.

_WSGI = """
import sys
from wsgiref.simple_server import make_server
from zaqar.transport.wsgi.app import application
make_server('127.0.0.1', int(sys.argv[1]), application).serve_forever()
"""


def _wsgi(server: Zaqar, **env: str) -> process.Process:
    return process.Process(
        [sys.executable, '-c', _WSGI, str(server.port)], server.log, env=env
    )


def test_any_wsgi_server_can_load_the_application(
    make_server: MakeServer,
) -> None:
    server = make_server()
    running = _wsgi(server, OS_ZAQAR_CONFIG_FILES=str(server.conf))
    try:
        running.wait_until(server.answers)
        assert _post(server, 1).status_code == 201
        assert (server.folder / 'zaqar.sqlite').exists()
    finally:
        running.stop()


def test_a_wsgi_server_is_told_what_is_wrong(make_server: MakeServer) -> None:
    server = make_server(general='auth_strategy = x')
    running = _wsgi(server, OS_ZAQAR_CONFIG_FILES=str(server.conf))
    assert running.child.wait(30) == 1
    (line,) = server.log.read_text().strip().splitlines()
    assert line.startswith('zaqar-queues: [DEFAULT] auth_strategy = x')


# What only a real connection can show.


def _raw(server: Zaqar, request: bytes) -> bytes:
    with socket.create_connection(('127.0.0.1', server.port), 5) as peer:
        peer.sendall(request)
        answer = b''
        while part := peer.recv(65536):
            answer += part
    return answer


def test_chunked_bodies_percent_encoding_and_head_on_the_wire(
    make_server: MakeServer,
) -> None:
    server = make_server().start()
    head = (
        'Host: x\r\nConnection: close\r\n'
        f'Client-ID: {HEADERS["Client-ID"]}\r\nX-Project-ID: p\r\n'
    ).encode()
    chunked = _raw(
        server,
        b'POST /v2/queues/a%2Eb/messages HTTP/1.1\r\n'
        + head
        + b'Transfer-Encoding: chunked\r\n\r\n'
        b'10\r\n{"messages": [{"\r\n0d\r\nbody": "x"}]}\r\n0\r\n\r\n',
    )
    assert chunked.startswith(b'HTTP/1.1 201')
    listed = _raw(server, b'GET /v2/queues HTTP/1.1\r\n' + head + b'\r\n')
    assert b'"name":"a.b"' in listed
    ping = _raw(server, b'HEAD /v2/ping HTTP/1.1\r\n' + head + b'\r\n')
    assert ping.startswith(b'HTTP/1.1 204')
    assert ping.endswith(b'\r\n\r\n')
    slash = _raw(server, b'GET /v2/queues/a%2Fb HTTP/1.1\r\n' + head + b'\r\n')
    assert slash.startswith(b'HTTP/1.1 404')


def test_variables_of_the_process_are_no_headers(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('HTTP_X_PROJECT_ID', 'forged')
    server = make_server().start()
    only = {'Client-ID': HEADERS['Client-ID']}
    answer = requests.get(f'{server.url}/v2/queues', headers=only, timeout=5)
    assert answer.status_code == 400
    assert answer.json()['title'] == 'Project-Id Missing'


@contextlib.contextmanager
def _uwsgi(server: Zaqar, option: str = 'http-socket') -> Iterator[None]:
    """Run our sample of uWSGI's configuration.

    :param option: how it listens
    """
    program = pathlib.Path(sys.executable).parent / 'uwsgi'
    if not program.exists():
        process.missing('uWSGI is not installed')
    sample = pathlib.Path(__file__).parents[3] / 'etc/zaqar/uwsgi.ini'
    text = sample.read_text()
    line = '\nhttp-socket = 127.0.0.1:8888\n'
    assert line in text
    text = text.replace(line, f'\n{option} = 127.0.0.1:{server.port}\n')
    text = text.replace('processes = 4', 'processes = 1')
    path = server.folder / 'uwsgi.ini'
    path.write_text(text)
    running = process.Process(
        [str(program), '--ini', str(path)],
        server.log,
        env={'OS_ZAQAR_CONFIG_FILES': str(server.conf)},
    )
    try:
        running.wait_until(server.answers)
        yield
    finally:
        running.stop()


def _put_in_chunks(server: Zaqar, *chunks: bytes) -> requests.Response:
    return requests.put(
        f'{server.url}/v2/queues/chunked',
        data=iter(chunks),
        headers=HEADERS,
        timeout=20,
    )


@pytest.mark.parametrize(
    'option',
    ['http-socket', 'http-chunked-input = true\nhttp'],
    ids=['socket', 'router'],
)
def test_a_chunked_body_arrives_under_uwsgi(
    make_server: MakeServer, option: str
) -> None:
    server = make_server()
    url = f'{server.url}/v2/queues/chunked'
    with _uwsgi(server, option):
        assert _put_in_chunks(server, b'{"colour"', b': 1}').status_code == 201
        shown = requests.get(url, headers=HEADERS, timeout=5).json()
        assert shown['colour'] == 1
        # Without a length too, what is too long is noticed.
        long = _put_in_chunks(server, b'{"a": "', *[b'x' * 20_000] * 5, b'"}')
        assert long.status_code == 400
        empty = _put_in_chunks(server)
        assert empty.status_code == 204


def test_a_chunked_body_is_refused_where_it_would_be_lost(
    make_server: MakeServer,
) -> None:
    server = make_server()
    running = _wsgi(server, OS_ZAQAR_CONFIG_FILES=str(server.conf))
    try:
        running.wait_until(server.answers)
        assert _put_in_chunks(server, b'{}').status_code == 411
    finally:
        running.stop()
    with _uwsgi(server, 'http'):
        assert _put_in_chunks(server, b'{}').status_code == 411


def test_a_chunked_body_arrives(make_server: MakeServer) -> None:
    server = make_server().start()
    assert _put_in_chunks(server, b'{"colour"', b': 1}').status_code == 201
    shown = requests.get(
        f'{server.url}/v2/queues/chunked', headers=HEADERS, timeout=5
    ).json()
    assert shown['colour'] == 1

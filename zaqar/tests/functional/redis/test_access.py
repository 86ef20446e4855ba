# SPDX-License-Identifier: Apache-2.0
"""Ways in: sockets, TLS, passwords, users, and those that lead nowhere."""

from __future__ import annotations

import pathlib
import queue as queues
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import pytest

from zaqar.errors import ConfigurationError, StoreUnavailable
from zaqar.storage.redis.driver_declaration import DRIVER
from zaqar.tests.contract.crowd import each
from zaqar.tests.contract.probe import Hand, Probe
from zaqar.tests.functional.redis.conftest import Open, OpenRecords
from zaqar.tests.servers import process
from zaqar.tests.servers.redis import Redis, cluster_port
from zaqar.tests.servers.zaqar import Zaqar

Start = Callable[..., Redis]

#: As doc/source/admin/stores.rst says.
ALLOWED = (
    *('+@read', '+@write', '+@scripting', '+@connection'),
    *('+info', '+time', '+wait'),
)

PASSWORD = 'p@ss:w/rd?#%'


def works(opened: Open, uri: str, **options: Any) -> Probe:
    """Post to a new queue by a URI and return it."""
    queue = Probe(opened(uri, **options), Hand())
    queue.post('a')
    assert queue.everything() == ['a']
    return queue


def test_a_server_is_reached_through_its_socket(
    server: Redis, opened: Open, records: OpenRecords
) -> None:
    queue = works(opened, f'redis://{server.socket}')
    again = Probe(opened(server.url), queue.hand, queue.qid)
    assert again.everything() == ['a']
    assert records(f'redis://{server.socket}').count('queue', 'p') == 0


@pytest.mark.parametrize('form', ['{}?dbid=7', '{}/7'])
def test_a_database_is_chosen(server: Redis, opened: Open, form: str) -> None:
    queue = works(opened, form.format(server.url))
    with server.client(db=7) as client:
        assert client.exists(f'zq:{{{queue.qid}}}:s')


def test_a_database_behind_a_socket_is_chosen(
    server: Redis, opened: Open
) -> None:
    queue = works(opened, f'redis://{server.socket}?dbid=8')
    with server.client(db=8) as client:
        assert client.exists(f'zq:{{{queue.qid}}}:s')


def test_a_password_may_hold_anything(own_server: Start, opened: Open) -> None:
    server = own_server(requirepass=PASSWORD)
    place = server.url.partition('//')[2]
    secret = quote(PASSWORD, safe='')
    works(opened, f'redis://:{secret}@{place}')
    works(opened, f'redis://default:{secret}@{place}')
    works(opened, f'redis://:{secret}@{server.socket}')


def test_a_user_needs_what_the_guide_says(
    own_server: Start, opened: Open, records: OpenRecords
) -> None:
    server = own_server()
    with server.client() as client:
        client.execute_command(
            *('ACL', 'SETUSER', 'zaqar', 'on', '>secret', '~zq:*', *ALLOWED)
        )
        client.execute_command(
            *('ACL', 'SETUSER', 'blind', 'on', '>secret', '~zq:*', '+ping')
        )
    place = server.url.partition('//')[2]
    queue = works(opened, f'redis://zaqar:secret@{place}')
    queue.release(queue.take(ttl=60).id)
    queue.store.sweep(now=queue.hand.now, batch=10)
    queue.purge()
    queue.drop()
    store = records(f'redis://zaqar:secret@{place}')
    assert store.create('queue', 'p', 'a', {})
    assert store.clock.now()
    assert store.delete('queue', 'p', 'a')
    with pytest.raises(ConfigurationError, match='refuses us'):
        DRIVER.open_messages(f'redis://blind:secret@{place}', {})


@pytest.mark.parametrize('login', ['', ':wrong@', 'default:wrong@', 'x:y@'])
def test_a_refused_password_is_told_in_one_line(
    own_server: Start, login: str
) -> None:
    server = own_server(requirepass='secret')
    uri = server.url.replace('//', f'//{login}')
    for opening in (DRIVER.open_messages, DRIVER.open_management):
        with pytest.raises(ConfigurationError, match='refuses us') as caught:
            opening(uri, {})
        assert '\n' not in str(caught.value)
        assert 'wrong' not in str(caught.value)


def test_a_password_changed_later_makes_the_store_unavailable(
    own_server: Start, opened: Open
) -> None:
    server = own_server()
    queue = works(opened, server.url)
    with server.client() as client:
        client.config_set('requirepass', 'secret')
        client.client_kill_filter(_type='normal', skipme=True)
    with pytest.raises(StoreUnavailable):
        queue.list()


@pytest.fixture(scope='module')
def certificates(
    tmp_path_factory: pytest.TempPathFactory,
) -> Mapping[str, pathlib.Path]:
    """An authority, a server for localhost and a client, by name."""
    folder = tmp_path_factory.mktemp('tls')

    def openssl(*words: str) -> None:
        subprocess.run(
            ['openssl', *words], cwd=folder, check=True, capture_output=True
        )

    ec = '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'
    for name in ('ca', 'other'):
        openssl(
            *('req', '-x509', *ec, '-days', '2', '-subj', f'/CN={name}'),
            *('-keyout', f'{name}.key', '-out', f'{name}.pem'),
        )
    (folder / 'names').write_text('subjectAltName=DNS:localhost')
    for name in ('server', 'client'):
        openssl(
            *('req', '-new', *ec, '-subj', f'/CN={name}'),
            *('-keyout', f'{name}.key', '-out', f'{name}.csr'),
        )
        openssl(
            *('x509', '-req', '-days', '2', '-in', f'{name}.csr'),
            *('-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial'),
            *('-extfile', 'names', '-out', f'{name}.pem'),
        )
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture
def secure(
    own_server: Start, certificates: Mapping[str, pathlib.Path]
) -> Callable[..., int]:
    """Start a server that speaks TLS alone; return its port."""

    def start(**settings: str) -> int:
        port = process.free_port()
        own_server(
            port=0,
            tls_port=port,
            tls_cert_file=certificates['server.pem'],
            tls_key_file=certificates['server.key'],
            tls_ca_cert_file=certificates['ca.pem'],
            **{'tls_auth_clients': 'no', **settings},
        )
        return port

    return start


def test_tls_is_asked_for_by_the_scheme_or_an_option(
    secure: Callable[..., int],
    certificates: Mapping[str, pathlib.Path],
    opened: Open,
) -> None:
    port, ca = secure(), certificates['ca.pem']
    works(opened, f'rediss://localhost:{port}?ssl_ca_certs={ca}')
    works(opened, f'redis://localhost:{port}?ssl=true&ssl_ca_certs={ca}')
    works(opened, f'rediss://localhost:{port}', ssl_ca_certs=str(ca))


def test_posts_are_reported_through_tls(
    secure: Callable[..., int],
    certificates: Mapping[str, pathlib.Path],
    opened: Open,
) -> None:
    uri = f'rediss://localhost:{secure()}'
    store = opened(uri, ssl_ca_certs=str(certificates['ca.pem']))
    reports: queues.Queue[tuple[str | None, int]] = queues.Queue()
    watch = store.watch(lambda *report: reports.put(report))
    assert watch is not None
    posts = [Probe(store, Hand()) for _ in range(50)]
    for queue in posts:
        watch.add(queue.qid)
    assert {reports.get(timeout=60) for _ in posts} == {
        (queue.qid, 0) for queue in posts
    }
    each(lambda queue: queue.post('a', 'b'), posts)
    assert {reports.get(timeout=60) for _ in posts} == {
        (queue.qid, 2) for queue in posts
    }
    watch.close()


def test_a_client_shows_its_certificate(
    secure: Callable[..., int],
    certificates: Mapping[str, pathlib.Path],
    opened: Open,
) -> None:
    port = secure(tls_auth_clients='yes')
    options = {
        'ssl_ca_certs': str(certificates['ca.pem']),
        'ssl_certfile': str(certificates['client.pem']),
        'ssl_keyfile': str(certificates['client.key']),
    }
    works(opened, f'rediss://localhost:{port}', **options)
    del options['ssl_certfile'], options['ssl_keyfile']
    store = opened(f'rediss://localhost:{port}', **options)
    with pytest.raises(StoreUnavailable):
        store.ping()


def test_a_server_that_is_not_trusted_is_told(
    secure: Callable[..., int],
    certificates: Mapping[str, pathlib.Path],
    opened: Open,
) -> None:
    port = secure()
    ca, other = certificates['ca.pem'], certificates['other.pem']
    for uri in (
        f'rediss://localhost:{port}?ssl_ca_certs={other}',
        f'rediss://127.0.0.1:{port}?ssl_ca_certs={ca}',
    ):
        with pytest.raises(ConfigurationError, match='is not trusted'):
            DRIVER.open_messages(uri, {})
    works(
        opened,
        f'rediss://127.0.0.1:{port}?ssl_ca_certs={ca}'
        '&ssl_check_hostname=false',
    )
    works(opened, f'rediss://127.0.0.1:{port}?ssl_cert_reqs=none')


def test_a_cluster_may_ask_for_a_password_and_tls(
    own_server: Start,
    certificates: Mapping[str, pathlib.Path],
    opened: Open,
    records: OpenRecords,
) -> None:
    port = cluster_port()
    server = own_server(
        port=0,
        cluster_enabled='yes',
        requirepass=PASSWORD,
        tls_cluster='yes',
        tls_port=port,
        tls_cert_file=certificates['server.pem'],
        tls_key_file=certificates['server.key'],
        tls_ca_cert_file=certificates['ca.pem'],
        tls_auth_clients='no',
    )
    with server.client() as client:
        client.execute_command('CLUSTER', 'ADDSLOTS', *range(16384))
        server.process.wait_until(
            lambda: client.cluster('INFO')['cluster_state'] == 'ok'
        )
    place = f'localhost:{port}?ssl_ca_certs={certificates["ca.pem"]}'
    secret = quote(PASSWORD, safe='')
    for login in (f':{secret}', f'default:{secret}'):
        works(opened, f'rediss+cluster://{login}@{place}')
    uri = f'rediss+cluster://:{secret}@{place}'
    assert records(uri).create('queue', 'p', 'a', {})
    with pytest.raises(ConfigurationError, match='refuses us'):
        DRIVER.open_messages(f'rediss+cluster://{place}', {})


class OldServer:
    """A server that answers every command by saying how old it is.

    No old server is at hand: a package of it does not run here.
    """

    def __init__(self, version: str) -> None:
        text = f'redis_version:{version}\r\nredis_mode:standalone\r\n'
        self._answer = f'${len(text)}\r\n{text}\r\n'.encode()
        self._listener = socket.create_server(('127.0.0.1', 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Take no more questions."""
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                there, _ = self._listener.accept()
            except OSError:
                return
            with there:
                while data := there.recv(4096):
                    # Commands are arrays; several may come at once.
                    there.sendall(self._answer * data.count(b'*'))


@pytest.fixture
def old_server() -> Iterator[Callable[[str], OldServer]]:
    """Make old servers."""
    servers: list[OldServer] = []

    def make(version: str) -> OldServer:
        servers.append(OldServer(version))
        return servers[-1]

    yield make
    for one in servers:
        one.close()


@pytest.mark.parametrize('version', ['5.0.14', '2.8.9', '0'])
def test_a_server_that_is_too_old_is_told(
    old_server: Callable[[str], OldServer], version: str
) -> None:
    uri = f'redis://127.0.0.1:{old_server(version).port}'
    with pytest.raises(ConfigurationError, match=r'too old; 6\.0 is needed'):
        DRIVER.open_messages(uri, {})


@pytest.mark.parametrize('version', ['6.0.0', '7.2.4', '255.255.255'])
def test_a_server_that_is_new_enough_is_taken(
    old_server: Callable[[str], OldServer], opened: Open, version: str
) -> None:
    opened(f'redis://127.0.0.1:{old_server(version).port}')


def test_zaqar_says_what_is_wrong_and_ends(
    server: Redis, tmp_path: pathlib.Path
) -> None:
    place = server.url.partition('//')[2]
    for number, (uri, text) in enumerate(
        {
            f'redis+cluster://{place}': 'not part of a cluster',
            f'{server.url}?replicaSet=x': 'unknown option "replicaSet"',
        }.items()
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        zaqar = Zaqar(folder, rest=settings(uri))
        done = zaqar.run()
        assert done.returncode == 1
        (line,) = done.stderr.strip().splitlines()[-1:]
        assert '[drivers:m' in line
        assert text in line


def settings(uri: str) -> str:
    """Return the groups of a configuration that name a URI."""
    return (
        '[drivers]\nmessage_store = redis\nmanagement_store = redis\n'
        f'[drivers:message_store:redis]\nuri = {uri}\n'
        f'[drivers:management_store:redis]\nuri = {uri}\n'
    )

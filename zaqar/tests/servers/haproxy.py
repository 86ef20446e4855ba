# SPDX-License-Identifier: Apache-2.0
"""HAProxy before a Galera cluster."""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping

import sqlalchemy as sa

from zaqar.tests.servers import clustercheck, process
from zaqar.tests.servers.galera import Cluster, Node

#: What we ship.
SAMPLE = pathlib.Path(__file__).parents[3] / 'etc' / 'zaqar' / 'haproxy.cfg'

#: Names of what it listens for.
SINGLE_WRITER, ALL_WRITERS = MODES = ('single-writer', 'all-writers')


class HAProxy:
    """One that listens for a single writer and for all writers.

    :ivar ports: where it listens, by mode
    """

    def __init__(self, cluster: Cluster) -> None:
        program = shutil.which('haproxy', path=f'{os.defpath}:/usr/sbin')
        if program is None:
            process.missing('HAProxy is not installed')
        self._program = program
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix='zaqar-test-'))
        self.ports = {mode: process.free_port() for mode in MODES}
        nodes = {process.free_port(): node for node in cluster.nodes}
        pairs = [f'{port}={node.port}' for port, node in nodes.items()]
        self._checks = process.Process(
            [sys.executable, '-m', clustercheck.__name__, *pairs],
            self.folder / 'checks',
        )
        self._write(nodes)
        self.start()

    def url(self, uri: str, mode: str) -> str:
        """Return the URI of a database of the cluster, through here."""
        through = sa.make_url(uri).set(port=self.ports[mode])
        return through.render_as_string(hide_password=False)

    def start(self) -> None:
        """Start it and wait until it uses all nodes."""
        self.process = process.Process(
            [self._program, '-db', '-f', str(self.folder / 'haproxy.cfg')],
            self.folder / 'log',
        )
        for mode in MODES:
            self.process.wait_until(lambda mode=mode: len(self.up(mode)) == 3)

    def up(self, mode: str) -> list[str]:
        """Return the names of the servers that get connections."""
        try:
            rows = self.command('show stat').splitlines()
        except OSError:
            return []
        fields = [row.split(',') for row in rows if row.startswith(mode)]
        return [
            row[1]
            for row in fields
            if row[1].startswith('db') and row[17].startswith('UP')
        ]

    def command(self, text: str) -> str:
        """Have a command of an administrator done."""
        with socket.socket(socket.AF_UNIX) as end:
            end.connect(str(self.folder / 'socket'))
            end.sendall(f'{text}\n'.encode())
            return b''.join(iter(lambda: end.recv(65536), b'')).decode()

    def take_out(self, name: str) -> None:
        """Give a server no more connections, and end those it has."""
        for mode in MODES:
            self.command(f'set server {mode}/{name} state maint')
            self.command(f'shutdown sessions server {mode}/{name}')

    def put_back(self, name: str) -> None:
        """Give a server connections again."""
        for mode in MODES:
            self.command(f'set server {mode}/{name} state ready')

    def kill(self) -> None:
        """End it without a warning."""
        self.process.stop(signal.SIGKILL)

    def stop(self) -> None:
        """End it for good."""
        self.kill()
        self._checks.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, nodes: Mapping[int, Node]) -> None:
        replaced = {
            '/run/haproxy/admin.sock': str(self.folder / 'socket'),
            '127.0.0.1:3306': f'127.0.0.1:{self.ports[SINGLE_WRITER]}',
            '127.0.0.1:3307': f'127.0.0.1:{self.ports[ALL_WRITERS]}',
            # Here nodes differ by their ports alone.
            'check port 9200': 'check',
        }
        for number, (check, node) in enumerate(nodes.items()):
            replaced[f'192.0.2.{number + 11}:3306'] = (
                f'127.0.0.1:{node.port} port {check}'
            )
        text = SAMPLE.read_text()
        for sample, ours in replaced.items():
            assert sample in text
            text = text.replace(sample, ours)
        (self.folder / 'haproxy.cfg').write_text(text)
